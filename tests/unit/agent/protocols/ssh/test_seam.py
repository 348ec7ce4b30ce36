"""Words of ours stand between characters and outside of control sequences, wherever the network cut them."""

from __future__ import annotations

import pytest

from agent.protocols.ssh.seam import ends_whole

WHOLE = [
    b"",
    b"plain",
    "Grüße €𝄞".encode(),
    b"\x1b[2J",
    b"\x1b[38;5;196mred",
    b"\x1b(B",
    b"\x1bM",
    b"\x1b]0;title\x07",
    b"\x1b]0;title\x1b\\",
    b"\x1bP1$r0m\x1b\\",
    b"\x1b[?1049h\x1b[H~",
    b"\xff\xfe not UTF-8 at all",
]


@pytest.mark.parametrize("data", WHOLE)
def test_what_is_complete_may_be_followed(data: bytes) -> None:
    assert ends_whole(data)
    assert ends_whole(data + b"\r\n$ ")


@pytest.mark.parametrize(
    "sequence", ["ü".encode(), "€".encode(), "𝄞".encode(), b"\x1b[38;5;196m", b"\x1b(B", b"\x1b]0;t\x07", b"\x1b[?25h"]
)
def test_what_is_cut_anywhere_may_not(sequence: bytes) -> None:
    for cut in range(1, len(sequence)):
        assert not ends_whole(b"before " + sequence[:cut]), sequence[:cut]
    assert ends_whole(b"before " + sequence)


def test_a_string_may_be_long() -> None:
    assert not ends_whole(b"\x1b]0;" + b"t" * 1000)
    assert not ends_whole(b"\x1bPq" + b"#" * 1000)
