"""Patience is lost once, from any thread, and whoever asks later hears it too."""

from __future__ import annotations

import threading

from cli.patience import Patience
from tests.patience import HANG_S


def test_everybody_is_told_once() -> None:
    patience, told = Patience(), []
    patience.on_loss(lambda: told.append("first"))
    patience.on_loss(lambda: told.append("second"))
    assert (patience.lost, told) == (False, [])
    patience.lose()
    patience.lose()
    assert (patience.lost, told) == (True, ["first", "second"])


def test_who_asks_too_late_is_told_at_once() -> None:
    patience, told = Patience(), []
    patience.lose()
    patience.on_loss(lambda: told.append("late"))
    assert told == ["late"]


def test_nobody_is_forgotten_while_it_is_lost_in_another_thread() -> None:
    for _ in range(50):
        patience, told = Patience(), []
        start = threading.Barrier(2)

        def listen(patience: Patience = patience, told: list[int] = told, start: threading.Barrier = start) -> None:
            start.wait(HANG_S)
            for number in range(20):
                patience.on_loss(lambda number=number: told.append(number))  # type: ignore[misc]

        thread = threading.Thread(target=listen)
        thread.start()
        start.wait(HANG_S)
        patience.lose()
        thread.join(10)
        assert sorted(told) == list(range(20))
