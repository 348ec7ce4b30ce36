"""Ports that are told to servers before they listen: nobody else is given them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.demo import ports


@pytest.fixture
def given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system says of the ports that it gives to whoever asks for any."""
    file = tmp_path / "range"
    monkeypatch.setattr(ports, "_RANGE", file)
    return file


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("32768\t60999\n", 10_000, 32_767),
        ("10000 30000", 30_001, 65_535),
        ("1024 65535", 10_000, 10_999),
        ("one two", 10_000, 32_767),
        ("", 10_000, 32_767),
    ],
)
def test_it_is_one_that_the_system_gives_to_nobody(given_away: Path, said: str, least: int, most: int) -> None:
    given_away.write_text(said)
    assert all(least <= ports.free_port() <= most for _ in range(50))


def test_where_the_system_says_nothing_it_is_one_below_those_that_systems_give_away(given_away: Path) -> None:
    assert 10_000 <= ports.free_port() <= 32_767


def test_one_that_is_taken_is_not_free(given_away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "_bounds", lambda: (port, port))
        with pytest.raises(RuntimeError, match=f"no port from {port} to {port} is free"):
            ports.free_port()
    assert ports.free_port() == port
