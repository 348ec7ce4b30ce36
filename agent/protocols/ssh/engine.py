"""What SSH requests mean: exec, shell, subsystem, environment and forwarding, as operations or as refusals. Pure.

A request becomes either :class:`~agent.core.units.Asked`, which policy decides, or :class:`~agent.core.units.Refused`, which the
gateway itself will not do whatever policy says. There is no third way: what is not recognised here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from agent.core.shell import fed, served
from agent.core.shell.classify import classify
from agent.core.shell.environment import is_foreign
from agent.core.shell.guard.boot import BOOT
from agent.core.shell.model import UNKNOWN_FLAGS, Classification
from agent.core.units import Asked, Refused
from agent.protocols.ssh import places
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import ADMIN, EXECUTE, READ, UNKNOWN, WRITE, Operation

#: Longest command, in bytes. Linux itself refuses arguments longer than 128 KiB.
TEXT_LIMIT: Final = 64 * 1024
#: Longest script that is fed to a command, in bytes.
SCRIPT_LIMIT: Final = 1024 * 1024
#: What reads a script where a login shell was asked for without a terminal: a shell whose language is read here.
SCRIPT_SHELL: Final = "command -v bash >/dev/null && exec bash -ls || exec sh -ls"

#: Longest value of a passed environment variable, in bytes, and how many are passed.
VALUE_LIMIT: Final = 256
ENVIRONMENT_LIMIT: Final = 20

_LOCALE: Final = re.compile(rb"LANG|LC_[A-Z]{1,20}")
_VALUE: Final = re.compile(rb"[A-Za-z0-9_.@:,+-]*")
_TERM: Final = re.compile(r"[A-Za-z0-9_.+-]{0,64}")
#: Modes that are keys, VINTR to VDISCARD; what stands for none; and those that make one case of two (IUCLC, XCASE, OLCUC).
_KEYS: Final = range(1, 19)
_NO_KEY: Final = 255
_FOLDING: Final = frozenset({37, 52, 71})
_SCP: Final = re.compile(r"\s*(?:\S*/)?scp\s+(?:-[A-Za-z]+\s+)*?-[A-Za-z]*[tf](?:[A-Za-z]*)(?:\s|$)")
#: The same behind a wrapper (``env scp -t``), with quotes and backslashes taken out: scp's own word for "I am the far end".
_SCP_FAR_END: Final = re.compile(r"(?<![\w.-])scp\s(?:[^;&|\n]*\s)?-[A-Za-z]*[tf][A-Za-z]*(?:\s|$)")
_QUOTES: Final = re.compile(r"['\"\\]")
_SFTP_SERVER: Final = re.compile(r"\s*(?:\S*/)?sftp-server(?:\s|$)")

#: How interactive shells are treated: every line decided before it runs, at the target's own prompt or at one of the gateway's;
#: or the screen recorded and nothing decided.
GUARDED: Final = "guarded"
LOCKED: Final = "locked"
RECORDED: Final = "recorded"

#: SSH's own words for a connection onwards, and for a port that the target is to listen on (RFC 4254 §7).
Forward = Literal["direct-tcpip", "tcpip-forward"]

#: Flag of a command whose input and output are a stream of files, which is counted and hashed and not written down.
STREAM: Final = "stream"

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
    """Tell whether an environment variable may reach the target: the locale, with a plain value, and nothing that loads code.

    Nor one in which a shell would read other characters than are decided about.
    """
    if _LOCALE.fullmatch(name) is None or len(value) > VALUE_LIMIT or _VALUE.fullmatch(value) is None:
        return False
    return not is_foreign(name.decode(), value.decode())


def modes(asked: Mapping[int, int]) -> dict[int, int]:
    """Return what of a client's terminal modes (RFC 4254 §8) reaches the target: all but what would take out, or change, letters.

    A key of the terminal (to interrupt, to stop, to go on, …) is a control character, or none.
    """
    return {
        mode: value
        for mode, value in asked.items()
        if mode not in _FOLDING and (mode not in _KEYS or value < 0x20 or value in (0x7F, _NO_KEY))
    }


def is_term(name: str) -> bool:
    """Tell whether ``name`` can be a terminal type. Empty is what ssh sends where TERM is not set; sshd takes it too."""
    return _TERM.fullmatch(name) is not None


def read(wish: Wish, *, shell: str | None) -> Asked | Refused:
    """Return what ``wish`` asks for. ``shell`` is how a shell would be treated, if at all."""
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
    # The account's own shell reads it, which may be zsh: some of what is data to bash, that one evaluates.
    meaning = classify(text, zsh=True)
    if "scp" in meaning.verbs and _SCP_FAR_END.search(_QUOTES.sub("", text)):
        return _refuse("exec", text, "not_supported", "The old scp protocol is not supported. Run scp without -O.")
    if "sftp-server" in meaning.verbs:
        return _refuse("exec", text, "not_supported", "File transfer goes through the sftp subsystem. Run sftp without -s.")
    flags = meaning.flags | {"pty"} if wish.terminal else meaning.flags
    operation = Operation(
        kind="exec",
        text=text,
        effects=meaning.effects or frozenset({UNKNOWN}),
        verbs=meaning.verbs,
        objects=meaning.objects,
        flags=flags | {STREAM} if _is_stream(wish, meaning) else flags,
        environment=wish.environment,
    )
    return Asked(operation, data)


def _is_stream(wish: Wish, meaning: Classification) -> bool:
    """Tell whether a command is one rsync or git and nothing else, understood in full."""
    return (
        wish.terminal is None
        and len(meaning.commands) == 1
        and not meaning.commands[0].redirections
        and bool(meaning.verbs & served.STREAMS)
        and not meaning.flags & UNKNOWN_FLAGS
    )


def feeds(wish: Wish) -> str | None:
    """Return the command of ``wish`` whose whole program is what the client sends to it; None for every other wish."""
    if wish.terminal is not None or wish.kind == "subsystem":
        return None
    return SCRIPT_SHELL if wish.kind == "shell" else wish.text if fed.fed(wish.text) is not None else None


def read_script(wish: Wish, command: str, script: bytes) -> tuple[Asked | Refused, bytes]:
    """Return what is asked for with ``script`` fed to ``command``, and what to send instead of it once that is permitted.

    The text is the command's line and the script behind it, so an approval is of exactly both.
    """
    try:
        text = script.decode()
    except UnicodeDecodeError:
        return refused_script(command, Fault("bad_request", "The script is not valid UTF-8.")), b""
    if "\0" in text:
        return refused_script(command, Fault("bad_request", "The script contains a NUL character.")), b""
    how = fed.Fed("sh") if wish.kind == "shell" else fed.fed(command)
    assert how is not None, "only commands that are fed have a script"
    meaning = fed.meaning(command, how, text)
    operation = Operation(
        kind="script",
        text=f"{command}\n{text}",
        effects=meaning.effects or frozenset({UNKNOWN}),
        verbs=meaning.verbs,
        objects=meaning.objects,
        flags=meaning.flags,
        environment=wish.environment,
    )
    return Asked(operation, command.encode()), fed.quoted(text).encode() if how.reads_shell else script


def refused_script(command: str, fault: Fault) -> Refused:
    """Return the refusal of a script that is no script."""
    return _refuse("script", command, fault.code, fault.message)


def _shell(wish: Wish, shell: str | None) -> Asked | Refused:
    text = "interactive shell"
    if shell not in (GUARDED, LOCKED, RECORDED):
        message = "Interactive shells are not enabled on this target. Run one command at a time: ssh <target> <command>."
        return _refuse("shell", text, "not_supported", message)
    if wish.terminal is None:
        message = "A shell without a terminal would run lines that nobody sees. Pass the command as an argument, or use ssh -t."
        return _refuse("shell", text, "not_supported", message)
    operation = Operation(
        kind="shell",
        text=text,
        effects=EVERY_EFFECT if shell == RECORDED else frozenset({READ}),
        verbs=frozenset({"shell"}),
        flags=frozenset({"shell", shell}) | ({"opaque"} if shell == RECORDED else frozenset()),
        environment=wish.environment,
    )
    return Asked(operation, b"" if shell == RECORDED else BOOT.encode())


def forward(kind: Forward, host: str, port: int, options: Mapping[str, Any]) -> Asked | Refused:
    """Return what a request to connect on, or to listen, asks for. ``options`` are the target's: the most there is."""
    remote = kind == "tcpip-forward"
    asked = f"{host}:{port}"
    option = "listen" if remote else "forward"
    entries = options.get(option)
    if not isinstance(entries, list) or not entries:
        return forwarding(kind, asked, f" This target lists no place for it in its option {option!r}.")
    try:
        place = places.listener(host, port) if remote else places.destination(host, port)
    except Fault as fault:
        return Refused(forwarding(kind, asked).operation, fault.code, fault.message)
    operation = Operation(
        action="forward",
        kind=kind,
        text=f"{kind} {place}",
        # What will pass cannot be known.
        effects=frozenset({READ, WRITE, EXECUTE}),
        objects=frozenset({str(place)}),
        flags=frozenset({"tunnel"}),
        host=place.host,
        port=place.port,
        direction="remote" if remote else "local",
    )
    if not places.listed(place, entries):
        return Refused(operation, "denied", f"This target does not forward {place}: its configuration does not list it.")
    return Asked(operation, str(place).encode())


def trusting(kind: str, fingerprint: str, address: str) -> Operation:
    """Return what it is to trust the first host key of a target: its ``kind`` and ``fingerprint`` as OpenSSH prints them."""
    return Operation(
        action="trust_host_key",
        kind="host-key",
        text=f"trust {kind} {fingerprint} at {address}",
        effects=frozenset({ADMIN}),
        verbs=frozenset({"TRUST"}),
        objects=frozenset({f"key:{kind}", fingerprint, f"address:{address}"}),
    )


def forwarding(kind: str, where: str, why: str = "") -> Refused:
    """Return the refusal of a forwarding request. ``kind`` is SSH's own word, ``where`` what it would reach."""
    operation = Operation(
        action="forward",
        kind=kind,
        text=f"{kind} {where}".strip()[:1000],
        effects=frozenset({UNKNOWN}),
        objects=frozenset({where[:1000]}) if where else frozenset(),
    )
    return Refused(operation, "not_supported", f"Forwarding is not available through the gateway ({kind}).{why}")


def unreadable(kind: Literal["exec", "subsystem"]) -> Refused:
    """Return the refusal of a request whose text is not UTF-8."""
    return _refuse(kind, "", "bad_request", "The request is not valid UTF-8.")


def _refuse(kind: str, text: str, code: str, message: str) -> Refused:
    return Refused(Operation(kind=kind, text=text, effects=frozenset({UNKNOWN})), code, message)
