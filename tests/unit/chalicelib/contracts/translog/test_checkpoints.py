"""Checkpoints, cosignatures and self-contained proofs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.translog import checkpoints, merkle, notes
from chalicelib.contracts.translog.checkpoints import Checkpoint, Proof, Witnessed
from chalicelib.contracts.translog.signatures import check
from tests.fakes.note_keys import NoteKey

LOG = NoteKey.ed25519("gw.example/log")
WITNESS = NoteKey.ed25519("edge-1", notes.COSIGNATURE)
STATED = Checkpoint("gw.example/log", 7, merkle.leaf_hash(b"root"))


def test_a_checkpoint_says_what_it_says() -> None:
    found, note = checkpoints.parse(str(LOG.sign(STATED.text())).encode())
    assert found == STATED
    assert checkpoints.signed_by_log(note, "gw.example/log", [LOG.key, WITNESS.key], check)


def test_only_the_log_signs_for_the_log() -> None:
    other = NoteKey.ed25519("other.example/log")
    note = other.sign(STATED.text())
    assert not checkpoints.signed_by_log(note, "gw.example/log", [LOG.key, other.key], check)
    assert not checkpoints.signed_by_log(WITNESS.sign(STATED.text()), "edge-1", [WITNESS.key], check)


@pytest.mark.parametrize(
    "text", ["log\n7\n", "log\n07\nAAAA\n", "log\n-1\nAAAA\n", "log\n7\nAAAA\n", "\n7\n" + "A" * 43 + "=\n", "log\n٣\nAAAA\n"]
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        checkpoints.read(notes.Note(text, []))


def test_a_witness_vouches_for_a_text_at_a_time() -> None:
    note = WITNESS.cosign(LOG.sign(STATED.text()), 1_790_000_000)
    again = notes.parse(str(note).encode())
    assert checkpoints.witnesses(again, [LOG.key, WITNESS.key], check) == [Witnessed("edge-1", 1_790_000_000)]
    # Lifted onto another checkpoint, or given another time, it is worth nothing.
    moved = notes.Note(Checkpoint("gw.example/log", 8, STATED.root).text(), again.signatures)
    assert checkpoints.witnesses(moved, [WITNESS.key], check) == []
    line = again.signatures[-1]
    later = notes.Signature(line.name, line.key_id, bytes(7) + b"\1" + line.body[8:])
    assert checkpoints.witnesses(notes.Note(note.text, [later]), [WITNESS.key], check) == []
    short = notes.Signature(line.name, line.key_id, line.body[:8])
    assert checkpoints.witnesses(notes.Note(note.text, [short]), [WITNESS.key], check) == []


def test_a_proof_carries_everything_with_it() -> None:
    leaves = [b"one", b"two", b"three"]

    def node(level: int, index: int) -> bytes:
        return merkle.perfect_root([merkle.leaf_hash(leaf) for leaf in leaves[index << level : (index + 1) << level]])

    stated = Checkpoint("gw.example/log", 3, merkle.root(3, node))
    proof = Proof(1, merkle.inclusion_proof(1, 3, node), LOG.sign(stated.text()), b"two")
    found = checkpoints.parse_proof(str(proof).encode())
    assert found == proof
    said = checkpoints.read(found.note)
    assert merkle.check_inclusion(merkle.leaf_hash(found.extra), found.index, said.size, found.hashes, said.root)


def test_a_proof_may_leave_the_leaf_out() -> None:
    proof = Proof(0, [], LOG.sign(Checkpoint("gw.example/log", 1, STATED.root).text()))
    assert checkpoints.parse_proof(str(proof).encode()) == proof


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex -1\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nx",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\nno note",
    ],
)
def test_what_is_no_proof_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        checkpoints.parse_proof(raw)


@given(st.binary(max_size=300))
def test_garbage_is_a_value_error(raw: bytes) -> None:
    for parse in (checkpoints.parse, checkpoints.parse_proof):
        with pytest.raises(ValueError):
            parse(raw)


def test_names_sort_by_size() -> None:
    assert checkpoints.history_path(9) < checkpoints.history_path(10) < checkpoints.history_path(10**17)
    assert checkpoints.cosignature_path(9, "edge-1") == "cosignatures/00000000000000000009/edge-1"
