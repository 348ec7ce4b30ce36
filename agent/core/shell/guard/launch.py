"""Lines that start another interactive shell, and what runs instead of them so that the new shell is guarded as well.

Only lines that can be read in one way by every shell: plain words, no quotes, no expansions, one command. ``sudo -u bob bash -l``
becomes ``sudo -u bob sh -c <boot>``: the same program starts, as the same account, in the same place, and what it starts reports.
Whatever is not recognised here is a line like any other, with what the classifier says of it (``opaque``, ``unknown``).

The shell reads it through a terminal that may take letters out (``stty start q``) or make them small (``stty iuclc``). So its
length stands before it, behind a capital, and a shell that does not find both runs nothing.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agent.core.shell.guard.boot import BOOT, code, quoted
from agent.core.shell.model import UNKNOWN_FLAGS, Classification
from agent.core.shell.options import Parsed, leading
from agent.core.shell.shells import SSH
from agent.core.shell.words import literal
from agent.core.shell.wrappers import DOCKER_EXEC, WRAPPERS

_PLAIN: Final = re.compile(r"[ \t]*[\w./:@,+-][\w./:=@,+-]*(?:[ \t]+[\w./:@,+-][\w./:=@,+-]*)*[ \t]*", re.ASCII)
#: Words of a line that starts a shell. Each may be a program that starts the next one, and is read for itself.
WORDS: Final = 100
_PROGRAM: Final = re.compile(r"(?:/usr)?(?:/bin/|/sbin/)?([a-z]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9_.@:/][\w.@:/+-]*", re.ASCII)

#: Options with which a shell is still the interactive one that we would start ourselves.
_SHELLS: Final = {
    "bash": ({"-i"}, {"-l", "--login", "-il", "-li"}),
    "zsh": ({"-i"}, {"-l", "--login", "-il", "-li"}),
    "fish": ({"-i", "--interactive"}, {"-l", "--login", "-il", "-li"}),
}
_SUDO: Final = frozenset(
    {"u", "g", "E", "H", "n", "i", "s", "k", "user", "group", "login", "shell", "set-home", "non-interactive"}
)
_SSH: Final = frozenset("plivqC46ktJo")
_SSH_SETTING: Final = re.compile(
    r"(?:port|user|identityfile|identitiesonly|userknownhostsfile|stricthostkeychecking|hostkeyalias|connecttimeout"
    r"|serveralive(?:interval|countmax)|loglevel|batchmode)=\S+",
    re.IGNORECASE,
)
#: What the classifier says of a shell that nobody guards, and so not of these.
_SETTLED: Final = frozenset({"opaque", "code_from_stdin"})
#: The same of fish, whose grammar the classifier does not read.
_FOREIGN: Final = frozenset({"dynamic_code"})


class Launch(msgspec.Struct, frozen=True):
    """The start of another shell."""

    text: str
    """What runs instead of the line."""
    login: bool
    replaces: bool = False
    """The new shell takes the place of the one that starts it."""
    foreign: bool = False
    """The classifier cannot read the new shell's grammar."""


def launch(line: str) -> Launch | None:
    """Return what ``line`` starts, where it is nothing but the start of an interactive shell that may be guarded."""
    if not _PLAIN.fullmatch(line):
        return None
    words = line.split()
    if len(words) > WORDS:
        return None
    replaces = words[0] == "exec"
    if replaces:
        words = words[1:]
    if words[:1] == ["command"]:
        words = words[1:]
    found = _read(words)
    if found is None:
        return None
    before, login = found
    foreign = any(_base(word) == "fish" for word in words)
    return Launch(("exec " if replaces else "command ") + before, login, replaces, foreign)


def settled(meaning: Classification, start: Launch) -> Classification | None:
    """Return what the line means when the shell that it starts is guarded. None where more about it is not known."""
    flags = meaning.flags - _SETTLED - (_FOREIGN if start.foreign else frozenset())
    if flags & UNKNOWN_FLAGS:
        return None
    return msgspec.structs.replace(meaning, flags=flags, effects=meaning.effects - {"unknown"} or frozenset({"execute"}))


def _base(word: str) -> str:
    match = _PROGRAM.fullmatch(word)
    return match[1] if match else ""


def _read(words: list[str]) -> tuple[str, bool] | None:
    """Return the command that starts the shell's first half, and whether it is a login shell."""
    if not words:
        return None
    name = _base(words[0])
    if name in _SHELLS:
        return _shell(name, words[1:])
    reader = _READERS.get(name)
    return reader(words) if reader is not None else None


def _shell(name: str, options: list[str]) -> tuple[str, bool] | None:
    plain, login = _SHELLS[name]
    if not set(options) <= plain | login:
        return None
    return f"sh -c {quoted(code(name))}", bool(set(options) & login)


def _behind(before: list[str], rest: list[str]) -> tuple[str, bool] | None:
    found = _read(rest)
    return found and (" ".join([*before, found[0]]), found[1])


def _options(words: list[str], program: str) -> tuple[Parsed, list[str]]:
    parsed = leading([literal(word) for word in words[1:]], WRAPPERS[program])
    return parsed, [word.text or "" for word in parsed.rest]


def _env(words: list[str]) -> tuple[str, bool] | None:
    parsed, rest = _options(["env", *("-i" if word == "-" else word for word in words[1:])], "env")
    while rest and "=" in rest[0]:
        rest = rest[1:]
    if not parsed.sure or not rest or not {name for name, _ in parsed.options} <= {"i", "u", "ignore-environment", "unset"}:
        return None
    return _behind(words[: len(words) - len(rest)], rest)


def _sudo(words: list[str]) -> tuple[str, bool] | None:
    parsed, rest = _options(words, "sudo")
    if not parsed.sure or any(name not in _SUDO for name, _ in parsed.options) or (rest and "=" in rest[0]):
        return None
    if rest:
        return None if parsed.has("i", "s", "login", "shell") else _behind(words[: len(words) - len(rest)], rest)
    if not parsed.has("i", "s", "login", "shell"):
        return None
    return " ".join([*words, "sh", "-c", quoted(code())]), parsed.has("i", "login")


def _su(words: list[str]) -> tuple[str, bool] | None:
    options, rest, login = words[1:], [], False
    while options and options[0] in {"-", "-l", "--login"}:
        login, options = True, options[1:]
    rest = options
    if len(rest) > 1 or any(not _NAME.fullmatch(word) for word in rest):
        return None
    # Without a session of its own, which would be one without this terminal; root's shell has none in any case.
    flag = "-c" if rest in ([], ["root"]) else "--session-command"
    return " ".join([words[0], flag, quoted(BOOT), *(["-"] if login else []), *rest]), login


def _container(words: list[str]) -> tuple[str, bool] | None:
    if words[1:2] != ["exec"]:
        return None
    parsed = leading([literal(word) for word in words[2:]], DOCKER_EXEC)
    rest = [word.text or "" for word in parsed.rest]
    names = {name for name, _ in parsed.options}
    if not parsed.sure or len(rest) < 2 or _base(rest[1]) not in _SHELLS:
        return None
    if not names <= {"i", "t", "u", "w", "user", "workdir", "interactive", "tty"}:
        return None
    if not ({"i", "interactive"} & names and {"t", "tty"} & names):
        return None
    return _behind(words[: len(words) - len(rest) + 1], rest[1:])


def _pod(words: list[str]) -> tuple[str, bool] | None:
    if "--" not in words or "exec" not in words:
        return None
    at = words.index("--")
    before, rest = words[:at], words[at + 1 :]
    short = "".join(word[1:] for word in before if re.fullmatch(r"-[it]+", word))
    stdin, tty = "i" in short or "--stdin" in before, "t" in short or "--tty" in before
    if not (rest and stdin and tty and _base(rest[0]) in _SHELLS):
        return None
    return _behind(words[: at + 1], rest)


def _ssh(words: list[str]) -> tuple[str, bool] | None:
    parsed = leading([literal(word) for word in words[1:]], SSH)
    if not parsed.sure or len(parsed.rest) != 1 or any(name not in _SSH for name, _ in parsed.options):
        return None
    if not all(_SSH_SETTING.fullmatch(value.text or "") for value in parsed.values("o")):
        return None
    # Without escape characters: behind `~C` ssh takes orders of its own, which nobody decides.
    return " ".join([words[0], "-t", "-e", "none", *words[1:], quoted(BOOT)]), True


_READERS: Final = {
    "env": _env, "sudo": _sudo, "su": _su, "docker": _container, "podman": _container, "kubectl": _pod, "oc": _pod, "ssh": _ssh,
}  # fmt: skip
