"""Connections that let go of what they need no more, and go on."""

from __future__ import annotations

from typing import Any, cast

import pytest

from agent.protocols.ssh.slim import slim
from tests.integration.ssh.test_packets import BULK, GCM, count, echoed, pair

pytestmark = pytest.mark.servers

BOTH: dict[str, Any] = {"server": True, "client": True}


async def test_keys_still_change() -> None:
    async with pair(**BOTH, **GCM, rekey_bytes=300_000) as (conn, far):
        slim(conn)
        slim(far.conn)
        changes = {conn: 0, far.conn: 0}
        for end in changes:
            count(end, changes)
        assert await echoed(conn, BULK) == BULK
        assert sum(changes.values()) > 5
        assert not far.lost


async def test_in_the_middle_of_an_exchange() -> None:
    async with pair(**BOTH, **GCM) as (conn, far):
        ours = cast(Any, conn)
        ours._kex_complete = False
        ours._send_kexinit()
        ours._kexinit_sent = True
        slim(conn)
        assert ours._client_kexinit
        assert await echoed(conn, BULK[:100_000]) == BULK[:100_000]
        slim(conn)
        assert not ours._client_kexinit
        assert not far.lost


async def test_names_are_shared_and_stay_apart() -> None:
    async with pair(**BOTH, **GCM) as (one, _), pair(**BOTH, encryption_algs=["aes256-gcm@openssh.com"]) as (other, _):
        before = [list(cast(Any, each)._enc_algs) for each in (one, other)]
        slim(one)
        slim(other)
        first, second = cast(Any, one), cast(Any, other)
        assert first._kex_algs is second._kex_algs
        assert [first._enc_algs, second._enc_algs] == before
        assert first._options.encryption_algs is first._enc_algs
