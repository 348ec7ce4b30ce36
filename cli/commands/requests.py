"""Asking others, and answering them, in a terminal: ``request`` and ``requests``, and all that can be done about one."""

from __future__ import annotations

import json
import re
from typing import Final, Literal

import click

from chalicelib.contracts.api_requests import AccessAsk, Ballot, RequestEnd, RequestPage, RequestStanding, ReviewGiven
from chalicelib.contracts.approval import ApprovalRequest, Precedent, RequestState
from chalicelib.contracts.faults import Fault
from cli import asking
from cli.control_plane import ControlPlane
from cli.home import Home
from cli.moments import clock, days_back, duration, now_ms, parse_since, until
from cli.plain import clean, clean_lines, reads_as_it_is
from cli.progress import Progress
from cli.request_history import history
from cli.screen import Cell, Column, facts, is_terminal, note, paint, say, say_json, table

_LENGTH: Final = re.compile(r"([1-9]\d{0,4})([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_NOTHING: Final = {
    "mine": "You ask for nothing.",
    "inbox": "Nothing waits for your answer.",
    "history": "Nothing was asked since then.",
    "unreviewed": "No emergency waits for a review.",
}
#: How far the history goes back unless somebody says.
_RECENT: Final = "7d"
_RID: Final = re.compile(r"req_[0-9A-Za-z]{1,64}")
_COLOURS: Final = {RequestState.APPROVED: "green", RequestState.PENDING: "yellow", RequestState.DENIED: "red"}


@click.command()
@click.argument("target")
@click.option("--for", "length", metavar="TIME", default="", help="Ask for that long, as 30m or 1h; without it, for one session.")
@click.option("--reason", metavar="TEXT", default="", help="Why. Whoever decides reads it.")
@click.option("--login", "-l", metavar="NAME", default="", help="Account on the target. Default: the target's own default.")
@click.option("--emergency", is_flag=True, help="Go first and be reviewed afterwards, where policy permits it. Needs --reason.")
@click.option("--wait/--no-wait", default=True, help="Wait for the answer (the default), or only ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def request(target: str, length: str, reason: str, login: str, emergency: bool, wait: bool, as_json: bool) -> None:
    """Ask others for access to a target, before you need it.

    Sessions that are opened under a grant end with it. Ctrl-C while it waits withdraws the request.

    \b
    Examples:
      sallyport request prod-db --for 1h --reason "INC-4711: slow orders"
      sallyport request prod-db --for 30m --reason "the shop is down" --emergency
      sallyport request prod-db --no-wait --json | jq -r .link
    """
    saved = Home.find().login()
    asked = AccessAsk(target=target, login=login, reason=reason, for_s=_seconds(length), emergency=emergency)
    standing = asking.ask(saved, asked)
    if wait:
        granted = asking.waited(saved, standing)
        standing = RequestStanding(request=granted, link=standing.link)
    if as_json:
        say_json(standing)
    elif wait:
        words = f"until {until(standing.request.until_ms, now_ms())}" if standing.request.until_ms else ""
        say(f"{paint('granted', 'green')} {clean(target)} {words} ({standing.request.rid})")
    else:
        say(f"{standing.request.rid}  {clean(standing.link)}")


@click.command()
@click.option("--mine", "view", flag_value="mine", help="Your own that are not over.")
@click.option("--inbox", "view", flag_value="inbox", default="inbox", help="Those that wait for your answer (the default).")
@click.option("--history", "view", flag_value="history", help="Everything that was asked, as far as you may see it.")
@click.option("--unreviewed", "view", flag_value="unreviewed", help="Emergencies that nobody has reviewed yet.")
@click.option("--since", metavar="TIME", help="With --history: 45m, 2h, 3d, or a local date. Default: the last seven days.")
@click.option("--days", metavar="N", type=click.IntRange(1, 400), help="With --history: the last N days.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=100, help="With --history: at most so many (100).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def requests(
    view: Literal["mine", "inbox", "history", "unreviewed"], since: str | None, days: int | None, limit: int, as_json: bool
) -> None:
    """List approval requests: what waits for your answer, your own, the history, or emergencies that nobody has reviewed.

    \b
    Examples:
      sallyport requests
      sallyport requests --mine
      sallyport requests --history --since 2h
      sallyport requests --history --days 30 --json | jq '.requests[] | select(.state == "denied")'
    """
    if since and days:
        raise click.UsageError("--since and --days exclude each other.")
    if (since or days) and view != "history":
        raise click.UsageError("--since and --days go with --history.")
    start = parse_since(since or f"{days}d" if since or days else _RECENT, now_ms())
    plane = _plane()
    with Progress("Asking for requests"):
        if view == "history":
            found = list(history(plane, list(days_back(now_ms(), start)), start, limit))
            page = RequestPage(requests=found)
        else:
            page = plane.get("/requests", RequestPage, {"view": view})
    if as_json:
        say_json(page)
        return
    if not page.requests:
        note(_NOTHING[view])
        return
    columns = [Column("REQUEST"), Column("STATE"), Column("WHO"), Column("TARGET"), Column("WHAT", flexible=True)]
    columns += [Column("REASON", flexible=True), Column("LEFT")]
    for line in table(columns, [_row(each) for each in page.requests]):
        say(line)


@click.command()
@click.argument("rid", metavar="ID")
@click.option("--reason", "comment", metavar="TEXT", default="", help="A word to whoever asked; it is recorded.")
@click.option("--yes", is_flag=True, help="Do not ask; for scripts. What is agreed to is what the request holds at that moment.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def approve(rid: str, comment: str, yes: bool, as_json: bool) -> None:
    """Agree to one request. Shows exactly what would be agreed to, and asks.

    \b
    Examples:
      sallyport approve req_01JD8QZ6T3N0V9C4K2M7X5B1HR
      sallyport approve req_01JD8QZ6T3N0V9C4K2M7X5B1HR --yes --json
    """
    _vote(rid, True, comment, yes, as_json)


@click.command()
@click.argument("rid", metavar="ID")
@click.option("--reason", "comment", metavar="TEXT", required=True, help="Why not. Whoever asked reads it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def deny(rid: str, comment: str, as_json: bool) -> None:
    """Refuse one request. The first no ends it.

    \b
    Examples:
      sallyport deny req_01JD8QZ6T3N0V9C4K2M7X5B1HR --reason "not during the release"
    """
    _vote(rid, False, comment, True, as_json)


@click.command()
@click.argument("rid", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def withdraw(rid: str, as_json: bool) -> None:
    """Take back a request of yours that nobody has decided yet.

    \b
    Examples:
      sallyport withdraw req_01JD8QZ6T3N0V9C4K2M7X5B1HR
    """
    plane = _plane()
    standing = plane.post(f"/requests/{_checked(rid)}/withdraw", RequestStanding, RequestEnd())
    _said(standing, as_json)


@click.command()
@click.argument("rid", metavar="ID")
@click.option("--reason", "comment", metavar="TEXT", default="", help="Why; it is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke(rid: str, comment: str, as_json: bool) -> None:
    """Take an approval back that still holds. Sessions that were opened under it end now.

    Whoever asked may give it back; those who could have answered it, and administrators, may take it back.

    \b
    Examples:
      sallyport revoke req_01JD8QZ6T3N0V9C4K2M7X5B1HR
      sallyport revoke req_01JD8QZ6T3N0V9C4K2M7X5B1HR --reason "the incident is over" --json
    """
    plane = _plane()
    _said(plane.post(f"/requests/{_checked(rid)}/revoke", RequestStanding, RequestEnd(comment=comment)), as_json)


@click.command()
@click.argument("rid", metavar="ID")
@click.option("--justified/--unjustified", "justified", default=None, help="What you found. One of them is needed.")
@click.option("--reason", "comment", metavar="TEXT", required=True, help="A note; it stays with the emergency.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def review(rid: str, justified: bool | None, comment: str, as_json: bool) -> None:
    """Say of an emergency, afterwards, whether it was one.

    By somebody who could have answered it, and never by whoever asked. Look at what was done first: its sessions are
    in `sallyport requests --unreviewed --json`, and `sallyport replay` plays them.

    \b
    Examples:
      sallyport requests --unreviewed
      sallyport review req_01JD8QZ6T3N0V9C4K2M7X5B1HR --justified --reason "INC-4711, the shop was down"
      sallyport review req_01JD8QZ6T3N0V9C4K2M7X5B1HR --unjustified --reason "the runbook needed no access"
    """
    if justified is None:
        raise click.UsageError("Say --justified or --unjustified.")
    plane = _plane()
    given = ReviewGiven(justified=justified, comment=comment)
    standing = plane.post(f"/requests/{_checked(rid)}/review", RequestStanding, given)
    if as_json:
        say_json(standing)
        return
    found = paint("justified", "green") if justified else paint("not justified", "red")
    say(f"{standing.request.rid} is reviewed: {found}")


def _vote(rid: str, agree: bool, comment: str, yes: bool, as_json: bool) -> None:
    import sys

    plane = _plane()
    standing = plane.get(f"/requests/{_checked(rid)}", RequestStanding)
    request = standing.request
    if not yes:
        if not is_terminal(sys.stdin):
            raise Fault("bad_request", "There is nobody to ask: standard input is not a terminal.", hint="For scripts: --yes")
        for line in _shown(request):
            note(line)
        if not click.confirm("Agree?", err=True):
            raise click.Abort
    ballot = Ballot(approve=agree, digest=request.digest, comment=comment)
    _said(plane.post(f"/requests/{request.rid}/votes", RequestStanding, ballot), as_json)


def _plane() -> ControlPlane:
    saved = Home.find().login()
    return ControlPlane(saved.url, saved.token)


def _said(standing: RequestStanding, as_json: bool) -> None:
    if as_json:
        say_json(standing)
        return
    request = standing.request
    missing = f"; still waits for {', '.join(map(clean, standing.missing))}" if standing.missing else ""
    say(f"{request.rid} is {paint(str(request.state), _COLOURS.get(request.state, ''))}{missing}")


def _shown(request: ApprovalRequest) -> list[str]:
    """Return every fact that is agreed to; the operation whole, line by line, with nothing that a terminal would obey."""
    left = until(request.deadline_ms, now_ms())
    lines = facts(
        [
            ("Who", f"{request.principal} ({', '.join(request.groups)})"),
            *([("What", request.matter)] if request.matter else []),
            ("Where", f"{request.target} as {request.login} ({request.protocol})"),
            ("Why", request.reason or "no reason given"),
            ("Asked by rule", f"{', '.join(request.rules)} (policy version {request.policy_version})"),
            *_read(request),
            ("For", duration(request.for_s * 1000) if request.for_s else f"{request.uses} use(s)"),
            ("Answer until", left),
            *([("Done before", _precedent(request.before))] if request.before else []),
            ("Digest", request.digest),
        ]
    )
    lines += [f"{paint('!', 'red')} {clean(risk)}" for risk in request.risks]
    operation = request.operation
    if operation is not None:
        lines += [f"{operation.kind}, {', '.join(sorted(operation.effects))}:"]
        # Cut nowhere: what is not shown is not agreed to.
        lines += [f"  | {line}" for line in clean_lines(operation.text, 1 << 20)]
        if not reads_as_it_is(operation.text):
            lines += [f"  {paint('It holds characters that a terminal cannot show; as JSON:', 'red')}"]
            lines += [f"  {json.dumps(operation.text)}"]
        lines += [f"  ${number} = {_value(value)}" for number, value in enumerate(operation.arguments, 1)]
        lines += [f"  {clean(name)}={_value(value)}" for name, value in operation.environment]
    return lines


def _value(text: str) -> str:
    """Return one line of data; as JSON where it would look like something else."""
    return clean(text, 1 << 20) if "\n" not in text and reads_as_it_is(text) else json.dumps(text)


def _read(request: ApprovalRequest) -> list[tuple[str, str]]:
    """What policy read out of the operation."""
    run = request.operation
    parts = (("Verbs", run.verbs), ("Objects", run.objects), ("Flags", run.flags)) if run else ()
    return [(name, ", ".join(sorted(found))) for name, found in parts]


def _precedent(before: Precedent) -> str:
    times = "once" if before.times == 1 else f"{before.times} times"
    return f"{times} with an approval since {clock(before.first_ms)}, last {clock(before.last_ms)} (the same verbs here)"


def _row(each: ApprovalRequest) -> list[Cell]:
    what = f"access for {duration(each.for_s * 1000)}" if each.for_s else "a session"
    what = each.operation.text if each.operation else each.matter or what
    left = until(each.deadline_ms, now_ms()) if each.state is RequestState.PENDING else clock(each.decided_ms)
    state = Cell(str(each.state), _COLOURS.get(each.state, "dim"))
    return [Cell(each.rid), state, Cell(each.principal), Cell(each.target), Cell(what), Cell(each.reason), Cell(left, "dim")]


def _checked(rid: str) -> str:
    if not _RID.fullmatch(rid):
        raise Fault("unknown_request", "That is not the identifier of a request.", hint="Run: sallyport requests")
    return rid


def _seconds(text: str) -> int:
    if not text:
        return 0
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise Fault("bad_request", f"--for does not understand {clean(text)!r}.", hint="Examples: 30m, 1h")
    return int(match[1]) * _SECONDS[match[2]]
