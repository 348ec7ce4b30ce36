"""What continues what: any honest growth is accepted, and any other history is a contradiction."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.witness import ContradictionError, advance, is_in, read_key
from chalicelib.contracts.api import LogNews, LogPlace
from chalicelib.contracts.translog import merkle
from chalicelib.contracts.translog.checkpoints import Checkpoint
from tests.fakes.note_keys import NoteKey

LOG = NoteKey.ed25519("gw.example/log")


def tree(leaves: list[bytes]) -> tuple[Callable[[int, int], bytes], bytes]:
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]

    def node(level: int, index: int) -> bytes:
        return merkle.perfect_root(hashes[index << level : (index + 1) << level])

    return node, merkle.root(len(leaves), node)


def shown(leaves: list[bytes], since: int = 0) -> tuple[Checkpoint, LogNews]:
    node, root = tree(leaves)
    stated = Checkpoint(LOG.key.name, len(leaves), root)
    proof = merkle.consistency_proof(since, len(leaves), node) if 0 < since <= len(leaves) else []
    return stated, LogNews(checkpoint=str(LOG.sign(stated.text())), consistency=[each.hex() for each in proof])


LEAVES = st.lists(st.binary(max_size=4), min_size=1, max_size=40)


@given(LEAVES, st.lists(st.binary(max_size=4), max_size=40))
def test_a_log_that_only_grows_is_always_accepted(first: list[bytes], more: list[bytes]) -> None:
    kept, news = shown(first)
    assert advance(None, news, LOG.key) is not None
    later, news = shown(first + more, len(first))
    seen = advance(kept, news, LOG.key)
    assert seen is not None
    assert seen.stated == later


@given(LEAVES, LEAVES, st.data())
def test_another_history_is_never_accepted(first: list[bytes], other: list[bytes], data: st.DataObject) -> None:
    kept, _ = shown(first)
    if other[: len(first)] == first:
        return
    _, news = shown(other, min(len(first), len(other)))
    _, honest = shown(first + other, len(first))
    proof = data.draw(st.sampled_from([news.consistency, honest.consistency, [], ["ab" * 32], ["zz"], ["00" * 32] * 65]))
    with pytest.raises(ContradictionError) as found:
        advance(kept, LogNews(checkpoint=news.checkpoint, consistency=proof), LOG.key)
    assert found.value.kind == ("rollback" if len(other) < len(first) else "fork")


@given(LEAVES, st.data())
def test_a_leaf_is_in_where_it_is_and_nowhere_else(leaves: list[bytes], data: st.DataObject) -> None:
    node, root = tree(leaves)
    stated = Checkpoint("x", len(leaves), root)
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = [each.hex() for each in merkle.inclusion_proof(index, len(leaves), node)]
    leaf = merkle.leaf_hash(leaves[index]).hex()
    assert is_in(leaf, LogPlace(index=index, hashes=proof), stated)
    assert not is_in(merkle.leaf_hash(b"never a leaf").hex(), LogPlace(index=index, hashes=proof), stated)
    assert not is_in(leaf, LogPlace(index=index, hashes=[*proof, "00" * 32]), stated)
    for odd in ("", "zz", "00"):
        assert not is_in(odd, LogPlace(index=index, hashes=proof), stated)


def test_no_log_yet_and_a_log_that_is_gone() -> None:
    assert advance(None, LogNews(), LOG.key) is None
    kept, _ = shown([b"x"])
    with pytest.raises(ContradictionError) as found:
        advance(kept, LogNews(), LOG.key)
    assert found.value.kind == "rollback"


def test_the_logs_key_is_one_or_none() -> None:
    assert read_key("") is None
    assert read_key(str(LOG.key)) == LOG.key
    with pytest.raises(ContradictionError):
        read_key("what is this")
