"""What a recording says of a line of a shell: where it ran, what was decided and by whom, how it ended, its part of the cast."""

from __future__ import annotations

from typing import Any

from agent.core.policy import Decision
from agent.core.recording.transcript import verdict_word
from chalicelib.contracts.operation import Operation


def command(operation: Operation, decision: Decision | None, cast: tuple[int, int]) -> dict[str, Any]:
    """Return the entry of the line that ``operation`` is, with an empty ``text``; ``cast`` are the bytes from and to.

    Its event is ``command`` for a line that ran, ``denied`` for one that did not. ``decision`` is None where none is known.
    """
    entry: dict[str, Any] = {
        "event": "command" if decision is None or decision.permit is not None else "denied",
        "text": "",
        "digest": operation.digest(),
        "cwd": dict(operation.environment).get("PWD", ""),
        "exit": None,
        "duration_ms": 0,
        "cast": list(cast),
    }
    return entry if decision is None else entry | _decided(decision)


def withdrawn(operation: Operation, cast: tuple[int, int]) -> dict[str, Any]:
    """Return the entry of an operation whose client left while others were asked about it, like :func:`command`."""
    why = {"verdict": "denied", "code": "approval_withdrawn", "message": "The client left while others were asked."}
    return command(operation, None, cast) | {"event": "denied"} | why


def _decided(decision: Decision) -> dict[str, Any]:
    about: dict[str, Any] = {"verdict": verdict_word(decision), "rules": decision.verdict.rules, "policy": decision.version}
    if decision.yes is not None:
        about |= {"request": decision.yes.claims.rid, "approvers": decision.yes.approvers}
    if decision.permit is None:
        about |= {"code": decision.code, "message": decision.message}
    return about
