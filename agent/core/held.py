"""What is said while an operation waits for others: to them, what makes it dangerous; to its owner, who is asked."""

from __future__ import annotations

import datetime as dt
from typing import Final

from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.operation import ADMIN, UNKNOWN, Operation

#: Flags that the shell's and the SQL's reading give to an operation, as sentences.
_RISKS: Final = {
    "no_where": "There is no WHERE clause: every row is concerned.",
    "deletes": "It deletes files that the other side does not have, or has sent.",
    "recursive_delete": "It deletes a whole directory tree, or may.",
    "dynamic": "What it does depends on values that are known only when it runs.",
    "tunnel": "What passes through the forwarded port is counted, and neither decided nor recorded.",
    "opaque": "It runs something that cannot be read in advance.",
}


def risks(operation: Operation) -> list[str]:
    """Return the facts about ``operation`` that an approver should know, each a short sentence."""
    found = [words for flag, words in _RISKS.items() if flag in operation.flags]
    if UNKNOWN in operation.effects:
        found.append("Its effect could not be told.")
    if ADMIN in operation.effects:
        found.append("It administers the target.")
    return found


def waiting(standing: RequestStanding | None, key: str = "Ctrl-C") -> str:
    """Return one line for the person who waits: who is asked, where, and until when; or that nobody could be asked yet.

    ``key`` is what they press to withdraw. Holds a policy's and the gateway's words.
    """
    if standing is None:
        return f"The gateway cannot be asked at this moment; it is tried again. {key} ends that."
    request = standing.request
    people = " and ".join(f"{ask.quorum} of {ask.group}" if ask.quorum > 1 else ask.group for ask in request.asks)
    end = dt.datetime.fromtimestamp(request.deadline_ms / 1000, dt.UTC).strftime("%H:%M:%S")
    words = f"{request.message} " if request.message else ""
    return f"{words}Waiting until {end} UTC for {people or 'others'} to agree: {standing.link} - {key} withdraws."
