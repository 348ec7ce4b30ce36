"""How many rows a held statement concerns, as the server's planner estimates it: a fact for approvers, and never more than that.

Plain ``EXPLAIN``, never ``ANALYZE``, on a connection of the agent's own, in a read-only transaction, for half a second at most.
Nothing of the statement runs, but planning calls immutable and stable functions, so it is asked only about statements that call
none but PostgreSQL's own (docs/adr/0018). Whatever cannot be asked, or fails, is "not known".
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import msgspec

from agent.core.sql.model import Session
from agent.protocols.postgres import messages
from agent.protocols.postgres.backend import Backend
from agent.protocols.postgres.codec import SERVER_LIMITS, Framer, Message
from agent.protocols.postgres.messages import Malformed
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import READ, WRITE, Operation

#: Seconds that all of it may take, logging in included. Whoever waits is told who is asked only afterwards.
PATIENCE_S: Final = 1.5
#: What the connection is opened with. A lock that the client's own transaction holds must not be waited for.
SETTINGS: Final = {"default_transaction_read_only": "on", "statement_timeout": "500ms", "lock_timeout": "100ms"}

NOT_KNOWN: Final = "How many rows it concerns is not known."

_VERBS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE"})
#: Flags that change nothing about what planning does.
_FLAGS: Final = frozenset({"no_where", "no_limit", "probes", "probes_tagged", "stores_tagged", "writes_in_cte", "lock", "multi"})
_OWN: Final = "pg_catalog."
_ANSWER_LIMIT: Final = 4 * 1024 * 1024

Connect = Callable[[dict[str, str]], Awaitable[Backend]]
"""Logs in to the target once more, with settings beside the client's own. Raises Fault."""


async def facts(operation: Operation, session: Session, temporaries: frozenset[str], connect: Connect) -> list[str]:
    """Return what approvers are told about the rows of ``operation``: one sentence, or none where it is not about rows."""
    if not operation.verbs or not operation.verbs <= _VERBS:
        return []
    if not plannable(operation, session, temporaries):
        return [NOT_KNOWN]
    settings = SETTINGS | ({"search_path": _path(session.search_path)} if session.search_path is not None else {})
    try:
        async with asyncio.timeout(PATIENCE_S):
            backend = await connect(settings)
            try:
                plan = await _explain(backend, operation)
            finally:
                backend.stream.write(messages.message("X"))
                backend.stream.close()
        return [said(rows(plan))]
    except (Fault, Malformed, OSError, ValueError, struct.error, msgspec.MsgspecError, RecursionError):
        # TimeoutError is an OSError.
        return [NOT_KNOWN]


def plannable(operation: Operation, session: Session, temporaries: frozenset[str]) -> bool:
    """Tell whether planning ``operation`` elsewhere is planning the same thing, and calls nobody's functions."""
    functions = [name for name in operation.objects if name.endswith("()")]
    return (
        operation.action == "run"
        and operation.effects <= {READ, WRITE}
        and operation.flags <= _FLAGS
        and all(name.startswith(_OWN) for name in functions)
        and not (session.uncertain or session.changed or session.earlier or temporaries)
        and all(map(_exact, operation.arguments))
    )


def rows(plan: Any) -> int:
    """Return the rows of a plan in JSON: what goes into its changes, else what comes out. Raises ValueError."""
    try:
        top = plan[0]["Plan"]
        changes = [each for node in _nodes(top) if node["Node Type"] == "ModifyTable" for each in node.get("Plans", [])]
        fed = [each["Plan Rows"] for each in changes if each.get("Parent Relationship") in ("Outer", "Member")]
        return int(sum(fed) if fed else top["Plan Rows"])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"not a plan: {error!r}") from None


def said(count: int) -> str:
    """Return the sentence for ``count`` rows."""
    return f"EXPLAIN estimates {count:,} row{'s' if count != 1 else ''}."


def _nodes(node: Any) -> Iterator[Any]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("Plans", [])


def _exact(value: str) -> bool:
    """True where the record's form of a value is the value: not shortened, and not bytes in words."""
    return "… (" not in value and not value.startswith("\\x") and "\0" not in value


def _path(schemas: tuple[str, ...]) -> str:
    return ", ".join('"' + schema.replace('"', '""') + '"' for schema in schemas) or "''"


async def _explain(backend: Backend, operation: Operation) -> Any:
    """Return the plan. A Parse takes one statement only, so the text cannot hold a second one."""
    backend.stream.write(
        b"".join(
            [
                messages.parse("", f"EXPLAIN (FORMAT JSON) {operation.text}"),
                _bind(operation.arguments),
                messages.message("E", messages.text("") + b"\0\0\0\0"),
                messages.message("S"),
            ]
        )
    )
    framer, answer, weight = Framer(SERVER_LIMITS, whose="target"), b"", 0
    while True:
        data = await backend.stream.read()
        weight += len(data)
        if not data or weight > _ANSWER_LIMIT:
            raise ValueError("no plan")
        for found in framer.feed(data):
            if not isinstance(found, Message) or found.kind == "E":
                raise ValueError("no plan")
            if found.kind == "D":
                # One row of one column: its count, its length, the text.
                answer = found.body[6:]
            elif found.kind == "Z":
                return msgspec.json.decode(answer)


def _bind(values: tuple[str, ...]) -> bytes:
    body = [messages.text(""), messages.text(""), b"\0\0", struct.pack(">h", len(values))]
    for value in values:
        if value == "NULL":
            body.append(struct.pack(">i", -1))
            continue
        sent = ("NULL" if value == "'NULL'" else value).encode()
        body.append(struct.pack(">i", len(sent)) + sent)
    return messages.message("B", b"".join([*body, b"\0\0"]))
