"""Clean bytes come from masking alone."""

from __future__ import annotations

import copy
import pickle

import pytest

from agent.core.masking import Clean, CleanCopy, CleanNotices, CleanRows, CleanStream, Masker
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import Column
from agent.core.masking.stream import StreamMasker


def test_without_rules_bytes_pass_unchanged() -> None:
    assert Masker().mask(b"\xffcard 4111").data == b"\xffcard 4111"


def test_clean_bytes_cannot_be_made_copied_changed_or_inherited() -> None:
    clean = Masker().mask(b"x")
    assert clean.genuine
    for forge in (
        Clean,
        lambda: Clean(b"x"),
        lambda: copy.copy(clean),
        lambda: pickle.dumps(clean),
        lambda: type("Mine", (Clean,), {}),
    ):
        with pytest.raises(TypeError):
            forge()
    with pytest.raises(AttributeError):
        clean.data = b"y"
    assert not object.__new__(Clean).genuine


def test_every_way_out_mints_what_it_masked() -> None:
    masker = Masker(Detectors())
    secret, shown = b"alice@example.com\n", b"a***@***.com\n"
    row = b"\x00\x01\x00\x00\x00\x11" + secret[:-1]
    masked = b"D\x00\x00\x00\x16\x00\x01\x00\x00\x00\x0c" + shown[:-1]
    ways = [
        (masker.mask(secret), shown),
        (masker.stream().feed(secret, 0), shown),
        (masker.rows([Column(25)]).mask([row]), masked),
        (masker.copy([Column(25)], form="text").feed(secret), shown),
        (masker.notices({}).scrub(secret), shown),
    ]
    for clean, want in ways:
        assert clean.genuine
        assert clean.data == want
    assert masker.report().hits == {"email": 1}


def test_without_rules_every_way_out_passes_bytes() -> None:
    masker = Masker()
    assert masker.stream().feed(b"alice@exa", 0).data == b"alice@exa"
    assert masker.stream().due_ms is None
    row = b"\x00\x01\x00\x00\x00\x04a@b."
    assert masker.rows([Column(25)]).mask([row]).data == b"D\x00\x00\x00\x0e" + row
    assert masker.copy([Column(25)], form="text").feed(b"alice@example.com\n").data == b"alice@example.com\n"
    assert masker.notices({}).scrub(b"alice@example.com").data == b"alice@example.com"


def test_a_tag_is_masked_without_detectors() -> None:
    row = b"\x00\x01\x00\x00\x00\x04a@b."
    assert b"****" in Masker().rows([Column(25, 0, "email")]).mask([row]).data


def test_nobody_else_can_vouch() -> None:
    class Forged(StreamMasker):
        def feed(self, data: bytes, now_ms: int) -> bytes:
            return data

    with pytest.raises(TypeError):
        CleanStream(Forged(Detectors()))
    for way in (CleanRows, CleanCopy, CleanNotices):
        with pytest.raises(TypeError):
            way(object())  # type: ignore[arg-type]
