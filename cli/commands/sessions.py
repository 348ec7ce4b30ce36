"""``sessions`` and ``session``."""

from __future__ import annotations

import click

from chalicelib.contracts.session import Session, State
from cli.control_plane import ControlPlane
from cli.home import Home
from cli.moments import clock, days_back, duration, now_ms, parse_day, parse_since, utc_day
from cli.plain import counted
from cli.progress import Progress
from cli.screen import Cell, Column, facts, note, paint, say, say_json, table
from cli.session_search import RECENT_MS, Filter, listing, resolve, short_ids

_STYLES = {
    State.DENIED: "red",
    State.OFFERED: "yellow",
    State.EXPIRED: "dim",
    State.LIVE: "green",
    State.ENDED: "",
    State.KILLED: "red",
    State.INTERRUPTED: "yellow",
}
_COLUMNS = [
    Column("OPENED"),
    Column("SESSION"),
    Column("WHO", flexible=True),
    Column("TARGET", flexible=True),
    Column("STATE"),
    Column("OPERATIONS", right=True, spare=True),
    Column("DENIED", right=True),
    Column("DURATION", right=True, spare=True),
    Column("MESSAGE", flexible=True),
]


@click.command()
@click.option("--day", metavar="DAY", help="One UTC day: today, yesterday or 2026-11-20.")
@click.option("--since", metavar="TIME", help="45m, 2h, 3d, or a local date. Default: the last seven days.")
@click.option("--user", "principal", metavar="NAME", default="", help="Only sessions of this person.")
@click.option("--target", metavar="NAME", default="", help="Only sessions on this target.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only sessions in this state.")
@click.option(
    "-n", "limit", metavar="COUNT", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with whole identifiers.")
def sessions(
    day: str | None, since: str | None, principal: str, target: str, state: str | None, limit: int, as_json: bool
) -> None:
    """List sessions, newest first: who reached what, and what was refused.

    \b
    Examples:
      sallyport sessions
      sallyport sessions --since 2h --target prod-web
      sallyport sessions --day yesterday --state denied
      sallyport sessions --user alice@example.com -n 10 --json
    """
    if day and since:
        raise click.UsageError("--day and --since exclude each other.")
    now = now_ms()
    start = parse_since(since, now) if since else now - RECENT_MS
    days = [parse_day(day, now)] if day else list(days_back(now, start))
    wanted = Filter(days=days, since_ms=0 if day else start, principal=principal, target=target, state=state or "")
    saved = Home.find().login()
    with Progress("Looking for sessions"):
        found = list(listing(ControlPlane(saved.url, saved.token), wanted, limit))
    if as_json:
        say_json({"sessions": found})
        return
    if not found:
        note("No session matches.")
        return
    short = short_ids([each.sid for each in found])
    for line in table(_COLUMNS, [_row(each, short[each.sid], now) for each in found]):
        say(line)
    if len(found) == limit:
        note(f"Only the newest {limit} are shown; -n shows more.")


def _row(session: Session, short: str, now: int) -> list[Cell]:
    started = session.started_ms
    length = duration((session.ended_ms or now) - started) if started else ""
    return [
        Cell(clock(session.opened_ms), "dim"),
        Cell(short, "cyan"),
        Cell(session.principal),
        Cell(f"{session.login}@{session.target}" if session.login else session.target),
        Cell(session.state.value, _STYLES[session.state]),
        Cell(str(session.operations) if started else ""),
        Cell(str(session.denied) if started else "", "red" if session.denied else ""),
        Cell(length),
        Cell(session.message, _STYLES[session.state]),
    ]


@click.command()
@click.argument("sid", metavar="SESSION")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def session(sid: str, as_json: bool) -> None:
    """Show one session whole. SESSION is an identifier, or an end of one that is unambiguous.

    \b
    Examples:
      sallyport session 7X5B1HR
      sallyport session ses_01JD8QZ6T3N0V9C4K2M7X5B1HR --json
    """
    saved = Home.find().login()
    plane = ControlPlane(saved.url, saved.token)
    with Progress("Looking for the session"):
        found = plane.get(f"/sessions/{resolve(plane, sid, now_ms())}", Session)
    if as_json:
        say_json(found)
        return
    for line in facts(_pairs(found)):
        say(line)
    if found.state is State.LIVE:
        say(f"{paint('Watch it:', 'dim')} sallyport watch {found.sid}")
    if found.chunks:
        say(f"{paint('Replay it:', 'dim')} sallyport replay {found.sid}")


def _pairs(found: Session) -> list[tuple[str, str]]:
    return [
        ("session", found.sid),
        ("state", found.state.value),
        ("message", found.message),
        ("ended by", found.killed_by),
        ("who", found.principal),
        ("groups", ", ".join(found.groups)),
        ("from", found.source_ip),
        ("target", found.target),
        ("login", found.login),
        ("protocol", found.protocol),
        ("agent", found.agent),
        ("path", found.path),
        ("reason", found.reason),
        ("decided by", f"{found.verdict or 'no rule'}, policy version {found.policy_version}"),
        ("opened", f"{clock(found.opened_ms)} ({utc_day(found.opened_ms)} UTC)"),
        ("started", clock(found.started_ms)),
        ("ended", clock(found.ended_ms)),
        ("deadline", clock(found.deadline_ms)),
        ("operations", f"{found.operations}, of which {found.denied} refused" if found.started_ms else ""),
        ("recording", f"{counted(found.chunks, 'chunk')} in {found.recording}" if found.chunks else ""),
        ("chain", found.chain),
    ]
