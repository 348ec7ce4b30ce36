"""``ls`` and ``ssh-config``."""

from __future__ import annotations

import click

from chalicelib.contracts import api
from cli import ssh_config as config
from cli.control_plane import ControlPlane
from cli.home import Home
from cli.plain import clean
from cli.progress import Progress
from cli.screen import Cell, Column, note, say, say_json, table, warn


def fetch_targets(home: Home, reason: str = "") -> list[api.TargetView]:
    """Return the targets that the person may connect to for ``reason``."""
    saved = home.login()
    query = {"reason": reason} if reason else None
    with Progress("Asking for your targets"):
        return ControlPlane(saved.url, saved.token).get("/targets", api.TargetList, query).targets


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List the targets that you may connect to.

    \b
    Examples:
      sallyport ls
      sallyport ls --json | jq -r '.targets[].name'
    """
    targets = fetch_targets(Home.find())
    if as_json:
        say_json(api.TargetList(targets=targets))
        return
    if not targets:
        note("No policy lets you connect to any target. Ask the platform team, or see: sallyport whoami")
        return
    columns = [
        Column("NAME"),
        Column("PROTOCOL"),
        Column("STATE"),
        Column("LOGINS", flexible=True),
        Column("TAGS", flexible=True),
        Column("HOW TO USE"),
        Column("DESCRIPTION", flexible=True),
    ]
    for line in table(columns, [_row(target) for target in sorted(targets, key=lambda target: target.name)]):
        say(line)


def _row(target: api.TargetView) -> list[Cell]:
    return [
        Cell(target.name, "bold"),
        Cell(target.protocol),
        Cell("online", "green") if target.online else Cell("offline", "red"),
        Cell(", ".join(target.logins)),
        Cell(", ".join(target.tags)),
        Cell(target.hint.replace("{target}", target.name), "cyan"),
        Cell(target.description, "dim"),
    ]


@click.command("ssh-config")
@click.option("--write", "do_write", is_flag=True, help="Put it into ~/.ssh/sallyport.conf and include that from ~/.ssh/config.")
@click.option("--print", "do_print", is_flag=True, help="Print it (the default).")
def ssh_config(do_write: bool, do_print: bool) -> None:
    """Make plain ssh, scp, sftp and rsync work with your targets.

    Writes one Host block for every target that speaks ssh. Run it again when your targets change.

    \b
    Examples:
      sallyport ssh-config --write && ssh prod-web
      sallyport ssh-config --print
    """
    if do_write and do_print:
        raise click.UsageError("--write and --print exclude each other.")
    home = Home.find()
    text = config.render(fetch_targets(home), home, config.own_command())
    if not do_write:
        print(text, end="")
        return
    written = config.write(text, config.ssh_folder())
    names = ", ".join(written.hosts) or "no target that speaks ssh"
    say(f"Wrote {written.file}: {clean(names)}")
    say(f"{'Added' if written.included else 'Found'} its Include line at the top of {written.file.parent / 'config'}")
    if written.shadowed:
        warn(f"your own configuration also has: {clean(', '.join(written.shadowed))}. The gateway's block comes first and wins.")
    if written.hosts:
        say(f"Try: ssh {written.hosts[0]}")
