"""``plan`` and ``apply``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from chalicelib.contracts import api
from cli.config_files import read_folder
from cli.control_plane import ControlPlane, Refusal
from cli.home import Home
from cli.plain import clean, counted, width
from cli.progress import Progress
from cli.screen import is_terminal, note, paint, say, say_json

#: Exit status of a question that was answered with no: the same as for Ctrl-C.
EXIT_UNDONE: Final = 130

_STYLES = {"+": "green", "-": "red", "~": "yellow"}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(folder: Path, as_json: bool) -> None:
    """Show what applying DIR would change, without changing it.

    DIR holds gateway.yaml and the *.cedar files beside it. Problems are shown as file:line: message, with exit status 6;
    with --json, as JSON with a list of problems.

    \b
    Examples:
      sallyport plan gateway/
      sallyport plan gateway/ --json
    """
    files = read_folder(folder)
    planned = _send(_plane(), "plan", api.ConfigFiles(files=files), as_json=as_json)
    if as_json:
        say_json(planned)
        return
    _show(planned, f"Plan against version {planned.version}:")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
def apply(folder: Path, yes: bool, as_json: bool) -> int:
    """Put DIR in force, after showing what changes.

    Refused if somebody else has applied since the plan was shown.

    \b
    Examples:
      sallyport apply gateway/
      sallyport apply gateway/ --yes
    """
    if not yes and (as_json or not is_terminal(sys.stdin)):
        raise click.UsageError("Nobody can be asked here; add --yes.")
    files = read_folder(folder)
    plane = _plane()
    planned = _send(plane, "plan", api.ConfigFiles(files=files), as_json=as_json)
    if not as_json:
        _show(planned, f"Changes to version {planned.version}:")
    if not planned.changes:
        if as_json:
            say_json(planned)
        return 0
    if not yes and not click.confirm(f"Apply {counted(len(planned.changes), 'change')}?", err=True):
        note("Nothing was applied.")
        return EXIT_UNDONE
    done = _send(plane, "apply", api.ConfigFiles(files=files, expected_version=planned.version), as_json=as_json)
    if as_json:
        say_json(done)
    else:
        say(f"{paint('Applied:', 'green')} version {done.version} is in force.")
    return 0


def _plane() -> ControlPlane:
    saved = Home.find().login()
    return ControlPlane(saved.url, saved.token)


def _send(plane: ControlPlane, verb: str, files: api.ConfigFiles, *, as_json: bool) -> api.ConfigPlan:
    try:
        with Progress("Checking the configuration"):
            return plane.post(f"/config/{verb}", api.ConfigPlan, files)
    except Refusal as refusal:
        if as_json and refusal.problems:
            say_json(api.Failure(refusal.notice, refusal.problems))
        else:
            for problem in refusal.problems:
                print(_problem(problem), file=sys.stderr)
        raise


def _show(planned: api.ConfigPlan, heading: str) -> None:
    for warning in planned.warnings:
        print(f"{paint('warning:', 'yellow', stream=sys.stderr)} {_problem(warning)}", file=sys.stderr)
    if not planned.changes:
        say(f"Nothing to change; version {planned.version} is in force.")
        return
    say(heading)
    longest = max(width(clean(change.what)) for change in planned.changes)
    for change in planned.changes:
        space = " " * (longest - width(clean(change.what)))
        detail = f"{space}  {paint(clean(change.detail), 'dim')}" if change.detail else ""
        say(f"  {paint(f'{change.sign} {clean(change.what)}', _STYLES[change.sign])}{detail}")
    signs = [change.sign for change in planned.changes]
    say(f"{signs.count('+')} added, {signs.count('~')} changed, {signs.count('-')} removed.")


def _problem(problem: api.Problem) -> str:
    # The form that editors and CI systems turn into a link.
    place = f"{clean(problem.file)}:{problem.line}" if problem.line else clean(problem.file)
    return f"{place}: {clean(problem.message)}"
