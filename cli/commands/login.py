"""``login``, ``logout``, ``whoami``, ``status``."""

from __future__ import annotations

import os
import secrets
import sys

import click

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane, Refusal
from cli.home import Home, SavedLogin, public_key
from cli.moments import now_ms, until
from cli.plain import clean
from cli.progress import Progress
from cli.screen import facts, note, paint, say, say_json, warn


@click.command()
@click.option("--url", metavar="URL", help="The gateway's address. Default: SALLYPORT_URL, else the one of your last login.")
@click.option("--no-browser", is_flag=True, help="Print only the address to open, for scripts and remote machines.")
def login(url: str | None, no_browser: bool) -> None:
    """Log in with your browser, once a day.

    Opens your identity provider, and stores an access token and an SSH certificate that end together.

    \b
    Examples:
      sallyport login --url https://gateway.example.com
      sallyport login
      sallyport login --no-browser
    """
    from cli.login_flow import Begun, Listener

    home = Home.find()
    before = home.trust()
    address = url or os.environ.get("SALLYPORT_URL") or (before.url if before else "")
    if not address:
        raise Fault("bad_request", "Which gateway?", hint="Example: sallyport login --url https://gateway.example.com")
    plane = ControlPlane(address)
    state = secrets.token_urlsafe(32)
    with Listener(state) as listener:
        begun = Begun(plane, listener, state)
        if no_browser:
            print(begun.authorize_url, flush=True)
        else:
            _open_browser(begun.authorize_url)
        with Progress("Waiting for your browser (Ctrl-C gives up)"):
            code = begun.wait()
        with Progress("Fetching your certificate"):
            done = begun.redeem(code, home)
    after = home.trust()
    if before and after and before.url == after.url and before.ssh_ca != public_key(after.ssh_ca):
        warn("the gateway's SSH key is another one than at your last login. Ask the platform team if nobody told you.")
    if no_browser:
        note(_welcome(done))
    else:
        say(_welcome(done))
        say(f"{paint('Next:', 'dim')} sallyport ls, and once: sallyport ssh-config --write")


def _welcome(done: SavedLogin) -> str:
    return f"Logged in as {paint(clean(done.principal), 'bold')} until {until(done.expires_ms, now_ms())}."


def _open_browser(url: str) -> None:
    import webbrowser

    note("Opening your browser to log in. If nothing happens, open this address:")
    note(f"  {url}")
    try:
        webbrowser.open(url)
    except webbrowser.Error:
        note("  (no browser was found on this machine)")


@click.command()
def logout() -> None:
    """End your login and remove its key.

    \b
    Example:
      sallyport logout
    """
    home = Home.find()
    problem: Fault | Refusal | None = None
    try:
        saved = home.saved_login()
        if saved is not None and saved.expires_ms > now_ms():
            with Progress("Telling the gateway"):
                ControlPlane(saved.url, saved.token).post("/logout", api.Done, api.Done())
    except (Fault, Refusal) as error:
        problem = error
    home.forget()
    if problem is None:
        say("Logged out." if saved else "You were not logged in.")
        return
    say("Your token and key are removed from this machine.")
    message = problem.message if isinstance(problem, Fault) else problem.notice.message
    warn(f"the gateway could not be told, so the token stays valid until it ends: {clean(message)}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def whoami(as_json: bool) -> None:
    """Show who the gateway says you are.

    \b
    Examples:
      sallyport whoami
      sallyport whoami --json
    """
    saved = Home.find().login()
    with Progress("Asking the gateway"):
        me = ControlPlane(saved.url, saved.token).get("/whoami", api.WhoAmI)
    if as_json:
        say_json(me)
        return
    pairs = [("principal", me.principal), ("groups", ", ".join(me.groups) or "none"), ("until", until(me.expires_ms, now_ms()))]
    for line in facts([*pairs, ("gateway", saved.url)]):
        say(line)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> int:
    """Show whether everything is in place, and what is not.

    Exits with 0 if you are logged in and the gateway answers, else with the status of what is wrong.

    \b
    Examples:
      sallyport status
      sallyport status --json
    """
    from cli.ssh_config import is_written

    home = Home.find()
    problem: Fault | Refusal | None = None
    me: api.WhoAmI | None = None
    try:
        saved = home.login()
        with Progress("Asking the gateway"):
            me = ControlPlane(saved.url, saved.token).get("/whoami", api.WhoAmI)
    except (Fault, Refusal) as error:
        problem = error
    trust = home.trust()
    notice = problem.notice if problem else None
    if as_json:
        say_json(
            {
                "gateway": trust.url if trust else "",
                "login": me,
                "problem": notice,
                "ssh_config": is_written(),
                "home": str(home.path),
            }
        )
    else:
        who = f"{me.principal} until {until(me.expires_ms, now_ms())}" if me else notice.message if notice else ""
        config = "written" if is_written() else "not written; run: sallyport ssh-config --write"
        pairs = [
            ("gateway", trust.url if trust else "none yet"),
            ("login", who),
            ("ssh config", config),
            ("folder", str(home.path)),
        ]
        for line in facts(pairs):
            say(line)
        if notice and notice.hint:
            print(f"  {clean(notice.hint)}", file=sys.stderr)
    if isinstance(problem, Fault):
        return problem.kind.exit
    return problem.exit_status if problem else 0
