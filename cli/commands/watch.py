"""``watch``: look on while somebody else's session goes on."""

from __future__ import annotations

import sys
import time
from typing import Final

import click

from chalicelib.contracts.api_live import WatchAsk, WatchOffer
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.watching import Over
from cli.control_plane import ControlPlane
from cli.home import Home, SavedTrust
from cli.moments import now_ms
from cli.plain import clean
from cli.player import silent_keys
from cli.progress import Progress
from cli.screen import is_terminal, note
from cli.session_search import resolve
from cli.spectator import Spectator

#: How often a way that was lost is looked for again, and the seconds before each time.
_AGAIN: Final = 5
_PAUSE_S: Final = 1.0
_LOST: Final = frozenset({"tunnel_lost", "tunnel_refused", "ticket_expired"})


@click.command()
@click.argument("sid", metavar="SESSION")
@click.option("--channel", metavar="NUMBER", type=click.IntRange(0, 9999), help="Only this channel.")
@click.option("--text", is_flag=True, help="Print plain text, as when output is piped.")
def watch(sid: str, channel: int | None, text: bool) -> int:
    """Watch a session while it goes on.

    You see what is recorded, masked as it is recorded: first how it looks now, then what happens. Whoever works
    there reads that you watch, and when you stop. You cannot type into it. Policy decides (action watch); that you
    watched is in the audit log. It ends with the session, with your login, or with a policy that does not let you
    any more. Ctrl-C leaves.

    \b
    Examples:
      sallyport watch 7X5B1HR
      sallyport watch 7X5B1HR --text | tee notes.txt
    """
    home = Home.find()
    saved, trust = home.login(), home.trust()
    if trust is None:
        raise Fault("login_required", "You are not logged in.", hint="Run: sallyport login")
    plane = ControlPlane(saved.url, saved.token)
    terminal = is_terminal(sys.stdout) and not text
    spectator = Spectator(sys.stdout, terminal=terminal, channel=channel)
    with Progress("Looking for the session"):
        whole = resolve(plane, sid, now_ms())
    try:
        with silent_keys(sys.stdin):
            over = _follow(plane, trust, whole, spectator)
    except KeyboardInterrupt:
        spectator.close()
        note("You watch no more.")
        return 0
    except BaseException:
        spectator.close()
        raise
    spectator.close()
    if over.code in ("ok", "session_ended", "session_killed"):
        note(f"It is over: {clean(over.message)}")
        return 0
    raise Fault(over.code if over.code in CODES else "tunnel_aborted", over.message)


def _follow(plane: ControlPlane, trust: SavedTrust, sid: str, spectator: Spectator) -> Over:
    """Watch, and look for a way again where one is lost: the gateway is asked anew each time, and tells why not."""
    from cli.watch_way import follow

    failures = 0
    while True:
        with Progress("Asking to watch"):
            offer = plane.post(f"/sessions/{sid}/watch", WatchOffer, WatchAsk())
        try:
            return follow(offer, trust.ssh_ca, spectator.show)
        except Fault as fault:
            failures += 1
            if fault.code not in _LOST or failures > _AGAIN:
                raise
            spectator.close()
            note(f"{fault.message} Looking for it again.")
            time.sleep(_PAUSE_S)
