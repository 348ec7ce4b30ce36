"""Clean bytes come from masking alone."""

from __future__ import annotations

import copy
import pickle

import pytest

from agent.core.masking import Clean, Masker


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
        clean._data = b"y"
    assert not object.__new__(Clean).genuine
