"""``kill``: end sessions that go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import click

from chalicelib.contracts.api_live import SessionKill, SessionKilled
from chalicelib.contracts.faults import exit_status
from chalicelib.contracts.session import OVER, Session, State
from cli.control_plane import ControlPlane, Refusal
from cli.home import Home
from cli.moments import days_back, now_ms
from cli.plain import clean
from cli.progress import Progress
from cli.screen import fail, note, say, say_json, warn
from cli.session_search import Filter, listing, resolve

#: Seconds in which an agent usually says that a session is over; it also delivers what it recorded.
PATIENCE_S: Final = 5.0
PAUSE_S: Final = 0.25
#: No session is older than a day by the gateway's own limits; its listing begins on the day before.
_LONGEST_MS: Final = 26 * 3_600_000
_MOST: Final = 1_000


@click.command()
@click.argument("sids", metavar="[SESSION]...", nargs=-1)
@click.option("--reason", metavar="TEXT", required=True, help="Why; whoever works in the session reads it.")
@click.option("--all", "everything", is_flag=True, help="Every open session of --user, on --target, or both.")
@click.option("--user", "principal", metavar="NAME", default="", help="With --all: sessions of this person.")
@click.option("--target", metavar="NAME", default="", help="With --all: sessions on this target.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def kill(sids: tuple[str, ...], reason: str, everything: bool, principal: str, target: str, as_json: bool) -> int:
    """End sessions now, whatever runs in them.

    Whoever works in one reads that you ended it, and why. Policy decides (action kill); your own sessions you may
    always end, unless a rule forbids it. If a session's agent is away, the order is kept: the session ends when the
    agent is back.

    \b
    Examples:
      sallyport kill 7X5B1HR --reason "wrong machine"
      sallyport kill --all --user alice@example.com --reason "laptop stolen"
      sallyport kill --all --target prod-web --user deploy-bot --reason INC-4711
    """
    if everything == bool(sids):
        raise click.UsageError("Name sessions, or say --all.")
    if everything != bool(principal or target):
        raise click.UsageError("--all takes --user, --target or both, and they go with --all.")
    saved = Home.find().login()
    plane = ControlPlane(saved.url, saved.token)
    wanted = _open(plane, principal, target) if everything else [resolve(plane, sid, now_ms()) for sid in sids]
    if not wanted:
        note("No open session matches.")
    outcomes, status = _order(plane, wanted, reason)
    with Progress("Waiting for the agents"):
        outcomes = _settle(plane, outcomes, reason)
    if as_json:
        say_json({"sessions": outcomes})
    else:
        _tell(outcomes)
    missed = any(not outcome.reached for outcome in outcomes)
    return status or (exit_status("agent_offline") if missed else 0)


def _open(plane: ControlPlane, principal: str, target: str) -> list[str]:
    now = now_ms()
    found: list[Session] = []
    for state in (State.LIVE, State.OFFERED):
        days = list(days_back(now, now - _LONGEST_MS))
        found += listing(plane, Filter(days=days, principal=principal, target=target, state=state.value), _MOST)
    return [each.sid for each in found]


def _order(plane: ControlPlane, sids: list[str], reason: str) -> tuple[list[SessionKilled], int]:
    """Return what came of each order, and the exit status of the last refusal: one that is refused saves none of the others."""
    outcomes, status = [], 0
    for sid in sids:
        try:
            outcomes.append(_ask(plane, sid, reason))
        except Refusal as refusal:
            fail(refusal.notice.code, f"{sid}: {refusal.notice.message}", refusal.notice.hint)
            status = refusal.exit_status
    return outcomes, status


def _ask(plane: ControlPlane, sid: str, reason: str) -> SessionKilled:
    return plane.post(f"/sessions/{sid}/kill", SessionKilled, SessionKill(reason=reason))


def _settle(plane: ControlPlane, outcomes: list[SessionKilled], reason: str) -> list[SessionKilled]:
    """Ask again for those whose agent was told, until it has said that they are over, or for a while."""
    until = time.monotonic() + PATIENCE_S
    while any(_pending(outcome) for outcome in outcomes) and time.monotonic() < until:
        time.sleep(PAUSE_S)
        outcomes = list(_again(plane, outcomes, reason))
    return outcomes


def _again(plane: ControlPlane, outcomes: list[SessionKilled], reason: str) -> Iterator[SessionKilled]:
    for outcome in outcomes:
        if not _pending(outcome):
            yield outcome
            continue
        try:
            yield _ask(plane, outcome.sid, reason)
        except Refusal as refusal:
            # It is over, by the order of somebody who was first.
            over = {**_fields(outcome), "state": State.ENDED}
            yield SessionKilled(**over) if refusal.notice.code == "session_ended" else outcome


def _fields(outcome: SessionKilled) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}


def _pending(outcome: SessionKilled) -> bool:
    return outcome.reached and outcome.state not in OVER


def _tell(outcomes: list[SessionKilled]) -> None:
    for outcome in outcomes:
        if outcome.state in OVER:
            say(f"{outcome.sid} is over: {clean(outcome.message)}")
        elif outcome.reached:
            say(f"Agent {clean(outcome.agent)} ends {outcome.sid} now; it has yet to deliver the rest of the recording.")
        else:
            warn(
                f"Agent {clean(outcome.agent)} is not connected. The order is kept: it ends {outcome.sid} when it is back, "
                "and until then that session may go on."
            )
