"""What starts a shell, and may ask for a password first."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.starter import ANSWERS, Starter


def said(*pieces: bytes) -> Starter:
    starter = Starter()
    for each in pieces:
        starter.said(each)
    return starter


@pytest.mark.parametrize(
    "data",
    [
        b"[sudo] password for web: ",
        b"Password:",
        b"Mot de passe : ",
        b"Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
        b"\x1b[1mPassword:\x1b[0m ",
    ],
)
def test_what_asks(data: bytes) -> None:
    assert said(data).asks
    assert said(*(bytes([each]) for each in data)).asks, "in whatever pieces"


@pytest.mark.parametrize("data", [b"", b"Password: \r\n", b"Welcome: all\r\n$ ", b":" + b"x" * 10, b"\n:"])
def test_what_does_not(data: bytes) -> None:
    assert not said(data).asks


def test_an_answer_is_to_one_question() -> None:
    starter = said(b"Password: ")
    starter.answered()
    assert not starter.asks
    starter.said(b"\r\nPassword: ")
    assert starter.patient


def test_answers_are_bounded() -> None:
    starter = Starter()
    for _ in range(ANSWERS):
        starter.said(b"\r\nPassword: ")
        assert starter.patient
        starter.answered()
    starter.said(b"\r\nPassword: ")
    assert starter.asks
    assert not starter.patient
