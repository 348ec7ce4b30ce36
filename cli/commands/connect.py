"""``connect``: open a session and carry its bytes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from chalicelib.contracts.faults import Fault
from cli.plain import clean
from cli.screen import is_terminal

if TYPE_CHECKING:
    from chalicelib.contracts.api import TargetView
    from cli.home import Home


class _Asked(NamedTuple):
    """What was asked for on the command line."""

    target: str
    arguments: list[str]
    login: str
    reason: str
    way: str
    port: int | None
    as_json: bool
    stdio: bool
    fdpass: bool

    def check(self) -> None:
        """Raise UsageError for options that do not go together."""
        if self.as_json and (self.port is None or self.arguments):
            raise click.UsageError("--json goes with --port, and without a program.")
        if (self.stdio or self.fdpass) and (self.arguments or self.port is not None):
            raise click.UsageError("--stdio and --fdpass take no further arguments.")


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--login", "-l", metavar="NAME", default="", help="Account on the target. Default: the target's own default.")
@click.option("--reason", metavar="TEXT", default="", help="Why; policies may ask for one. Default: SALLYPORT_REASON.")
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    help="Listen on this port of this machine for any client; 0: one that is free. PostgreSQL only.",
)
@click.option("--json", "as_json", is_flag=True, help="With --port: print how to connect as one line of JSON.")
@click.option("--stdio", is_flag=True, help="Carry the session's bytes on standard input and output (ssh's ProxyCommand).")
@click.option("--fdpass", is_flag=True, help="Hand ssh a connected socket (ProxyUseFdpass); as --stdio where it cannot take one.")
@click.option(
    "--way",
    type=click.Choice(["direct", "relay"]),
    envvar="SALLYPORT_WAY",
    help="Use only this way to the agent. Default: direct, then relay.",
)
def connect(arguments: tuple[str, ...], reason: str, way: str | None, **more: Any) -> int:
    """Connect to a target.

    For a target that speaks ssh this runs your own ssh with the right options. What follows -- is passed on to it.

    For a PostgreSQL database it runs psql, or the program that follows --, which finds the database in its environment (PGHOST,
    PGUSER, …). With --port it waits for any client. Each connection of a client is a session of its own.

    \b
    Examples:
      sallyport connect prod-web
      sallyport connect prod-web --login deploy --reason "INC-4711: disk full"
      sallyport connect prod-web -- uptime
      sallyport connect prod-db
      sallyport connect prod-db -- psql -c 'select count(*) from orders'
      sallyport connect prod-db -- python report.py
      sallyport connect prod-db --port 0
    """
    from cli.home import Home

    home = Home.find()
    reason = reason or os.environ.get("SALLYPORT_REASON", "")
    asked = _Asked(arguments=list(arguments), reason=reason, way=way or "", **more)
    asked.check()
    if asked.stdio or asked.fdpass:
        _carry(home, asked)
        return 0
    target = _target(home, asked)
    if target.protocol == "postgres":
        return _run_postgres(home, target, asked)
    if asked.port is not None:
        raise click.UsageError(f"--port is for PostgreSQL; {target.name} speaks {clean(target.protocol)}.")
    if target.protocol == "ssh":
        return _run_ssh(home, target, asked)
    hint = f"Use it with: {target.hint.replace('{target}', target.name)}" if target.hint else ""
    raise Fault("not_supported", f"{target.name} speaks {target.protocol}, which has no client here.", hint=hint)


def _carry(home: Home, asked: _Asked) -> None:
    from cli import handing, ways

    if asked.fdpass and handing.can_receive(sys.stdout.fileno()):
        try:
            ways.hand_over(home, asked.target, asked.login, asked.reason, asked.way, sys.stdout.fileno())
        except Exception:
            handing.hang_up(sys.stdout.fileno())
            raise
    else:
        ways.carry(home, asked.target, asked.login, asked.reason, asked.way, sys.stdin.fileno(), sys.stdout.fileno())


def _target(home: Home, asked: _Asked) -> TargetView:
    from cli.commands.targets import fetch_targets

    target = next((each for each in fetch_targets(home, asked.reason) if each.name == asked.target), None)
    if target is None:
        raise _no(home, asked)
    if asked.login and asked.login not in target.logins:
        words = f"{target.name} has no login {asked.login} for you."
        raise Fault("unknown_login", words, hint=f"It has: {', '.join(target.logins)}")
    return target


def _no(home: Home, asked: _Asked) -> Exception:
    """Ask for the session all the same: what policy refuses is refused in its own words, and on record."""
    from cli import ways
    from cli.control_plane import Refusal

    try:
        ways.offered(home, asked.target, asked.login, asked.reason)
    except Refusal as refusal:
        return refusal
    return Fault("unknown_target", f"There is no target {asked.target} that you may connect to.", hint="Run: sallyport ls")


def _run_postgres(home: Home, target: TargetView, asked: _Asked) -> int:
    from cli import postgres_client
    from cli.postgres_agent import Errand

    logins = [asked.login, *(other for other in target.logins if other != asked.login)] if asked.login else target.logins
    errand = Errand(home, target.name, target.host_alias, logins, asked.reason, asked.way)
    words = asked.arguments
    if not words and asked.port is not None:
        return postgres_client.listen(errand, asked.port, as_json=asked.as_json)
    if not words and not is_terminal(sys.stdin):
        hint = f"For a script: sallyport connect {target.name} -- psql -f FILE   For other programs: --port 0"
        raise Fault("bad_request", "There is nobody to type at psql: standard input is not a terminal.", hint=hint)
    if not words or words[0].startswith("-"):
        words = ["psql", *words]
    return postgres_client.run_program(errand, words, asked.port)


def _run_ssh(home: Home, target: TargetView, asked: _Asked) -> int:
    from cli.ssh_config import options, own_command

    chosen = options(target, home, own_command(), way=asked.way) | ({"User": asked.login} if asked.login else {})
    words = ["ssh", *(word for key, value in chosen.items() for word in ("-o", f"{key}={value}")), target.name, *asked.arguments]
    if asked.reason:
        # It travels in the environment to the ProxyCommand: no shell has to quote it.
        os.environ["SALLYPORT_REASON"] = asked.reason
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 - ssh takes over this process and its terminal
    except FileNotFoundError:
        raise Fault("not_found", "There is no ssh on this machine.", hint="Install the OpenSSH client.") from None
