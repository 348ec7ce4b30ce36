"""Commands that read their program from standard input: `bash -s < script`, `sudo sh`, `python3 -`.

Only a command of plain words is recognised, without quotes, expansions, pipes or redirections: then what the client sends is the
whole program, and nothing else is. A script for a POSIX shell is read like any other code, and then *must not be able to read
itself*: `head -c 6` inside a script eats the script's next six bytes, and what was text to us becomes code. So a shell is not
given the script but one line with all of it in quotes (`quoted`), which it has read to its end before anything runs.
"""

from __future__ import annotations

import re

import msgspec

from agent.core.shell.classify import classify
from agent.core.shell.model import Classification
from agent.core.shell.options import names
from agent.core.shell.programs import INTERPRETERS

#: Shells whose language is the one that we read.
SHELLS = names("sh bash dash ash ksh mksh")

_PLAIN = re.compile(r"(?:cd [\w./@%+,-]+ && )?[\w./:=@%+, -]*", re.ASCII)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.ASCII)
_DIRECTORY = re.compile(r"/(?:usr/(?:local/)?)?bin/")
_VERSIONED = re.compile(r"(python|perl|ruby|php|lua)[\d.]*")
_CLUSTER = re.compile(r"-[aefhlsux]+")
_LONG = names("--login --noprofile --norc --posix")
_SETTINGS = names("allexport errexit noglob nounset pipefail posix xtrace")


class Fed(msgspec.Struct, frozen=True):
    """A command whose program is its standard input. `before`: what stands before the program's own name."""

    program: str
    before: str = ""

    @property
    def reads_shell(self) -> bool:
        """True where the input is shell code."""
        return self.program in SHELLS


def fed(text: str) -> Fed | None:
    """The command in `text`, if it is one whose whole program comes from standard input; None where that is not certain."""
    if not _PLAIN.fullmatch(text):
        return None
    words = text.split(" && ")[-1].split()
    at = _wrapped(words)
    if at is None or at >= len(words):
        return None
    name, rest = _DIRECTORY.sub("", words[at], count=1), words[at + 1 :]
    if name == "busybox" and rest and rest[0] in {"sh", "ash"}:
        name, rest = rest[0], rest[1:]
    versioned = _VERSIONED.fullmatch(name)
    language = versioned[1] if versioned else name
    whole = (name in SHELLS and _reads_input(rest)) or (
        (language in INTERPRETERS or versioned is not None) and (not rest or rest[0] == "-" or rest in (["-u"], ["-u", "-"]))
    )
    before = text.split()[: len(text.split()) - len(words) + at]
    return Fed(name, " ".join(before)) if whole else None


def _wrapped(words: list[str]) -> int | None:
    """Where the program stands behind assignments, env, exec, nice, nohup, timeout and sudo; None where that is not certain."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if _ASSIGNMENT.fullmatch(word) or word in {"env", "exec", "nice", "nohup"}:
            continue
        if word == "timeout":
            if not re.fullmatch(r"\d+[smh]?", "".join(words[at : at + 1])):
                return None
            at += 1
        elif word == "sudo":
            while at < len(words) and words[at].startswith("-"):
                # Not -S: sudo would take the first line of the input as a password.
                if words[at] not in {"-n", "-H", "-u", "-g", "--"}:
                    return None
                at += 2 if words[at] in {"-u", "-g"} else 1
        else:
            return at - 1
    return None


def _reads_input(options: list[str]) -> bool:
    """True if a shell with these words takes its program from standard input."""
    at, asked = 0, False
    while at < len(options):
        word = options[at]
        if word in {"-", "--"}:
            at += 1
            break
        if word in _LONG:
            at += 1
        elif re.fullmatch(r"-[aefhlsux]*o", word):
            if "".join(options[at + 1 : at + 2]) not in _SETTINGS:
                return False
            asked = asked or "s" in word
            at += 2
        elif _CLUSTER.fullmatch(word):
            asked = asked or "s" in word
            at += 1
        elif word[0] in "-+":
            return False
        else:
            break
    # Operands are a file, unless -s makes them arguments.
    return asked or at >= len(options)


def meaning(command: str, how: Fed, script: str) -> Classification:
    """What `command` means with `script` as its input. Of other languages than the shell's, no more than without it."""
    if not how.reads_shell:
        return classify(command, zsh=True)
    around, inside = classify(f"{how.before} true".strip(), zsh=True), classify(script)
    return Classification(
        around.commands[:-1] + inside.commands,
        around.effects | inside.effects | {"execute"},
        (around.verbs - {"true"}) | inside.verbs | {how.program},
        around.objects | inside.objects,
        around.flags | inside.flags,
    )


def quoted(script: str) -> str:
    """One line that runs `script` in a POSIX shell, with an empty standard input, and ends with its status."""
    body = script.replace("'", "'\\''")
    return f"eval '{body}' </dev/null; exit\n"
