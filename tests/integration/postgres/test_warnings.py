"""Words before a session's time is over: a notice between two messages, whatever is under way, and recorded."""

from __future__ import annotations

import psycopg
import pytest

from tests.integration.plugin_listener import eventually
from tests.integration.postgres.conftest import RUN, Gateway

pytestmark = pytest.mark.servers

SOON = "This session ends at 12:00:00 UTC, in 1 minute: its time was granted until then."


async def test_a_notice_is_read_with_the_next_answer_and_nothing_is_disturbed(gateway: Gateway) -> None:
    gateway.rules = (RUN,)
    said: list[tuple[str | None, str | None]] = []
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as client:
        client.add_notice_handler(lambda notice: said.append((notice.severity_nonlocalized, notice.message_primary)))
        await eventually(lambda: bool(gateway.servings and gateway.servings[-1].tell))
        gateway.servings[-1].warned(SOON)
        assert await (await client.execute("SELECT 1")).fetchone() == (1,)
        assert said == [("NOTICE", f"sallyport: {SOON}")]
        assert [line["text"] for line in gateway.recorded("warned")] == [SOON]


async def test_a_notice_in_the_middle_of_a_copy_leaves_every_row(gateway: Gateway) -> None:
    gateway.rules = (RUN,)
    said: list[str | None] = []
    async with await psycopg.AsyncConnection.connect(gateway.dsn, autocommit=True) as client:
        client.add_notice_handler(lambda notice: said.append(notice.message_primary))
        rows = 0
        async with client.cursor() as cursor, cursor.copy("COPY (SELECT generate_series(1, 200000)) TO STDOUT") as copy:
            async for _ in copy.rows():
                rows += 1
                if rows == 5:
                    gateway.servings[-1].warned(SOON)
        assert rows == 200_000
        assert await (await client.execute("SELECT 2")).fetchone() == (2,)
    assert said == [f"sallyport: {SOON}"]
