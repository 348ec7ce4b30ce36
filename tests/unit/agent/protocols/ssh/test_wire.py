"""Streams that are counted and hashed."""

from __future__ import annotations

import hashlib

from agent.core.units import Event, Output, Remark
from agent.protocols.ssh.wire import Wire


def test_both_directions_pass_and_are_told_at_the_end() -> None:
    told: list[Event] = []
    sent: list[bytes] = []
    ended: list[bool] = []
    wire = Wire(told.append, sent.append, lambda: ended.append(True))
    wire.from_client(b"ab")
    wire.from_client(b"c")
    wire.client_eof()
    wire.from_target(b"x")
    wire.finish(0)
    assert (sent, ended) == ([b"ab", b"c"], [True])
    output, remark = told
    assert output == Output(b"x", recorded=False)
    assert isinstance(remark, Remark)
    in_, out = (hashlib.sha256(data).hexdigest() for data in (b"abc", b"x"))
    assert remark.entry["text"] == f"sent 3 bytes (sha256 {in_}), received 1 (sha256 {out})"
