"""What one program says on its streams: masked as a terminal or as text, passed as binary where that is revealed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking import CleanOutputs, Masker
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.outputs import BINARY, FOUND, NOT_TEXT, SWITCHED, Outputs
from agent.core.masking.stream import DEADLINE_MS
from agent.core.masking.widths import width
from chalicelib.contracts.faults import Fault
from tests.unit.agent.core.masking.test_stream import DETECTORS, SECRETS, TEXT, whole

NONE: frozenset[str] = frozenset()
JWT = next(secret for secret in SECRETS if secret.startswith(b"eyJ"))
PEM = next(secret for secret in SECRETS if secret.startswith(b"-----"))
BLOB = bytes(range(256)) * 4 + b"alice@example.com"


def make(reveal: frozenset[str] = NONE, *, terminal: tuple[int, int] | None = None, opaque: bool = False) -> Outputs:
    return Outputs(DETECTORS, lambda: reveal, terminal=terminal, opaque=opaque)


def run(outputs: Outputs, data: bytes, size: int, stream: str = "out") -> tuple[bytes, bytes]:
    """Return what was shown of ``data`` and what came, as the parts say."""
    parts = [part for at in range(0, len(data), size) for part in outputs.feed(data[at : at + size], stream, 1_000)]
    parts += outputs.flush()
    return b"".join(part.data for part in parts), b"".join(part.raw or part.data for part in parts)


@settings(max_examples=150, deadline=None)
@given(TEXT, st.integers(1, 90))
def test_text_in_a_pipe_is_masked_as_everywhere_and_nothing_of_it_is_lost(data: bytes, size: int) -> None:
    assert run(make(), data, size) == (whole(data), data)


@settings(max_examples=150, deadline=None)
@given(TEXT, st.integers(1, 90))
def test_on_a_terminal_the_screen_stays_aligned(data: bytes, size: int) -> None:
    shown, raw = run(make(terminal=(100, 30)), data, size)
    assert raw == data
    assert [width(line) for line in shown.split(b"\n")] == [width(line) for line in data.split(b"\n")]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_cut_lets_a_secret_through_on_a_terminal(secret: bytes) -> None:
    data = b"before " + secret + b" after\r\n"
    want, _ = run(make(terminal=(100, 30)), data, len(data))
    assert secret not in want
    for cut in range(1, len(data)):
        outputs = make(terminal=(100, 30))
        parts = outputs.feed(data[:cut], "out", 0) + outputs.feed(data[cut:], "out", 5) + outputs.flush()
        shown = b"".join(part.data for part in parts)
        assert shown.startswith(b"before ")
        assert shown.endswith(b" after\r\n")
        assert width(shown) == width(want)
        assert secret[-12:] not in shown
        assert outputs.report().hits


@pytest.mark.parametrize(("secret", "columns"), [(JWT, 80), (PEM, 64)])
def test_long_tokens_keep_their_room_on_a_terminal(secret: bytes, columns: int) -> None:
    data = b"x " + secret + b"\r\n$ "
    for size in (1, 7, 64, len(data)):
        shown, _ = run(make(terminal=(100, 30)), data, size)
        assert shown.startswith(b"x [masked secret]***")
        assert shown.endswith(b"\r\n$ ")
        assert [width(line) for line in shown.split(b"\n")] == [width(line) for line in data.split(b"\n")]


def test_each_stream_is_one_of_its_own() -> None:
    outputs = make()
    parts = outputs.feed(b"mail alice@exam", "out", 0) + outputs.feed(b"oops\n", "err", 0) + outputs.feed(b"ple.com\n", "out", 1)
    assert [(part.stream, part.data) for part in parts] == [("out", b"mail "), ("err", b"oops\n"), ("out", b"a***@***.com\n")]
    assert outputs.report().hits == {"email": 1}


def test_what_is_held_is_due_and_shown() -> None:
    outputs = make()
    assert outputs.due_ms is None
    outputs.feed(b"half a wor", "err", 100)
    assert outputs.due_ms == 100 + DEADLINE_MS
    assert outputs.tick(105) == []
    (part,) = outputs.tick(110)
    assert (part.stream, part.data) == ("err", b"wor")
    assert outputs.due_ms is None


def test_no_text_ends_the_channel_unless_it_is_revealed() -> None:
    outputs = make()
    outputs.feed(b"alice@exam", "out", 0)
    with pytest.raises(Fault, match=NOT_TEXT) as refused:
        outputs.feed(BLOB, "out", 0)
    assert refused.value.code == "target_unmaskable"
    assert outputs.feed(b"more", "out", 0) == outputs.flush() == outputs.tick(99) == []
    assert outputs.due_ms is None


def test_no_text_passes_byte_for_byte_where_it_is_revealed() -> None:
    outputs = make(frozenset({BINARY}))
    parts = [part for at in range(0, len(BLOB), 100) for part in outputs.feed(BLOB[at : at + 100], "out", 0)]
    assert b"".join(part.data for part in parts) == BLOB
    assert [part.note for part in parts if part.note] == [SWITCHED]
    assert outputs.feed(b"alice@example.com\n", "out", 0)[0].data == b"alice@example.com\n"
    assert outputs.feed(b"alice@example.com\n", "err", 0)[0].data == b"a***@***.com\n"


def test_a_program_with_a_protocol_of_its_own_says_no_text_from_the_beginning() -> None:
    refs = b"003f1111 refs/heads/alice@example.com\n"
    assert make(frozenset({BINARY}), opaque=True).feed(refs, "out", 0)[0].data == refs
    with pytest.raises(Fault):
        make(opaque=True).feed(refs, "out", 0)
    assert make(opaque=True).feed(refs, "err", 0)[0].data != refs


def test_a_terminal_is_a_terminal_whatever_it_is_shown() -> None:
    shown, raw = run(make(terminal=(100, 30)), BLOB + b"\n", 50)
    assert raw == BLOB + b"\n"
    assert b"alice@" not in shown


@pytest.mark.parametrize("terminal", [None, (80, 24)])
def test_who_may_see_everything_waits_for_nothing(terminal: tuple[int, int] | None) -> None:
    outputs = make(FOUND, terminal=terminal)
    assert outputs.feed(b"alice@exam", "out", 0)[0].data == b"alice@exam"
    assert outputs.feed(BLOB, "out", 0)[0].data == BLOB
    assert outputs.due_ms is None


def test_a_change_of_policy_counts_from_the_next_read() -> None:
    seen = [NONE]
    outputs = Outputs(DETECTORS, lambda: seen[-1])
    assert outputs.feed(b"alice@example.com\nbob@exam", "out", 0)[0].data == b"a***@***.com\n"
    seen.append(frozenset({"email"}))
    assert outputs.feed(b"ple.com\n", "out", 0)[0].data == b"bob@example.com\n"
    seen.append(FOUND)
    outputs.feed(b"x y", "out", 0)
    seen.append(NONE)
    assert outputs.feed(b"alice@example.com\n", "out", 0)[-1].data.endswith(b"a***@***.com\n")


class Failing(Detectors):
    def spans(self, data: bytes, at: int = 0) -> list[tuple[int, int, str, str]]:
        raise MemoryError


def test_a_sequence_that_has_begun_stays_in_front_when_all_is_revealed_meanwhile() -> None:
    now = NONE
    outputs = Outputs(DETECTORS, lambda: now, terminal=(80, 24))
    parts = outputs.feed(b"x\x1b[3", "out", 0)
    now = FOUND
    parts += outputs.feed(b"1my", "out", 100)
    assert b"".join(part.data for part in parts) == b"x\x1b[31my"


def test_a_masker_that_fails_shows_nothing_more() -> None:
    outputs = Outputs(Failing(), lambda: NONE)
    with pytest.raises(Fault) as failed:
        outputs.feed(b"alice@example.com\n", "out", 0)
    assert (failed.value.code, failed.value.detail) == ("masking_failed", "MemoryError")
    assert outputs.feed(b"more\n", "out", 0) == outputs.flush() == []
    assert outputs.text("ls") == ""
    assert outputs.due_ms is None


def test_a_command_whose_output_is_no_text_is_kept_all_the_same() -> None:
    outputs = make()
    with pytest.raises(Fault):
        outputs.feed(bytes(range(256)), "out", 0)
    assert outputs.text("cat a.tar # alice@example.com") == "cat a.tar # a***@***.com"
    assert outputs.feed(b"more\n", "out", 0) == outputs.flush() == []


def test_commands_are_kept_without_secrets() -> None:
    assert make().text("curl -u alice@example.com") == "curl -u a***@***.com"
    assert make(frozenset({"email"})).text("curl -u alice@example.com") == "curl -u alice@example.com"


def test_only_masking_vouches() -> None:
    class Forged(Outputs):
        pass

    with pytest.raises(TypeError):
        CleanOutputs(Forged(DETECTORS, lambda: NONE))
    assert Masker().outputs(lambda: NONE) is None
    found = Masker(DETECTORS).outputs(lambda: NONE)
    assert found is not None
    ((clean, part),) = found.feed(b"alice@example.com\n", "out", 0)
    assert clean.genuine
    assert (clean.data, part.raw) == (b"a***@***.com\n", b"alice@example.com\n")


@pytest.mark.parametrize("begun", [b"\x1b", b"\x1b[", b"\x1b[3", b"\x1b]0;title", b"\x1bP", b"\xe2\x82", b"\x1b[?25"])
def test_what_has_only_begun_at_the_end_is_shown_at_the_end(begun: bytes) -> None:
    outputs = Outputs(DETECTORS, lambda: NONE, terminal=(80, 24))
    parts = outputs.feed(b"alice@example.com\r\nx" + begun, "out", 0) + outputs.flush()
    before = b"".join(part.data for part in parts)
    assert (before[:1], before[-3:], b"alice" in before) == (b"a", b"\r\nx", False)
    assert b"".join(part.data for part in outputs.end(0)) == begun
    assert outputs.end(0) == []


def test_what_has_only_begun_at_the_end_is_masked_too() -> None:
    outputs = Outputs(DETECTORS, lambda: NONE, terminal=(80, 24))
    assert outputs.feed(b"\x1b]0;alice@example.com", "out", 0) == []
    parts = outputs.end(0)
    assert b"alice" not in b"".join(part.data for part in parts)
    assert b"".join(part.raw or part.data for part in parts) == b"\x1b]0;alice@example.com"


def test_a_class_of_the_targets_own_is_hidden_although_all_others_are_revealed() -> None:
    own = Detectors([Custom("badge", "EMP-[0-9]{4}")])
    for revealed, want in ((FOUND, b"[masked badge]\n"), (FOUND | {"badge"}, b"EMP-4711\n")):
        outputs = Outputs(own, lambda revealed=revealed: revealed)  # type: ignore[misc]
        assert b"".join(part.data for part in outputs.feed(b"EMP-4711\n", "out", 0)) == want
        assert outputs.text("echo EMP-4711") == "echo " + want.decode().strip()
