"""PostgreSQL's own regression files differ in nothing, where everything is permitted and revealed.

``make regress`` fetches the files and says where they are (``SALLYPORT_REGRESS``); without them there is nothing to run.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.protocols.postgres.plugin import PostgresPlugin
from tests.integration.postgres.conftest import RUN, Gateway
from tests.integration.postgres.regression import DATABASE, Regression, differences
from tests.integration.postgres.server import Postgres

pytestmark = pytest.mark.servers

FILES = Path(os.environ.get("SALLYPORT_REGRESS", "/nonexistent"))
REVEAL = 'permit(principal, action == Action::"reveal", resource);'

#: What the gateway refuses whatever policy says, by file: these lines are taken out, for both ways. Everything else is compared.
REFUSED = {
    # Behind them the server and the gateway could read the same bytes differently.
    "plpgsql.sql": r"(?im)^set standard_conforming_strings = .*\n",
    "strings.sql": r"(?im)^(?:re)?set standard_conforming_strings.*\n",
    # Calls of functions by number carry no text that could be decided. psql works with large objects in this way. What looks at
    # an object that was to come of it finds another one, in any order.
    "largeobject.sql": r"(?m)^\\lo_.*\n|^SELECT pageno, data FROM pg_largeobject .*\nEXCEPT\n.*;\n",
}
#: Lines that differ for another reason.
KNOWN = {
    # PostgreSQL 15 reads any word as a strategy and complains later, without the place that newer ones, and the gateway, say.
    "create_table.sql": ["+LINE 3: ) PARTITION BY MAGIC (a);", "+                       ^"],
}

NAMES = sorted(path.name for path in FILES.glob("*.sql") if path.name != "test_setup.sql")


@pytest.fixture(scope="module")
def regression(postgres: Postgres) -> Regression:
    return Regression(postgres, FILES)


@pytest.mark.parametrize("name", NAMES or [pytest.param("", marks=pytest.mark.skip("make regress fetches the files"))])
async def test_a_file_differs_in_nothing(
    gateway: Gateway, regression: Regression, name: str, record_property: Callable[[str, object], None]
) -> None:
    gateway.rules = (RUN, REVEAL)
    gateway.options = {"database": DATABASE}
    gateway.login = "admin"
    gateway.plugin = PostgresPlugin(gateway.identity)
    dsn = f"host=127.0.0.1 port={gateway.port} user=admin dbname={DATABASE} sslmode=require"
    text = (FILES / name).read_bytes()
    if name in REFUSED:
        text, taken = re.subn(REFUSED[name].encode(), b"", text)
        assert taken, "there is nothing that is refused"
    one = await asyncio.to_thread(regression.direct, text)
    other = await asyncio.to_thread(regression.direct, text)
    gated = await asyncio.to_thread(regression.through, text, dsn)
    found = differences(one, other, gated)
    assert found == KNOWN.get(name, []), "\n".join(found[:40])
    operations = sum(len(gateway.recorded("operation", session)) for session in range(len(gateway.servings)))
    record_property("statements", operations)
