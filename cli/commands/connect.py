"""``connect``: open a session and carry its bytes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from chalicelib.contracts.faults import Fault

if TYPE_CHECKING:
    from cli.home import Home


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--login", "-l", metavar="NAME", default="", help="Account on the target. Default: the target's own default.")
@click.option("--reason", metavar="TEXT", default="", help="Why; policies may ask for one. Default: SALLYPORT_REASON.")
@click.option("--stdio", is_flag=True, help="Carry the session's bytes on standard input and output (ssh's ProxyCommand).")
@click.option("--fdpass", is_flag=True, help="Hand ssh a connected socket (ProxyUseFdpass); as --stdio where it cannot take one.")
@click.option(
    "--way",
    type=click.Choice(["direct", "relay"]),
    envvar="SALLYPORT_WAY",
    help="Use only this way to the agent. Default: direct, then relay.",
)
def connect(target: str, arguments: tuple[str, ...], login: str, reason: str, stdio: bool, fdpass: bool, way: str | None) -> None:
    """Connect to a target.

    For a target that speaks ssh this runs your own ssh with the right options. What follows -- is passed on to it.

    \b
    Examples:
      sallyport connect prod-web
      sallyport connect prod-web --login deploy --reason "INC-4711: disk full"
      sallyport connect prod-web -- uptime
      sallyport connect prod-web -- -L 8080:localhost:80
    """
    from cli.home import Home

    home = Home.find()
    reason = reason or os.environ.get("SALLYPORT_REASON", "")
    if not (stdio or fdpass):
        _run_client(home, target, list(arguments), login, reason, way or "")
        return
    if arguments:
        raise click.UsageError("--stdio and --fdpass take no further arguments.")
    from cli import handing, ways

    if fdpass and handing.can_receive(sys.stdout.fileno()):
        ways.hand_over(home, target, login, reason, way or "", sys.stdout.fileno())
    else:
        ways.carry(home, target, login, reason, way or "", sys.stdin.fileno(), sys.stdout.fileno())


def _run_client(home: Home, name: str, arguments: list[str], login: str, reason: str, way: str) -> None:
    from cli.commands.targets import fetch_targets
    from cli.ssh_config import options, own_command

    target = next((each for each in fetch_targets(home) if each.name == name), None)
    if target is None:
        raise Fault("unknown_target", f"There is no target {name} that you may connect to.", hint="Run: sallyport ls")
    if target.protocol != "ssh":
        hint = f"Use it with: {target.hint.replace('{target}', name)}" if target.hint else ""
        raise Fault("not_supported", f"{name} speaks {target.protocol}, which has no client here.", hint=hint)
    if login and login not in target.logins:
        raise Fault("unknown_login", f"{name} has no login {login} for you.", hint=f"It has: {', '.join(target.logins)}")
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
