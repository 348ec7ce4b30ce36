"""Has the server say what is wrong with a text that the gateway cannot read. Pure.

No two versions of PostgreSQL say the same about every error in a text: hints, positions and SQLSTATEs come and go. So where
policy permits what is unknown, the server is asked to *prepare* the text, which runs nothing of it, behind a permit and a record
like anything else that it is sent. Its answer is shown where its grammar is what complains. Where it could read what the gateway
could not, the text is refused all the same: behind it comes one that nobody can read.

    simple protocol     Parse(the text) Close Parse(unreadable) Sync
    extended protocol   Parse(the text) Close Parse(unreadable)          and the client's own Sync

Either way the server itself has failed where the client's message stood, so its state is what the client is told.
"""

from __future__ import annotations

from typing import Final

from agent.core.sql.tags import Tagged
from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Meaning
from agent.protocols.postgres.expected import Expected, Kind, Queue, Run
from chalicelib.contracts.operation import UNKNOWN

#: Longest text, in bytes, that is worth it: as much of what is refused as its record keeps.
LONGEST: Final = 4_096
#: The files of PostgreSQL whose errors are about a text as such, before anything in it is looked up.
_GRAMMAR: Final = frozenset({"scan.l", "gram.y", "parser.c", "scansup.c"})
_NOTHING: Final[frozenset[str]] = frozenset()


def ask(queue: Queue, text: str, name: str, unreadable: str, refusal: bytes, number: int, now_ms: int, *, simple: bool) -> bytes:
    """Return the question about ``text``, and expect its answer. ``name`` is free, ``number`` the line of its record.

    ``refusal`` is what the client reads where the server has nothing against the text.
    """
    asked, closed, failed = Expected(Kind.PARSE), Expected(Kind.CLOSE), Expected(Kind.PARSE)
    closed.silent = asked.trial = True
    asked.denial = failed.denial = refusal
    # It reads nothing: what the server says of it are the client's own words.
    tagged = Tagged((), aligned=False, every=_NOTHING, probed=_NOTHING, stored=_NOTHING, reached=_NOTHING)
    meaning = Meaning(text=text, kind="unreadable", effects=frozenset({UNKNOWN}), tagged=tagged)
    asked.runs = [Run(meaning, number, now_ms)]
    for expected in (asked, closed, failed):
        queue.push(expected)
    # What the server could prepare is gone before anything could run it.
    sent = [messages.parse(name, text), messages.close("S", name), messages.parse(name, unreadable)]
    if simple:
        queue.push(Expected(Kind.SYNC))
        sent.append(messages.message("S"))
    return b"".join(sent)


def about_the_text(head: Expected, fields: dict[str, str]) -> bool:
    """Return True where an error answers such a question, and is about the text as such."""
    return head.trial and fields.get("F", "") in _GRAMMAR
