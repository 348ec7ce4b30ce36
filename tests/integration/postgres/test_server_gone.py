"""A server that goes in the middle of a session is told as such."""

from __future__ import annotations

import pytest

from tests.integration.postgres.conftest import Gateway

pytestmark = pytest.mark.servers


async def test_a_server_that_hangs_up_is_said_to_have_done_so(gateway: Gateway) -> None:
    ran = await gateway.psql("SELECT pg_terminate_backend(pg_backend_pid());\nSELECT 1;")
    assert "terminating connection" in ran.err, ran
    assert ran.status == 2, ran
    await gateway.idle()
    assert [notice.code for notice in gateway.notices] == ["target_closed"]
