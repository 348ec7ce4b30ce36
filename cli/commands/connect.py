"""``connect``: open a session and carry its bytes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from chalicelib.contracts.faults import Fault
from cli.plain import clean
from cli.screen import is_terminal

if TYPE_CHECKING:
    from chalicelib.contracts.api import TargetView
    from cli.home import Home


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
def connect(
    target: str,
    arguments: tuple[str, ...],
    login: str,
    reason: str,
    port: int | None,
    as_json: bool,
    stdio: bool,
    fdpass: bool,
    way: str | None,
) -> int:
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
    if as_json and (port is None or arguments):
        raise click.UsageError("--json goes with --port, and without a program.")
    if not (stdio or fdpass):
        return _run_client(home, target, list(arguments), login, reason, way or "", port, as_json)
    if arguments or port is not None:
        raise click.UsageError("--stdio and --fdpass take no further arguments.")
    from cli import handing, ways

    if fdpass and handing.can_receive(sys.stdout.fileno()):
        ways.hand_over(home, target, login, reason, way or "", sys.stdout.fileno())
    else:
        ways.carry(home, target, login, reason, way or "", sys.stdin.fileno(), sys.stdout.fileno())
    return 0


def _run_client(
    home: Home, name: str, arguments: list[str], login: str, reason: str, way: str, port: int | None, as_json: bool
) -> int:
    from cli.commands.targets import fetch_targets

    target = next((each for each in fetch_targets(home, reason) if each.name == name), None)
    if target is None:
        raise _no(home, name, login, reason)
    if login and login not in target.logins:
        raise Fault("unknown_login", f"{name} has no login {login} for you.", hint=f"It has: {', '.join(target.logins)}")
    if target.protocol == "postgres":
        return _run_postgres(home, target, arguments, login, reason, way, port, as_json)
    if port is not None:
        raise click.UsageError(f"--port is for PostgreSQL; {name} speaks {clean(target.protocol)}.")
    if target.protocol != "ssh":
        hint = f"Use it with: {target.hint.replace('{target}', name)}" if target.hint else ""
        raise Fault("not_supported", f"{name} speaks {target.protocol}, which has no client here.", hint=hint)
    return _run_ssh(home, target, arguments, login, reason, way)


def _no(home: Home, name: str, login: str, reason: str) -> Exception:
    """Ask for the session all the same: what policy refuses is refused in its own words, and on record."""
    from cli import ways
    from cli.control_plane import Refusal

    try:
        ways.offered(home, name, login, reason)
    except Refusal as refusal:
        return refusal
    return Fault("unknown_target", f"There is no target {name} that you may connect to.", hint="Run: sallyport ls")


def _run_postgres(
    home: Home,
    target: TargetView,
    arguments: list[str],
    login: str,
    reason: str,
    way: str,
    port: int | None,
    as_json: bool,
) -> int:
    from cli import postgres_client
    from cli.postgres_agent import Errand

    logins = [login, *(other for other in target.logins if other != login)] if login else target.logins
    errand = Errand(home, target.name, target.host_alias, logins, reason, way)
    if not arguments and port is not None:
        return postgres_client.listen(errand, port, as_json=as_json)
    if not arguments and not is_terminal(sys.stdin):
        hint = f"For a script: sallyport connect {target.name} -- psql -f FILE   For other programs: --port 0"
        raise Fault("bad_request", "There is nobody to type at psql: standard input is not a terminal.", hint=hint)
    if not arguments or arguments[0].startswith("-"):
        arguments = ["psql", *arguments]
    return postgres_client.run_program(errand, arguments, port)


def _run_ssh(home: Home, target: TargetView, arguments: list[str], login: str, reason: str, way: str) -> int:
    from cli.ssh_config import options, own_command

    chosen = options(target, home, own_command(), way=way) | ({"User": login} if login else {})
    words = ["ssh", *(word for key, value in chosen.items() for word in ("-o", f"{key}={value}")), target.name, *arguments]
    if reason:
        # It travels in the environment to the ProxyCommand: no shell has to quote it.
        os.environ["SALLYPORT_REASON"] = reason
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 - ssh takes over this process and its terminal
    except FileNotFoundError:
        raise Fault("not_found", "There is no ssh on this machine.", hint="Install the OpenSSH client.") from None
