"""Asks the server which columns a query has before COPY shows them in binary, where values do not say what they are. Pure.

Texts read the same whatever their types are; in binary, eight bytes may be a number, a moment or a name. So in front of
``COPY (query) TO STDOUT (FORMAT binary)`` the server is asked to prepare the query and to describe it. That runs nothing, names
types and origins as RowDescription does for a SELECT, and travels behind the same permit and in the same write as the COPY: no
answer is waited for.

    simple protocol     Close Parse Describe Close Sync, Query    its failure is not shown: the COPY fails too, in its own words
    extended protocol   Close Parse Describe Close, Execute       its failure is that of the segment: the server skips the Execute

Inside a block a question that fails ends the transaction, as the COPY would have. The client reads why, and not that what came
after it found a failed transaction.
"""

from __future__ import annotations

from typing import Final

from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Meaning
from agent.protocols.postgres.expected import Description, Expected, Kind, Queue
from agent.protocols.postgres.session import NAME

#: in_failed_sql_transaction (PostgreSQL documentation, Appendix A).
_FAILED: Final = "25P02"


def ask(queue: Queue, meaning: Meaning, query: str, *, apart: bool) -> tuple[bytes, Description]:
    """Return the question about ``query``, which is that of the COPY ``meaning``, and where its answer will be."""
    found = Description(apart=apart)
    # A cancel may have left an earlier one behind.
    close = messages.close("S", NAME)
    asked = [close, messages.parse(NAME, query), messages.describe("S", NAME), close]
    kinds = [Kind.CLOSE, Kind.PARSE, Kind.DESCRIBE_STATEMENT, Kind.CLOSE]
    if apart:
        asked.append(messages.message("S"))
        kinds.append(Kind.SYNC)
    for kind in kinds:
        expected = queue.push(Expected(kind))
        expected.silent, expected.described, expected.about = True, found, meaning
    return b"".join(asked), found


def reason(head: Expected | None, fields: dict[str, str]) -> dict[str, str]:
    """Return the error that the client is to read: ``fields``, or that of a question in front of ``head`` that led to it."""
    found = head.described if head is not None else None
    if head is None or found is None:
        return fields
    if head.silent:
        # Its position is one in the query, and not in what the client has sent.
        found.error = {code: words for code, words in fields.items() if code != "P"}
        return found.error
    return found.error if found.error and fields.get("C") == _FAILED else fields
