"""Known ways to carry a secret past detectors, each beside an innocent twin of the same dress that must pass untouched.

A row with `oid` is a PostgreSQL value in text format, the others are text in a stream. Rows are only ever added. Out of scope and
said so: base64, compression, encryption, reversal, spelling in words, and plain digits glued to letters or to other digits.
"""

import json
from pathlib import Path

import pytest

from agent.core.masking.binary_copies import BinaryCopy
from agent.core.masking.classes import Tally
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import FEW, Column, RowMasker
from agent.core.masking.stream import StreamMasker
from agent.core.masking.values import Scrubber

DETECTORS = Detectors()
ROWS = [json.loads(line) for line in Path(__file__).with_name("evasions.jsonl").read_text().splitlines()]
NAMES = [row["about"] for row in ROWS]


def scrubbed(row: dict[str, object], text: str) -> tuple[bytes | None, int]:
    """Return what is shown of ``text``, and how many secrets were replaced."""
    tally = Tally()
    scrubber = Scrubber(DETECTORS, tally=tally)
    oid = row.get("oid", 25)
    assert isinstance(oid, int)
    shown = scrubber.scrub_value(oid, 0, text.encode())
    return shown, sum(tally.take().hits.values())


def test_the_corpus_only_grows() -> None:
    assert len(ROWS) >= 74
    assert len(set(NAMES)) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_an_evasion_is_masked(row: dict[str, str]) -> None:
    shown, count = scrubbed(row, row["evasion"])
    assert count > 0
    assert shown != row["evasion"].encode()
    for secret in (
        b"alice@",
        b"1111 1111 1111",
        b"111111111111",
        b"45-6789",
        b"MIIEvQIBADANBg",
        b"MHcCAQEE",
        b"3704",
        b"eyJzdWIi",
    ):
        assert secret not in (shown or b"")
    if shown is not None:
        assert scrubbed(row, shown.decode())[0] == shown


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_its_innocent_twin_passes(row: dict[str, str]) -> None:
    assert scrubbed(row, row["twin"]) == (row["twin"].encode(), 0)


@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("row", [row for row in ROWS if "oid" not in row], ids=[row["about"] for row in ROWS if "oid" not in row])
def test_neither_does_it_pass_a_stream(row: dict[str, str], size: int) -> None:
    for text in (row["evasion"], row["twin"]):
        data = f"before {text} after\n".encode()
        masker = StreamMasker(DETECTORS)
        shown = b"".join(masker.feed(data[at : at + size], 0) for at in range(0, len(data), size)) + masker.flush()
        assert shown == DETECTORS.scrub(data, frozenset(), Tally())


@pytest.mark.parametrize("row", [row for row in ROWS if "oid" not in row], ids=[row["about"] for row in ROWS if "oid" not in row])
def test_nor_a_copy_in_binary(row: dict[str, str]) -> None:
    head = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
    for text in (row["evasion"], row["twin"]):
        value, want = text.encode(), DETECTORS.scrub(text.encode(), frozenset(), Tally())
        data = head + b"\x00\x01" + len(value).to_bytes(4, "big") + value + b"\xff\xff"
        masked = BinaryCopy([Column(25)], DETECTORS).feed(data)
        assert masked == head + b"\x00\x01" + len(want).to_bytes(4, "big") + want + b"\xff\xff"


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_nor_a_batch_of_rows(row: dict[str, object]) -> None:
    for text in (row["evasion"], row["twin"]):
        assert isinstance(text, str)
        oid = row.get("oid", 25)
        assert isinstance(oid, int)
        value = text.encode()
        body = b"\x00\x01" + len(value).to_bytes(4, "big") + value
        shown, _ = scrubbed(row, text)
        size = (0xFFFFFFFF if shown is None else len(shown)).to_bytes(4, "big")
        want = b"\x00\x01" + size + (shown or b"")
        masked = RowMasker([Column(oid)], DETECTORS).mask([body] * FEW)
        assert masked == (b"D" + (len(want) + 4).to_bytes(4, "big") + want) * FEW
