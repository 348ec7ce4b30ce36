"""What is known of the database behind a target, read on a connection of its own and shared by the sessions of one agent.

The side connection logs in as the session's own account, so it sees what that account may see. It is closed at
once: nothing waits on it. A snapshot is read again when it is old, and when a session has changed what it describes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agent.core.sql import catalogue_queries as queries
from agent.core.sql.catalogue import Catalogue
from agent.protocols.postgres import messages
from agent.protocols.postgres.backend import Backend
from agent.protocols.postgres.codec import SERVER_LIMITS, Framer, Rows
from agent.protocols.postgres.messages import Malformed
from agent.protocols.postgres.snapshot import Snapshot
from chalicelib.contracts.faults import Fault

#: Milliseconds after which a snapshot is read again.
MAX_AGE_MS: Final = 60_000
#: Milliseconds that have to pass before it is read again only because of what a session has changed.
REST_MS: Final = 2_000
#: The most that a catalogue may weigh, in bytes as the server sends it.
BYTES_LIMIT: Final = 64 * 1024 * 1024
#: Seconds that reading it may take.
READ_S: Final = 30.0

#: Relation by OID, for the origin of result columns.
_RELATIONS_BY_OID: Final = """
SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

#: What PostgreSQL gives notice of, without an entry in its log: the name has a letter too many.
_LONG: Final = "a" * 64
_NOTICE: Final = f'identifier "{_LONG}" will be truncated to "{_LONG[:-1]}"'

Value = str | int | bool | list[str] | None
#: Type OIDs: bool, name[], text[], and the whole numbers.
_BOOL: Final = 16
_ARRAYS: Final = frozenset({1003, 1009, 1015})
_NUMBERS: Final = frozenset({20, 21, 23, 26})


async def read(backend: Backend, now_ms: int) -> Snapshot:
    """Read the catalogue over ``backend``, and end it. Raises Fault(target_closed | target_timeout)."""
    asking = _Asking(backend)
    try:
        async with asyncio.timeout(READ_S):
            version = next((int(value.split(".")[0]) for name, value in backend.settings if name == "server_version"), 0)
            await asking.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            path, user = (await asking.ask(queries.SESSION))[0]
            await asking.ask(queries.PREPARE)
            catalogue = Catalogue.build(
                relations=await asking.ask(queries.RELATIONS),
                columns=await asking.ask(queries.COLUMNS),
                inherits=await asking.ask(queries.INHERITS),
                functions=await asking.ask(queries.functions_query(version * 10_000)),
                operators=await asking.ask(queries.OPERATORS),
                search_path=path if isinstance(path, list) else (),
                user=str(user),
                english=await asking.english(),
            )
            by_oid = {int(str(oid)): (str(schema), str(name)) for oid, schema, name in await asking.ask(_RELATIONS_BY_OID)}
            return Snapshot(catalogue, by_oid, now_ms, version)
    except TimeoutError:
        raise Fault("target_timeout", "The target did not describe its tables in time.") from None
    except (Malformed, ValueError, IndexError) as error:
        raise Fault("target_protocol", "The target's description of its tables cannot be read.", detail=str(error)) from None
    finally:
        backend.stream.write(messages.message("X"))
        backend.stream.close()


class _Asking:
    """Queries and their rows, one after the other."""

    def __init__(self, backend: Backend) -> None:
        self._stream = backend.stream
        self._framer = Framer(SERVER_LIMITS, whose="target", rows=True)
        self._weight = 0
        self._notice = ""

    async def english(self) -> bool:
        """Return True if the server speaks PostgreSQL's own words, and no translation of them.

        A superuser chooses that (``lc_messages``), or whoever started the server, which nobody can ask for.
        """
        await self.ask(f"SELECT 1 AS {_LONG}")
        return self._notice == _NOTICE

    async def ask(self, sql: str) -> list[list[Value]]:
        """Return the rows of ``sql``."""
        self._stream.write(messages.query(sql))
        fields: tuple[messages.Field, ...] = ()
        rows: list[list[Value]] = []
        failed = ""
        while True:
            data = await self._stream.read()
            self._weight += len(data)
            if not data or self._weight > BYTES_LIMIT:
                raise Fault("target_closed", "The target did not describe its tables to the end.", detail=f"{self._weight} bytes")
            for found in self._framer.feed(data):
                if isinstance(found, Rows):
                    rows += [_row(body, fields) for body in found.bodies()]
                elif found.kind == "T":
                    fields = messages.read_row_description(found.body)
                elif found.kind == "N":
                    self._notice = messages.read_fields(found.body).get("M", "")
                elif found.kind == "E":
                    failed = messages.read_fields(found.body).get("M", "")
                elif found.kind == "Z":
                    if failed:
                        raise Fault("target_closed", "The target does not describe its tables.", detail=failed)
                    return rows


def _row(body: bytes, fields: tuple[messages.Field, ...]) -> list[Value]:
    values: list[Value] = []
    at = 2
    for field in fields:
        size = int.from_bytes(body[at : at + 4], signed=True)
        at += 4
        if size < 0:
            values.append(None)
            continue
        values.append(_value(body[at : at + size].decode(), field.type))
        at += size
    return values


def _value(text: str, kind: int) -> Value:
    if kind == _BOOL:
        return text == "t"
    if kind in _NUMBERS:
        return int(text)
    return read_array(text) if kind in _ARRAYS else text


def read_array(text: str) -> list[str]:
    """Return the elements of a one-dimensional array as PostgreSQL writes it (documentation, §8.15.6)."""
    if not (text.startswith("{") and text.endswith("}")):
        raise Malformed
    found: list[str] = []
    at, end = 1, len(text) - 1
    while at < end:
        element = ""
        if text[at] == '"':
            at += 1
            while at < end and text[at] != '"':
                at += text[at] == "\\"
                element += text[at]
                at += 1
            at += 1
        else:
            stop = text.find(",", at)
            stop = end if stop < 0 else stop
            element, at = text[at:stop], stop
        found.append(element)
        at += 1
    return found


Fetch = Callable[[], Awaitable[Snapshot]]


class Catalogues:
    """The snapshots of this agent, one for each database and account."""

    def __init__(self) -> None:
        self.readings = 0
        """How often anything was read: where it is what it was, ``held`` is too."""
        self._held: dict[tuple[str, ...], Snapshot] = {}
        self._under_way: dict[tuple[str, ...], asyncio.Task[Snapshot]] = {}

    def held(self, key: tuple[str, ...]) -> Snapshot | None:
        """Return the newest snapshot, however old."""
        return self._held.get(key)

    async def current(self, key: tuple[str, ...], now_ms: int, fetch: Fetch) -> Snapshot:
        """Return a snapshot that is not old. Sessions that ask at once share one reading. Raises Fault."""
        held = self._held.get(key)
        if held is not None and now_ms - held.read_ms < MAX_AGE_MS:
            return held
        return await self._shared(key, fetch)

    async def renewed(self, key: tuple[str, ...], fetch: Fetch) -> Snapshot:
        """Return a snapshot that was begun after this call. Raises Fault."""
        under_way = self._under_way.get(key)
        if under_way is not None:
            # It may have begun before what has changed now.
            await asyncio.wait([under_way])
        return await self._shared(key, fetch)

    async def _shared(self, key: tuple[str, ...], fetch: Fetch) -> Snapshot:
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.ensure_future(self._fetch(key, fetch))
            self._under_way[key] = task
        return await asyncio.shield(task)

    async def _fetch(self, key: tuple[str, ...], fetch: Fetch) -> Snapshot:
        try:
            snapshot = await fetch()
            self._held[key] = snapshot
            self.readings += 1
            return snapshot
        finally:
            del self._under_way[key]
