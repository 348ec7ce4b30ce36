"""What SSH requests mean: exec, shell, subsystem, environment and forwarding, as operations or as refusals. Pure.

A request becomes either :class:`~agent.core.units.Asked`, which policy decides, or :class:`~agent.core.units.Refused`, which the
gateway itself will not do whatever policy says. There is no third way: what is not recognised here is refused.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from agent.core.shell.classify import classify
from agent.core.shell.guard.dialogue import BOOT
from agent.core.units import Asked, Refused
from chalicelib.contracts.operation import ADMIN, EXECUTE, READ, UNKNOWN, WRITE, Operation

#: Longest command, in bytes. Linux itself refuses arguments longer than 128 KiB.
TEXT_LIMIT: Final = 64 * 1024
#: Longest value of a passed environment variable, in bytes, and how many are passed.
VALUE_LIMIT: Final = 256
ENVIRONMENT_LIMIT: Final = 20

_LOCALE: Final = re.compile(rb"LANG|LC_[A-Z]{1,20}")
_VALUE: Final = re.compile(rb"[A-Za-z0-9_.@:,+-]*")
_TERM: Final = re.compile(r"[A-Za-z0-9_.+-]{0,64}")
_SCP: Final = re.compile(r"\s*(?:\S*/)?scp\s+(?:-[A-Za-z]+\s+)*?-[A-Za-z]*[tf](?:[A-Za-z]*)(?:\s|$)")
#: The same behind a wrapper (``env scp -t``), with quotes and backslashes taken out: scp's own word for "I am the far end".
_SCP_FAR_END: Final = re.compile(r"(?<![\w.-])scp\s(?:[^;&|\n]*\s)?-[A-Za-z]*[tf][A-Za-z]*(?:\s|$)")
_QUOTES: Final = re.compile(r"['\"\\]")
_SFTP_SERVER: Final = re.compile(r"\s*(?:\S*/)?sftp-server(?:\s|$)")

#: How interactive shells are treated: every line decided before it runs, or the screen recorded and nothing decided.
GUARDED: Final = "guarded"
RECORDED: Final = "recorded"

EVERY_EFFECT: Final = frozenset({READ, WRITE, ADMIN, EXECUTE, UNKNOWN})


class Terminal(msgspec.Struct, frozen=True):
    """A pseudo-terminal as the client asked for it (RFC 4254 §6.2)."""

    term: str
    columns: int
    rows: int
    pixels: tuple[int, int] = (0, 0)
    modes: dict[int, int] = {}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """One channel request that would start a program: ``text`` is the command or the name of the subsystem."""

    kind: Literal["exec", "shell", "subsystem"]
    text: str = ""
    terminal: Terminal | None = None
    environment: tuple[tuple[str, str], ...] = ()


def passes(name: bytes, value: bytes) -> bool:
    """Tell whether an environment variable may reach the target: the locale, with a plain value, and nothing that loads code."""
    return _LOCALE.fullmatch(name) is not None and len(value) <= VALUE_LIMIT and _VALUE.fullmatch(value) is not None


def is_term(name: str) -> bool:
    """Tell whether ``name`` can be a terminal type. Empty is what ssh sends where TERM is not set; sshd takes it too."""
    return _TERM.fullmatch(name) is not None


def read(wish: Wish, *, shell: str | None) -> Asked | Refused:
    """Return what ``wish`` asks for. ``shell`` is the target's option of that name."""
    if wish.kind == "exec":
        return _exec(wish)
    if wish.kind == "shell":
        return _shell(wish, shell)
    if wish.text == "sftp":
        # Starting the file server shows nothing yet; it needs what looking at metadata needs.
        operation = Operation(
            action="transfer", kind="sftp", text="sftp", effects=frozenset({READ}), flags=frozenset({"metadata"})
        )
        return Asked(operation, b"sftp")
    return _refuse("subsystem", wish.text[:200], "not_supported", "Only the sftp subsystem is available through the gateway.")


def _exec(wish: Wish) -> Asked | Refused:
    text = wish.text
    if not text.strip():
        # An empty command would reach the target as a request for a shell.
        return _refuse("exec", text, "bad_request", "The command is empty.")
    data = text.encode()
    if len(data) > TEXT_LIMIT:
        message = f"The command is longer than {TEXT_LIMIT // 1024} KiB, so it cannot be decided. Copy a script and run that."
        return _refuse("exec", text[:1000] + "…", "too_large", message)
    if "\0" in text:
        return _refuse("exec", text, "bad_request", "The command contains a NUL character.")
    if _SCP.match(text):
        return _refuse("exec", text, "not_supported", "The old scp protocol is not supported. Run scp without -O.")
    if _SFTP_SERVER.match(text):
        return _refuse("exec", text, "not_supported", "File transfer goes through the sftp subsystem. Run sftp without -s.")
    meaning = classify(text)
    if "scp" in meaning.verbs and _SCP_FAR_END.search(_QUOTES.sub("", text)):
        return _refuse("exec", text, "not_supported", "The old scp protocol is not supported. Run scp without -O.")
    if "sftp-server" in meaning.verbs:
        return _refuse("exec", text, "not_supported", "File transfer goes through the sftp subsystem. Run sftp without -s.")
    operation = Operation(
        kind="exec",
        text=text,
        effects=meaning.effects or frozenset({UNKNOWN}),
        verbs=meaning.verbs,
        objects=meaning.objects,
        flags=meaning.flags | {"pty"} if wish.terminal else meaning.flags,
        environment=wish.environment,
    )
    return Asked(operation, data)


def _shell(wish: Wish, shell: str | None) -> Asked | Refused:
    text = "interactive shell"
    if shell not in (GUARDED, RECORDED):
        message = "Interactive shells are not enabled on this target. Run one command at a time: ssh <target> <command>."
        return _refuse("shell", text, "not_supported", message)
    if wish.terminal is None:
        message = "A shell without a terminal would run lines that nobody sees. Pass the command as an argument, or use ssh -t."
        return _refuse("shell", text, "not_supported", message)
    operation = Operation(
        kind="shell",
        text=text,
        effects=frozenset({READ}) if shell == GUARDED else EVERY_EFFECT,
        verbs=frozenset({"shell"}),
        flags=frozenset({"shell", shell}) | ({"opaque"} if shell == RECORDED else frozenset()),
        environment=wish.environment,
    )
    return Asked(operation, BOOT.encode() if shell == GUARDED else b"")


def forwarding(kind: str, where: str) -> Refused:
    """Return the refusal of a forwarding request. ``kind`` is SSH's own word, ``where`` what it would reach."""
    operation = Operation(
        action="forward",
        kind=kind,
        text=f"{kind} {where}".strip()[:1000],
        effects=frozenset({UNKNOWN}),
        objects=frozenset({where[:1000]}) if where else frozenset(),
    )
    return Refused(operation, "not_supported", f"Forwarding is not available through the gateway ({kind}).")


def unreadable(kind: Literal["exec", "subsystem"]) -> Refused:
    """Return the refusal of a request whose text is not UTF-8."""
    return _refuse(kind, "", "bad_request", "The request is not valid UTF-8.")


def _refuse(kind: str, text: str, code: str, message: str) -> Refused:
    return Refused(Operation(kind=kind, text=text, effects=frozenset({UNKNOWN})), code, message)
