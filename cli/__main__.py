"""The entry point: picks one command, and turns every way it can go wrong into one sentence and an exit status.

Commands are imported when they are asked for: this program is also ssh's ProxyCommand, where every import is felt.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from chalicelib.contracts.faults import EXIT_GATEWAY, EXIT_USAGE, Fault

#: Exit statuses that are not about a fault: Ctrl-C, and a reader that went away (128 + the signal's number).
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141


class _Entry(NamedTuple):
    module: str
    attribute: str
    section: str
    summary: str


_DAILY: Final = "Every day"
_APPROVALS: Final = "Approvals"
_EVIDENCE: Final = "Evidence"
_GATEWAY: Final = "Run the gateway"

_COMMANDS: Final[dict[str, _Entry]] = {
    "login": _Entry("login", "login", _DAILY, "Log in with your browser, once a day."),
    "logout": _Entry("login", "logout", _DAILY, "End your login and remove its key."),
    "whoami": _Entry("login", "whoami", _DAILY, "Show who the gateway says you are."),
    "status": _Entry("login", "status", _DAILY, "Show whether everything is in place, and what is not."),
    "ls": _Entry("targets", "ls", _DAILY, "List the targets that you may connect to."),
    "ssh-config": _Entry("targets", "ssh_config", _DAILY, "Make plain ssh, scp and rsync work with your targets."),
    "connect": _Entry("connect", "connect", _DAILY, "Connect to a target."),
    "ticket": _Entry("ticket", "ticket", _DAILY, "Get a password for a client that connects by itself."),
    "request": _Entry("requests", "request", _APPROVALS, "Ask others for access, ahead of time or in an emergency."),
    "requests": _Entry("requests", "requests", _APPROVALS, "List what waits for you, what is yours, and what was decided."),
    "approve": _Entry("requests", "approve", _APPROVALS, "Agree to one request, after looking at it."),
    "deny": _Entry("requests", "deny", _APPROVALS, "Refuse one request."),
    "withdraw": _Entry("requests", "withdraw", _APPROVALS, "Take back a request of yours."),
    "revoke": _Entry("requests", "revoke", _APPROVALS, "Take an approval back, and end what goes on under it."),
    "review": _Entry("requests", "review", _APPROVALS, "Say of an emergency whether it was one."),
    "sessions": _Entry("sessions", "sessions", _EVIDENCE, "List sessions, newest first."),
    "session": _Entry("sessions", "session", _EVIDENCE, "Show one session whole."),
    "replay": _Entry("replay", "replay", _EVIDENCE, "Verify a session's recording and play it."),
    "watch": _Entry("watch", "watch", _EVIDENCE, "Watch a session while it goes on."),
    "kill": _Entry("kill", "kill", _EVIDENCE, "End sessions that go on."),
    "unmask": _Entry("originals", "unmask", _EVIDENCE, "Show what masking took out of a session, if somebody else agrees."),
    "erase-originals": _Entry("originals", "erase_originals", _EVIDENCE, "Make a month of sealed originals unreadable for good."),
    "verify": _Entry("verify", "verify", _EVIDENCE, "Prove evidence offline, from a copy of the bucket."),
    "plan": _Entry("config", "plan", _GATEWAY, "Show what applying a folder of configuration would change."),
    "apply": _Entry("config", "apply", _GATEWAY, "Put a folder of configuration in force."),
    "agents": _Entry("agents", "agents", _GATEWAY, "List the agents."),
    "agent-token": _Entry("agents", "agent_token", _GATEWAY, "Make a one-time token that enrols an agent."),
}


class _Lazy(click.Group):
    """A group that imports a command only when it is used, and lists them by what people do."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"cli.commands.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, n=1)
            ctx.fail(f"There is no command {args[0]!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in (_DAILY, _APPROVALS, _EVIDENCE, _GATEWAY):
            with formatter.section(section):
                formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items() if entry.section == section])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        print(f"sallyport {version('sallyport')}")
        ctx.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
def sallyport() -> None:
    """Reach your machines through the gateway, with the tools you have: ssh, scp, sftp, rsync, psql.

    \b
    First time:
      sallyport login --url https://gateway.example.com
      sallyport ls
      sallyport ssh-config --write
      ssh prod-web
      sallyport connect prod-db

    Exit status: 0 it worked; 2 wrong use; 3 log in; 4 not there; 5 away, try again; 6 refused; 7 evidence was altered;
    126 policy says no; 130 Ctrl-C. All of them, and the codes in brackets: docs/reference/exit-codes.md.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the process."""
    for stream in (sys.stdout, sys.stderr):
        # Names and recordings hold any character; a terminal that cannot show one gets a question mark, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        status = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the terminal shows ^C; the next prompt begins on a line of its own
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except Exception as error:  # noqa: BLE001 - the one catch-all of this process
        return explain(error)
    return status


def _run(arguments: list[str]) -> int:
    if "_SALLYPORT_COMPLETE" in os.environ:  # a shell asks for completions, and click answers and exits
        sallyport.main(prog_name="sallyport")
    try:
        with sallyport.make_context("sallyport", arguments) as context:
            result = sallyport.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return result if isinstance(result, int) else 0


def explain(error: Exception) -> int:
    """Say on standard error what went wrong, in words; return the exit status that it means."""
    from cli.control_plane import Refusal
    from cli.screen import fail, note

    match error:
        case click.exceptions.NoArgsIsHelpError():
            note(error.format_message())
            return EXIT_USAGE
        case click.UsageError():
            hint = f"Try: {error.ctx.command_path} --help" if error.ctx else ""
            fail("bad_request", error.format_message(), hint)
            return EXIT_USAGE
        case click.ClickException():
            fail("bad_request", error.format_message())
            return EXIT_USAGE
        case Fault():
            fail(error.code, error.message, error.hint)
            if error.detail and os.environ.get("SALLYPORT_DEBUG"):
                note(f"  detail: {error.detail!r}")
            return error.kind.exit
        case Refusal():
            fail(error.notice.code, error.notice.message, error.notice.hint)
            return error.exit_status
        case OSError() if error.filename is not None:
            code = "not_found" if isinstance(error, FileNotFoundError) else "conflict"
            fail(code, f"{error.strerror}: {error.filename}")
            return Fault(code, "").kind.exit
    if os.environ.get("SALLYPORT_DEBUG"):
        raise error
    fail("internal", f"Something went wrong inside sallyport ({type(error).__name__}).", "SALLYPORT_DEBUG=1 shows where.")
    return EXIT_GATEWAY


if __name__ == "__main__":
    sys.exit(main())
