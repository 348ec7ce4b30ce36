"""``replay``: verify a recording, then show it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.cast import CastReader, TranscriptReader
from cli.control_plane import ControlPlane
from cli.evidence import Evidence, gather
from cli.home import Home
from cli.moments import clock, duration, now_ms
from cli.plain import clean, counted
from cli.player import Pace, Player, as_text, silent_keys
from cli.progress import Progress
from cli.screen import Cell, Column, coloured, is_terminal, note, paint, say, say_json, table, warn
from cli.session_search import resolve
from cli.transcript_lines import lines as transcript_lines


@click.command()
@click.argument("sid", metavar="SESSION")
@click.option(
    "--speed",
    metavar="TIMES",
    type=click.FloatRange(0.01, 10_000),
    default=1.0,
    show_default=True,
    help="How many times faster than it was.",
)
@click.option(
    "--idle-limit",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Longest pause; 0: as it was.",
)
@click.option(
    "--channel", metavar="NUMBER", type=click.IntRange(0, 9999), help="Only this channel; --list shows which there are."
)
@click.option("--list", "do_list", is_flag=True, help="List the channels instead of playing them.")
@click.option("--to", "file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Store the channel as it is.")
@click.option("--text", is_flag=True, help="Print plain text without timing, as when output is piped.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print JSON.")
def replay(
    sid: str, speed: float, idle_limit: float, channel: int | None, do_list: bool, file: Path | None, text: bool, as_json: bool
) -> None:
    """Verify a session's recording and play it.

    Every chunk's hash and the chain through all of them are checked first; altered evidence is not shown (exit status 7).
    That you looked is recorded too. Ctrl-C stops. SESSION is an identifier, or an end of one that is unambiguous.

    \b
    Examples:
      sallyport replay 7X5B1HR
      sallyport replay 7X5B1HR --speed 4 --idle-limit 1
      sallyport replay 7X5B1HR --list
      sallyport replay 7X5B1HR --text | grep rm
      sallyport replay 7X5B1HR --channel 1 --to session.cast     (or .jsonl: its commands)
    """
    if as_json and not do_list:
        raise click.UsageError("--json goes with --list.")
    with _fetch(sid) as evidence:
        kinds = _chosen(evidence, channel)
        if do_list:
            _list(evidence, kinds, as_json)
        elif file is not None:
            _store(evidence, kinds, file)
        else:
            _show(evidence, kinds, Pace(speed=speed, idle_limit=idle_limit), text or not is_terminal(sys.stdout))


def _fetch(sid: str) -> Evidence:
    saved = Home.find().login()
    plane = ControlPlane(saved.url, saved.token)
    with Progress("Looking for the recording"):
        whole = resolve(plane, sid, now_ms())
    evidence = fetch(plane, whole)
    note(
        paint(
            f"Verified {counted(evidence.count, 'chunk')} of {whole}, chain head {evidence.head[:16]}…", "dim", stream=sys.stderr
        )
    )
    if evidence.missing:
        warn(f"The agent has registered {counted(evidence.missing, 'chunk')} more, but not delivered them yet.")
    return evidence


def fetch(plane: ControlPlane, sid: str) -> Evidence:
    """Download and verify the recording of session ``sid``. Raises Refusal; Fault like :func:`cli.evidence.gather`."""

    def page(first: int) -> api.RecordingLinks:
        return plane.get(f"/sessions/{sid}/recording", api.RecordingLinks, {"first": first} if first else None)

    with Progress("Looking for the recording"):
        links = page(0)
    if links.session.sid != sid:
        raise Fault("evidence_altered", f"The gateway sent the recording of another session: {links.session.sid}.")
    return gather(links, page)


def _chosen(evidence: Evidence, channel: int | None) -> list[str]:
    kinds = evidence.kinds()
    chosen = [kind for kind in kinds if channel is None or _number(kind) == channel]
    if not chosen:
        raise Fault(
            "not_found", f"There is no channel {channel}.", hint=f"There are: {', '.join(str(_number(kind)) for kind in kinds)}"
        )
    return chosen


def _number(kind: str) -> int:
    return int(kind.partition(".")[0].removeprefix("ch"))


def _is_cast(kind: str) -> bool:
    return kind.endswith(".cast")


def _list(evidence: Evidence, kinds: list[str], as_json: bool) -> None:
    rows = [_summary(evidence, kind) for kind in kinds]
    if as_json:
        say_json({"session": evidence.session.sid, "channels": rows})
        return
    columns = [
        Column("CHANNEL", right=True),
        Column("FORM"),
        Column("BEGAN"),
        Column("LENGTH", right=True),
        Column("EVENTS", right=True),
    ]
    columns += [Column("BYTES", right=True), Column("WHAT", flexible=True)]
    cells = [
        [
            Cell(str(row["channel"]), "bold"),
            Cell(row["form"]),
            Cell(clock(row["began_ms"]), "dim"),
            Cell(duration(row["length_ms"])),
            Cell(str(row["events"])),
            Cell(str(row["bytes"])),
            Cell(row["what"]),
        ]
        for row in rows
    ]
    for line in table(columns, cells):
        say(line)


def _summary(evidence: Evidence, kind: str) -> dict[str, Any]:
    events, length = 0, 0.0
    if _is_cast(kind):
        cast = CastReader(evidence.lines(kind))
        for event in cast.events():
            events += 1
            length += event.interval * 1000
        what = cast.heading.command or cast.heading.title
    else:
        transcript = TranscriptReader(evidence.lines(kind))
        for entry in transcript.entries():
            events += 1
            length = max(length, entry["t"] if isinstance(entry.get("t"), int) else 0)
        what = str(transcript.heading.get("command") or transcript.heading.get("protocol") or "")
    return {
        "channel": _number(kind),
        "form": "terminal" if _is_cast(kind) else "transcript",
        "began_ms": evidence.began_ms(kind),
        "length_ms": round(length),
        "events": events,
        "bytes": evidence.size(kind),
        "what": what,
    }


def _store(evidence: Evidence, kinds: list[str], file: Path) -> None:
    if len({_number(kind) for kind in kinds}) == 1 and len(kinds) > 1:
        # A terminal and the lines beside it: the file's name says which.
        kinds = [kind for kind in kinds if _is_cast(kind) != file.name.endswith(".jsonl")]
    if len(kinds) != 1:
        numbers = ", ".join(sorted({str(_number(kind)) for kind in kinds}, key=int))
        raise Fault("bad_request", f"The session has channels {numbers}; a file holds one.", hint="Add --channel NUMBER.")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Fault("conflict", f"{file} exists; evidence does not replace files.") from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.writelines(evidence.lines(kinds[0]))
    say(f"Wrote {file} ({kinds[0]}, as it was recorded and unfiltered).")


def _show(evidence: Evidence, kinds: list[str], pace: Pace, as_plain: bool) -> None:
    strange = 0
    for kind in kinds:
        if len(kinds) > 1:
            say(paint(f"── channel {_number(kind)} ──", "dim"))
        if not _is_cast(kind):
            transcript = TranscriptReader(evidence.lines(kind))
            for line in transcript_lines(transcript):
                say(line)
            strange += transcript.strange
            continue
        cast = CastReader(evidence.lines(kind))
        if as_plain:
            for line in as_text(cast.events()):
                say(line)
        else:
            _fits(evidence, kind)
            with silent_keys(sys.stdin):
                Player(sys.stdout, pace, colours=coloured(sys.stdout)).play(cast.events())
        strange += cast.strange
    if strange:
        warn(f"{counted(strange, 'recorded line')} not understood and left out; --to keeps everything.")


def _fits(evidence: Evidence, kind: str) -> None:
    cast = CastReader(evidence.lines(kind))
    next(iter(cast.events()), None)
    columns, rows = shutil.get_terminal_size()
    if cast.heading.term.cols > columns or cast.heading.term.rows > rows:
        size = f"{cast.heading.term.cols}x{cast.heading.term.rows}"
        note(f"Recorded on a terminal of {clean(size)}; yours is {columns}x{rows}, so full-screen programs may look torn.")
