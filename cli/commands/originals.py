"""``unmask`` and ``erase-originals``: what masking took out of recordings, for those to whom somebody else agrees."""

from __future__ import annotations

import base64
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from chalicelib.contracts.api_originals import EraseAsk, Erased, UnmaskAsk, Unmasked, UnmaskUse
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.approval import RequestState, refusal
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import is_month
from cli import asking, originals
from cli.commands.replay import fetch
from cli.control_plane import ControlPlane, Refusal
from cli.evidence import Evidence
from cli.home import Home, SavedLogin
from cli.moments import now_ms
from cli.plain import clean, counted
from cli.progress import Progress
from cli.screen import is_terminal, note, paint, say, say_json, warn
from cli.session_search import resolve

#: Seconds that the control plane may be away, and between two questions meanwhile.
AWAY_S: Final = 90.0
AGAIN_S: Final = 1.0
#: Refusals that time heals. Whoever gives up earlier has lost the yes, which is good for this one use.
_AGAIN: Final = frozenset({"log_behind", "control_plane_unreachable"})


@click.command()
@click.argument("sid", metavar="SESSION")
@click.option("--reason", metavar="TEXT", default="", help="Why. Whoever decides reads it, and it is kept.")
@click.option("--request", "rid", metavar="ID", default="", help="Use the yes to this request, which was asked for before.")
@click.option("--output", "file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON lines there.")
@click.option("--wait/--no-wait", default=True, help="Wait for the answer (the default), or only ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def unmask(sid: str, reason: str, rid: str, file: Path | None, wait: bool, as_json: bool) -> None:
    """Show what masking took out of a session's recording.

    Only where the target keeps sealed originals, policy lets you ask, and somebody else agrees. That you looked is in the
    transparency log before anything can be decrypted; a yes is good for one look. The lines are decrypted on this machine and
    kept nowhere unless you keep them. SESSION is an identifier, or an end of one that is unambiguous.

    \b
    Examples:
      sallyport unmask 7X5B1HR --reason "case 12: which card was charged"
      sallyport unmask 7X5B1HR --reason "case 12" --output case-12.jsonl
      sallyport unmask 7X5B1HR --reason "case 12" --no-wait
      sallyport unmask 7X5B1HR --request req_01JD8QZ6T3N0V9C4K2M7X5B1HR --json
    """
    if bool(reason) == bool(rid):
        raise click.UsageError("Say why with --reason, or which yes to use with --request.")
    if file is not None and file.exists():
        raise Fault("conflict", f"{file} exists; originals do not replace files.")
    saved = Home.find().login()
    plane = ControlPlane(saved.url, saved.token)
    with Progress("Looking for the recording"):
        whole = resolve(plane, sid, now_ms())
    with fetch(plane, whole) as evidence:
        content = base64.b64encode(originals.heading(evidence).content).decode()
        if not rid:
            standing = plane.post(f"/sessions/{whole}/unmask", RequestStanding, UnmaskAsk(reason=reason))
            if not _agreed(saved, standing, wait, as_json):
                return
            rid = standing.request.rid
        found = _released(plane, rid, content)
        if found.sid != whole:
            raise Fault("evidence_altered", f"The gateway gave the key of another session: {found.sid}.")
        _show(evidence, found, file, as_json)


@click.command(name="erase-originals")
@click.argument("target")
@click.argument("month", metavar="MONTH")
@click.option("--reason", metavar="TEXT", default="", help="Why. Whoever decides reads it, and it is kept.")
@click.option("--request", "rid", metavar="ID", default="", help="Use the yes to this request, which was asked for before.")
@click.option("--wait/--no-wait", default=True, help="Wait for the answer (the default), or only ask.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant; for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def erase_originals(target: str, month: str, reason: str, rid: str, wait: bool, yes: bool, as_json: bool) -> None:
    """Make what masking took out of a target's sessions of one month unreadable, for good.

    The key is deleted; what was sealed with it stays in the bucket, where every proof goes on to hold. Policy has to let you
    ask, and somebody else has to agree. MONTH reads like 2026-11 and is over.

    \b
    Examples:
      sallyport erase-originals prod-db 2026-08 --reason "retention of 90 days"
    """
    if bool(reason) == bool(rid):
        raise click.UsageError("Say why with --reason, or which yes to use with --request.")
    if not is_month(month):
        raise Fault("bad_request", f"{clean(month)} is no month.", hint="Example: 2026-08")
    if not yes:
        if not is_terminal(sys.stdin):
            raise Fault("bad_request", "There is nobody to ask: standard input is not a terminal.", hint="For scripts: --yes")
        click.confirm(f"Erase the originals of {clean(target)} of {clean(month)}, which nobody can undo?", abort=True, err=True)
    saved = Home.find().login()
    plane = ControlPlane(saved.url, saved.token)
    if not rid:
        standing = plane.post("/originals/erasures", RequestStanding, EraseAsk(target=target, month=month, reason=reason))
        if not _agreed(saved, standing, wait, as_json):
            return
        rid = standing.request.rid
    standing = plane.get(f"/requests/{rid}", RequestStanding)
    if (standing.request.target, standing.request.month) != (target, month):
        raise Fault("approval_mismatch", "That request is about something else.", hint=clean(standing.request.matter))
    erased = plane.post(f"/requests/{rid}/erase", Erased, {})
    if as_json:
        say_json(erased)
    else:
        say(f"{paint('erased', 'green')} {clean(erased.target)} {clean(erased.month)} (key {erased.key[:16]}…)")


def _agreed(saved: SavedLogin, standing: RequestStanding, wait: bool, as_json: bool) -> bool:
    """Wait for the yes, or say where it is asked for. Raises Fault for every no."""
    if not wait:
        if as_json:
            say_json(standing)
        else:
            say(f"{standing.request.rid}  {clean(standing.link)}")
        return False
    asking.tell(standing)
    granted = asking.waited(saved, standing)
    if granted.state is not RequestState.APPROVED:
        raise refusal(granted)
    return True


def _released(plane: ControlPlane, rid: str, content: str) -> Unmasked:
    """Return what opens the originals, as soon as the log holds that it was asked for; the gateway says when that is too late."""
    use = UnmaskUse(use=secrets.token_urlsafe(24), content=content)
    heard = time.monotonic()
    with Progress("Waiting for the transparency log"):
        while True:
            try:
                return plane.post(f"/requests/{rid}/unmask", Unmasked, use)
            except (Refusal, Fault) as no:
                now, code = time.monotonic(), no.notice.code
                if code not in _AGAIN or (code != "log_behind" and now >= heard + AWAY_S):
                    raise
                heard = now if code == "log_behind" else heard
            time.sleep(AGAIN_S)


def _show(evidence: Evidence, found: Unmasked, file: Path | None, as_json: bool) -> None:
    # Everything is opened before anything is shown: what was tampered with is not half of an answer.
    count = sum(1 for _ in originals.plain_lines(evidence, found))
    warn(f"{counted(count, 'line')} as before masking. The log says that you have seen them (entry {found.leaf}).")
    lines = originals.plain_lines(evidence, found)
    if file is not None:
        _store(file, lines)
        say(f"Wrote {file}, readable for you alone. Delete it once you are done.")
        return
    for line in lines:
        if as_json:
            sys.stdout.write(line.decode())
            continue
        for each in originals.shown(line):
            say(each)
    note("The gateway kept nothing of this; your terminal's scrollback may.")


def _store(file: Path, lines: Iterator[bytes]) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Fault("conflict", f"{file} exists; originals do not replace files.") from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.writelines(lines)
