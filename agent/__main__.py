"""The agent's command line: ``enrol`` once, then ``run``. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from agent.config import DEFAULT_FILE, DEFAULT_STATE, Settings, for_enrolment, load
from chalicelib.contracts.faults import Fault

if TYPE_CHECKING:
    from agent.runtime.salvage import Held

EXAMPLES = """
\b
Examples:
  sallyport-agent enrol --url https://sallyport.example.com/api --token-file /run/token
  sallyport-agent run
  sallyport-agent run --config ./agent.toml
  sallyport-agent status
  sallyport-agent unseal 7X5B1HR --into ./case-12
  sallyport-agent host-keys
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sallyport", message="sallyport-agent %(version)s", help="Show the version.")
def main() -> None:
    """The Sallyport agent: runs beside the machines that people reach through the gateway."""


@main.command(epilog="\b\nExample:\n  sallyport-agent enrol --url https://sallyport.example.com/api --token sae_...")
@click.option("--url", required=True, help="The control plane's API.")
@click.option("--token", default="", help="The one-time token; other users of this machine can see it here.")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False), help="Read the token from a file instead.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    envvar="SALLYPORT_AGENT_STATE",
    default=DEFAULT_STATE,
    show_default=True,
    help="Where keys and spool live.",
)
def enrol(url: str, token: str, token_file: Path | None, state: Path) -> None:
    """Give this agent its identity, with a one-time token."""
    with _Faults():
        if token_file is not None:
            try:
                token = token_file.read_text().strip()
            except OSError as error:
                raise Fault("bad_request", f"{token_file}: {error.strerror}.") from None
        if not token:
            raise Fault("bad_request", "An enrolment needs a token.", hint="Make one with: sallyport agent-token NAME")
        settings = for_enrolment(url, state)
        _telemetry()
        from agent.bootstrap import enrol as enrol_agent

        name = _run(lambda: enrol_agent(settings.url, token, settings.state))
        click.echo(f"Enrolled as {name}. Start it with: sallyport-agent run")


@main.command(epilog="\b\nExample:\n  sallyport-agent run --config /etc/sallyport-agent/agent.toml")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Settings; {DEFAULT_FILE} unless told.")
def run(config: Path | None) -> None:
    """Serve sessions until SIGTERM or SIGINT, then drain and end."""
    with _Faults():
        settings = load(config)
        _telemetry()
        _run(lambda: _serve(settings))


@main.command(epilog="\b\nExample:\n  sallyport-agent status", short_help="Say who this agent is, and what waits to be uploaded.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Settings; {DEFAULT_FILE} unless told.")
def status(config: Path | None) -> None:
    """Say who this agent is, whether it runs, and what waits to be uploaded."""
    with _Faults():
        settings = load(config)
        from agent.bootstrap import is_running, limits
        from agent.runtime.identity import load as load_identity
        from agent.runtime.room import MEGABYTE, Level, level, measure
        from agent.runtime.salvage import REFUSED, held
        from agent.runtime.spool import SPOOL

        enrolled, _ = load_identity(settings.state)
        kept = held(settings.state)
        waiting, refused = ([each for each in kept if each.place == place] for place in (SPOOL, REFUSED))
        click.echo(f"agent       {enrolled.name} ({enrolled.agent_id})")
        click.echo(f"gateway     {settings.url or enrolled.url}")
        click.echo(f"running     {'yes' if is_running(settings.state) else 'no'}")
        click.echo(f"in spool    {len(waiting)} sessions")
        if refused:
            click.echo(f"refused     {len(refused)} recordings that the control plane did not take; see: sallyport-agent unseal")
        found = measure(settings.state)
        quota = f" of {settings.spool_quota_mb} MB" if settings.spool_quota_mb else ""
        click.echo(f"spool       {found.spooled // MEGABYTE} MB{quota}")
        click.echo(f"disk free   {found.free // MEGABYTE} MB, {settings.min_free_mb} MB are the least")
        if level(found, limits(settings)) is not Level.ROOMY:
            click.echo("room        none: the agent takes no new sessions until the disk is freed or the spool is uploaded")


@main.command(
    epilog="\b\nExamples:\n  sallyport-agent unseal\n  sallyport-agent unseal 7X5B1HR --into ./case-12",
    short_help="List and open recordings that are still here.",
)
@click.argument("sid", metavar="[SESSION]", default="")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Where to write; a folder for each recording.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Settings; {DEFAULT_FILE} unless told.")
def unseal(sid: str, into: Path | None, config: Path | None) -> None:
    """Open recordings that wait here or that the control plane refused; without SESSION, list them.

    Chunks are written as they would have been stored, and lines that are in no chunk yet beside them. Nothing is changed where it
    came from. SESSION is an identifier, or an end of one that is unambiguous.
    """
    with _Faults():
        settings = load(config)
        from agent.runtime.identity import load as load_identity
        from agent.runtime.salvage import find, held

        _, keys = load_identity(settings.state)
        if not sid:
            for each in held(settings.state):
                click.echo(f"{each.sid}  {each.place:<8}{each.chunks:>6} chunks {each.size:>12,} bytes")
            return
        if into is None:
            raise Fault("bad_request", "Say where to write it.", hint="With --into DIRECTORY.")
        try:
            whole = [_unsealed(settings.state, each, keys.spool_secret, into) for each in find(settings.state, sid)]
        except OSError as error:
            raise Fault("conflict", f"{error.filename}: {error.strerror}.", hint="Use another --into.") from None
        if not all(whole):
            raise Fault("recording_failed", "A part could not be opened.", hint="It was damaged, or sealed by another agent.")


@main.command(
    epilog="\b\nExample:\n  sallyport-agent witness --start-again", short_help="Say what this agent remembers of the audit log."
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Settings; {DEFAULT_FILE} unless told.")
@click.option("--start-again", is_flag=True, help="Forget what was seen, and the alarm. What was remembered stays on disk.")
def witness(config: Path | None, start_again: bool) -> None:
    """Say what this agent remembers of the audit log, and what contradicts it."""
    with _Faults():
        settings = load(config)
        from agent.bootstrap import locked
        from agent.runtime import witness as witnesses
        from chalicelib.contracts.translog.checkpoints import parse

        if start_again:
            with locked(settings.state):
                kept = witnesses.start_again(settings.state)
            click.echo(f"Forgotten; kept in {kept}" if kept else "There was nothing to forget.")
            return
        memory = witnesses.remembered(settings.state)
        if memory.checkpoint:
            stated, _ = parse(memory.checkpoint.encode())
            click.echo(f"log         {stated.origin}")
            click.echo(f"verified    {stated.size} entries, root {stated.root.hex()}")
        click.echo(f"cosigned    {memory.cosigned} entries")
        click.echo(f"owed        {len(memory.owed)} sessions")
        if memory.alarm is not None:
            click.echo(f"alarm       {memory.alarm.kind}: {memory.alarm.message}")
            click.echo(f"evidence    {settings.state / 'witness-alarms'}")


@main.command(
    epilog="\b\nExamples:\n  sallyport-agent host-keys\n  sallyport-agent host-keys --forget lab-7",
    short_help="List or forget host keys that came first.",
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Settings; {DEFAULT_FILE} unless told.")
@click.option("--forget", metavar="TARGET", default="", help="Forget this target's key: the next to answer may be its first.")
def host_keys(config: Path | None, forget: str) -> None:
    """List the host keys that were trusted because they came first, or forget one. The agent may run meanwhile.

    Every key is shown as gateway.yaml wants it in host_keys. Forget one only where you know why the machine has another.
    """
    with _Faults():
        settings = load(config)
        from agent.runtime.host_keys import HostKeys
        from agent.runtime.identity import running_as_owner

        if not running_as_owner(settings.state):
            message = f"{settings.state} belongs to another user."
            raise Fault("config_invalid", message, hint="Run this as the user that runs the agent.")
        learned = HostKeys(settings.state)
        if forget:
            gone = learned.forget(forget)
            if gone is None:
                raise Fault("not_found", f"No host key of {forget} was learned.")
            click.echo(f"Forgotten: {gone.target} at {gone.address}, {gone.kind} {gone.fingerprint}")
            return
        for each in learned.all():
            when = datetime.fromtimestamp(each.time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            click.echo(f"{each.target} at {each.address}, {each.fingerprint}, {when} by {each.principal} in {each.sid}")
            click.echo(f"  {each.key}")


def _unsealed(state: Path, what: Held, secret: bytes, into: Path) -> bool:
    """Open one recording and say what came of it; tell whether all of it could be. Raises OSError."""
    from agent.bootstrap import locked
    from agent.runtime.leftovers import read_log
    from agent.runtime.salvage import unseal as unseal_held
    from agent.runtime.spool import LOG, SPOOL
    from agent.runtime.spool_keys import SpoolKeys

    keys, logged = SpoolKeys(secret), None
    if what.place == SPOOL and (state / SPOOL / LOG).is_dir():
        try:
            with locked(state):
                logged = read_log(state / SPOOL / LOG, keys).sessions.get(what.sid)
        except Fault:
            click.echo("The agent is running: lines that are in no chunk yet are left to it.", err=True)
    opened = unseal_held(what, keys, into, logged)
    click.echo(f"{opened.place}: {opened.chunks} chunks, and {opened.lines} lines that are in no chunk yet")
    for words in opened.unreadable:
        click.echo(f"not opened: {words}", err=True)
    return not opened.unreadable


async def _serve(settings: Settings) -> None:
    import signal

    from agent.bootstrap import run as run_agent

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_agent(settings, stop)


def _run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    try:
        import uvloop
    except ImportError:  # not made for every platform; asyncio's own loop is slower and as right
        return asyncio.run(work())
    return uvloop.run(work())


def _telemetry() -> None:
    from agent.telemetry import configure

    configure()


class _Faults:
    """Turns a fault into one message and an exit status."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        if isinstance(error, Fault):
            _fail(error)
        if isinstance(error, (PermissionError, FileNotFoundError, NotADirectoryError)) and error.filename:
            hint = "The user who runs the agent must be able to write its state; --state names another place when it enrols."
            _fail(Fault("conflict", f"{error.filename}: {error.strerror}.", hint=hint))


def _fail(fault: Fault) -> NoReturn:
    click.echo(f"sallyport-agent: {fault.message}" + (f"\n  {fault.hint}" if fault.hint else ""), err=True)
    sys.exit(fault.kind.exit)


if __name__ == "__main__":
    main()
