"""Challenges that come twice."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.drawn import Drawn


def test_each_comes_once() -> None:
    drawn = Drawn()
    for number in range(1000):
        drawn.take(b"%d" % number)
    with pytest.raises(ValueError, match="twice"):
        drawn.take(b"999")


def test_what_is_remembered_is_bounded() -> None:
    drawn = Drawn()
    for number in range(1000):
        drawn.take(b"%d" % number)
    drawn.take(b"0")
