"""What is text and what is not."""

from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from agent.core.masking.binary import binary


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo("alice@example.com.txt")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"hello\n"))
    return made.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tar(),
        gzip.compress(b"alice@example.com" * 10, mtime=0),
        os.urandom(4096).replace(b"\x01", b"") + b"\x01\xff",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"SQLite format 3\0\x10\0\x01\x01",
        b"\x1f\0\0\0",
    ],
)
def test_archives_images_and_packets_are_no_text(data: bytes) -> None:
    assert binary(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain\n",
        b"\x1b[1mbold\x1b[0m\x07\x08\t\r\n",
        "größe, 価格, 🙂\n".encode(),
        "größe\n".encode("latin-1"),
        b"PATH=/bin\0TOKEN=x\0",
        b"./a\0./b c\0",
        b"\x01\x02 in ascii\n",
    ],
)
def test_text_is_text_with_a_strange_byte_in_it_too(data: bytes) -> None:
    assert not binary(data)


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("end", range(4))
def test_a_character_that_was_cut_is_text(start: int, end: int) -> None:
    data = "🙂\x01 in between 🙂".encode()
    assert not binary(data[start : len(data) - end])


def test_a_character_that_is_none_beside_a_control_is_not() -> None:
    assert binary(b"plain text with \xff and \x01 in it")
