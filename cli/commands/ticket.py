"""``ticket``: open a session for a client that connects to the agent by itself, and print what to paste into it."""

from __future__ import annotations

import os
import shlex
from typing import Final
from urllib.parse import quote

import click
import msgspec

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.agent_root import fetch_root
from cli.commands.targets import fetch_targets
from cli.control_plane import ControlPlane
from cli.home import Home, SavedLogin
from cli.moments import now_ms, until
from cli.plain import clean
from cli.progress import Progress
from cli.screen import facts, note, say

#: Protocols whose clients can give a ticket as their password.
_PASSWORD: Final = frozenset({"postgres"})

_KNOWN: Final = (
    "The root is this agent's alone, so verify-ca checks that it is the agent. Another machine needs the file as well."
)
_OPERATORS: Final = (
    "The agent has a certificate of your company's: sslmode=verify-full with its authority's file checks who answers."
)
_UNKNOWN: Final = "The agent could not be asked from here how to know it: sslmode=require encrypts, and trusts whoever answers."


class Ticket(msgspec.Struct, kw_only=True, frozen=True):
    """What a client needs: it is good for one connection, until ``expires_ms`` (Unix milliseconds)."""

    sid: str
    target: str
    host: str
    port: int
    user: str
    password: str
    expires_ms: int
    sslmode: str = "require"
    sslrootcert: str = ""
    """A file on this machine with the root of the agent's certificate; empty where the agent is not known by one."""

    @property
    def dsn(self) -> str:
        """A connection URI (PostgreSQL documentation, §34.1.1.2)."""
        return self._uri(f"{quote(self.user, '')}:{quote(self.password, '')}")

    @property
    def psql(self) -> str:
        """A line for a shell. The ticket stands in the environment, where ``ps`` does not show it."""
        return f"PGPASSWORD={shlex.quote(self.password)} psql {shlex.quote(self._uri(quote(self.user, '')))}"

    def _uri(self, login: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        root = f"&sslrootcert={quote(self.sslrootcert)}" if self.sslrootcert else ""
        return f"postgresql://{login}@{host}:{self.port}/{quote(self.target, '')}?sslmode={self.sslmode}{root}"


@click.command()
@click.argument("target")
@click.option("--login", "-l", metavar="NAME", default="", help="Account on the target. Default: the target's own default.")
@click.option("--reason", metavar="TEXT", default="", help="Why; policies may ask for one. Default: SALLYPORT_REASON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ticket(target: str, login: str, reason: str, as_json: bool) -> None:
    """Open a session and print its ticket, for a client that connects to the agent by itself.

    For PostgreSQL, where the agent can be reached from here without the relay. The ticket is the password: it opens one
    connection, within a minute, and whoever has it could be first. For programs on this machine, connect is the better way.

    \b
    Examples:
      sallyport ticket prod-db
      sallyport ticket prod-db --reason "INC-4711: slow orders" --json | jq -r .dsn
    """
    home = Home.find()
    saved = home.login()
    reason = reason or os.environ.get("SALLYPORT_REASON", "")
    speaks = {each.name: each.protocol for each in fetch_targets(home)}.get(target)
    if speaks is not None and speaks not in _PASSWORD:
        raise Fault("not_supported", f"{target} speaks {speaks}, whose clients cannot give a ticket as their password.")
    found, root = _open(home, saved, target, login, reason)
    if root:
        found = msgspec.structs.replace(found, sslmode="verify-ca", sslrootcert=str(home.keep_root(target, root)))
    if as_json:
        say(msgspec.json.encode({**msgspec.structs.asdict(found), "dsn": found.dsn, "psql": found.psql}).decode())
        return
    say(f"{clean(found.target)} as {clean(found.user)}: one connection, until {until(found.expires_ms, now_ms())}.")
    say()
    place = [("Host", found.host), ("Port", str(found.port)), ("Database", found.target), ("User", found.user)]
    place += [("Password", found.password)] + ([("Root", found.sslrootcert)] if root else [])
    for line in facts([*place, ("DSN", found.dsn), ("psql", found.psql)]):
        say(line)
    note(_KNOWN if root else _UNKNOWN if root is None else _OPERATORS)


def _open(home: Home, saved: SavedLogin, target: str, login: str, reason: str) -> tuple[Ticket, bytes | None]:
    """Return the ticket, and the root of the agent's certificate as :func:`fetch_root` has it."""
    with Progress(f"Opening a session to {target}"):
        body = api.SessionOpen(target=target, login=login, reason=reason)
        offer = ControlPlane(saved.url, saved.token).post("/sessions", api.SessionOffer, body)
    direct = next((way.address for way in offer.ways if way.kind == "direct"), "")
    host, _, port = direct.rpartition(":")
    if not port.isascii() or not port.isdigit():
        hint = f"Through the relay: sallyport connect {target}"
        raise Fault("agent_offline", f"The agent of {target} has no listener for native clients.", hint=hint)
    found = Ticket(
        sid=offer.sid,
        target=target,
        host=host.strip("[]"),
        port=int(port),
        user=saved.principal,
        password=offer.ticket,
        expires_ms=offer.expires_ms,
    )
    return found, fetch_root(home, direct, offer.sid, offer.host_alias)
