"""Channels by name."""

from __future__ import annotations

import pytest

from chalicelib.adapters.notifications import Channels
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.ports import Notice, Undelivered
from tests.fakes.approvals import access, asking_world


def told() -> tuple[Notice, ApprovalRequest]:
    world = asking_world()
    access(world)
    _, notice, request = world.notifier.sent[0]
    return notice, request


def test_a_notice_goes_to_the_channel_that_is_named() -> None:
    got: list[str] = []
    channels = Channels(lambda: {"slack": lambda *_: got.append("slack"), "mail": lambda *_: got.append("mail")})
    assert channels.channels() == ["mail", "slack"]
    channels.send("slack", *told())
    assert got == ["slack"]


def test_a_channel_that_was_taken_away_delivers_nothing() -> None:
    assert Channels(dict).channels() == []
    with pytest.raises(Undelivered, match="no channel called slack"):
        Channels(dict).send("slack", *told())
