"""Programs whose first operand decides: git, docker, kubectl, systemctl, apt, ip and their kin.

The tables say which subcommands read or change; the functions here look at what tables cannot say: the command inside
`docker exec`, a git option that names a program, the abbreviations of `ip`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agent.core.shell import git
from agent.core.shell.launchers import container
from agent.core.shell.nested import inner, starts_shell
from agent.core.shell.options import Parsed, has_option, leading, operands
from agent.core.shell.reading import Reading
from agent.core.shell.subcommand_tables import TOOLS, Tool
from agent.core.shell.words import Word
from agent.core.shell.wrappers import DOCKER_EXEC, DOCKER_RUN


def tool(reading: Reading, program: str, words: list[Word]) -> None:
    """Find the subcommand, name it as `program:subcommand`, and add its effects."""
    row = TOOLS[program]
    parsed = leading(words, row.before)
    if not parsed.sure:
        reading.flags.add("dynamic_command")
    if row.pager:
        reading.flags.add("pager")
    if row.network:
        reading.flags.add("network")
    if any(parsed.has(name) for name in row.code_options) or has_option(words, "", row.code_anywhere):
        reading.flags.add("dynamic_code")
    rest = parsed.rest
    if not rest:
        reading.effects.update(row.alone or ({"read"} if parsed.has("version", "help") else {"unknown"}))
        return
    name = rest[0].text
    if name in row.groups:
        # `docker container ls`, `aws s3 cp`: options may stand between the two.
        below = leading(rest[1:], row.before)
        second = below.rest[0].text if below.rest else ""
        name = f"{name} {second}".strip() if second is not None and below.sure else None
        rest = below.rest
    if name is None:
        reading.flags.add("dynamic_command")
        return
    if row.code_anywhere and any(word.text is None and word.may_be_option and not word.inert for word in rest[1:]):
        reading.flags.add("dynamic_code")
    reading.verbs.add(f"{program}:{name.replace(' ', ':')}")
    reading.effects.update(_effects(row, name))
    special = _SPECIAL.get(program)
    if special is not None:
        special(reading, name, parsed, rest[1:])


def _effects(row: Tool, name: str) -> set[str]:
    found = {effect for effect, names in row.effects.items() if name in names}
    if not found and " " in name and row.otherwise:
        return {"read" if name.split()[-1].startswith(row.read_prefixes) else row.otherwise}
    return found or {"unknown"}


def _docker(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    last = name.split()[-1]
    if last == "exec" and not name.startswith("compose"):
        container(reading, leading(words, DOCKER_EXEC))
    elif last == "run" and not name.startswith("compose"):
        inside = leading(words, DOCKER_RUN)
        reading.verbs.update(value.text for value in inside.values("entrypoint") if value.text)
        reading.flags.add("dynamic_code")  # the image's entry point decides what happens to the words
        container(reading, inside)
    elif (last == "attach" and not _hears_only(words)) or (
        last == "start" and not name.startswith("compose") and _typed_into(words, "i", ("interactive",))
    ):
        starts_shell(reading)
    elif "execute" in reading.effects and last not in {"start", "restart", "attach", "pull"}:
        reading.flags.add("script_file" if last in {"build", "up", "deploy", "create"} else "dynamic_code")


def _hears_only(words: list[Word]) -> bool:
    """True where nothing of what is typed reaches a container that is attached to."""
    said = [word.text for word in words]
    return None not in said and "--no-stdin" in said and not any(text and text.startswith("--no-stdin=") for text in said)


def _typed_into(words: list[Word], short: str, long: tuple[str, ...]) -> bool:
    """True where what is typed may reach a container's own program, which is as often a shell as not."""
    return has_option(words, short, long) or any(word.text is None and word.may_be_option for word in words)


def _kubectl(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    if name in {"exec", "run", "debug"}:
        dashes = [at for at, word in enumerate(words) if word.text == "--"]
        if dashes:
            inner(reading, words[dashes[0] + 1 :])
        if name != "exec" or not dashes or any(word.splits for word in words[: dashes[0]]):
            reading.flags.add("dynamic_code")
    if name == "attach" and _typed_into(words, "i", ("stdin",)):
        starts_shell(reading)
    if name == "edit":
        reading.flags.add("opaque")
    if name in {"diff", "apply", "config set", "config set-credentials"} and has_option(
        words, "", ("exec-command", "prune-allowlist")
    ):
        reading.flags.add("dynamic_code")


def _systemctl(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    if name == "edit":
        reading.flags.add("opaque")
    if any(word.text and "/" in word.text for word in words) and name not in {"status", "show", "cat"}:
        reading.flags.add("script_file")  # a unit file by path is a program to run
    if name in {"set-environment", "import-environment", "switch-root"}:
        reading.flags.add("tamper")


def _packages(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    if "admin" in reading.effects and any("/" in (word.text or "") for word in operands(words)):
        reading.flags.add("script_file")  # a package by path brings its own scripts
    if name == "edit-sources":
        reading.effects.add("execute")
        reading.flags.add("opaque")
    if name == "changelog":
        reading.flags.add("pager")
    if any(word.text is None and word.may_be_option for word in words) or has_option(words, "oc", ("option", "config-file")):
        reading.flags.add("dynamic_code")


def _npm(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    if "execute" in reading.effects:
        reading.flags.add("script_file")


def _aws(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    if "execute" in reading.effects:
        reading.flags.add("dynamic_code")
    if name == "s3 cp" and words and words[-1].text == "-":
        reading.effects.discard("write")
        reading.effects.add("read")


def service(reading: Reading, program: str, words: list[Word]) -> None:
    """service NAME ACTION."""
    texts = [word.text for word in words]
    if texts == ["--status-all"] or (len(texts) == 2 and texts[1] == "status"):
        reading.effects.add("read")
    else:
        reading.effects.add("admin")
    if any(text is None or "/" in text for text in texts):
        reading.flags.add("script_file")
    if len(texts) == 2 and texts[1]:
        reading.verbs.add(f"service:{texts[1]}")


def journalctl(reading: Reading, program: str, words: list[Word]) -> None:
    """journalctl has no subcommands; a few options are not about reading."""
    reading.flags.add("pager")
    changing = ("vacuum-size", "vacuum-time", "vacuum-files", "rotate", "flush", "sync", "setup-keys", "update-catalog",
                "relinquish-var", "smart-relinquish-var")  # fmt: skip
    exact = [name for name in changing if has_option(words, "", (name,))]
    reading.effects.add("admin" if exact else "read")
    if any(word.text is None and word.splits and word.may_be_option and not word.inert for word in words):
        reading.effects.add("admin")


_IP_READS = re.compile(r"sh(?:ow?)?|li(?:st?)?|ls|lst|get|help|monitor")


def ip(reading: Reading, program: str, words: list[Word]) -> None:
    """ip takes abbreviations, so only an unmistakable reading word reads; netns and vrf run commands."""
    texts = [word.text for word in words]
    plain = operands(words)
    if any(re.fullmatch(r"-b(?:a(?:t(?:ch?)?)?)?|-fo\w*|", text or "") for text in texts):
        reading.flags.add("script_file")
    if any(text in {"-n", "-netns", "-f", "-family", "-l", "-loops", "-rc"} for text in texts):
        plain = plain[1:]
    what = plain[0].text if plain else ""
    action = plain[1].text if len(plain) > 1 else "show"
    if what is None or action is None:
        reading.flags.add("dynamic_command")
        return
    if what and ("netns".startswith(what) or "vrf".startswith(what)) and "exec".startswith(action):
        reading.effects.update({"admin", "execute"})
        inner(reading, plain[3:] if plain[3:] == words[-len(plain[3:]) :] else words[words.index(plain[2]) + 1 :]
                        if len(plain) > 2 else [])  # fmt: skip
        reading.flags.update({"dynamic_command"} if len(plain) < 4 else ())
        return
    reads = not what or bool(_IP_READS.fullmatch(action))
    reading.effects.add("read" if reads else "admin")
    reading.verbs.add(f"ip:{what}" if what else "ip:help")


def dpkg(reading: Reading, program: str, words: list[Word]) -> None:
    """dpkg and rpm: query options read; everything else installs, and packages run scripts."""
    first = words[0].text or "" if words else ""
    queries = (
        r"-[lLsSpI]|--list|--listfiles|--status|--search|--get-selections|--print-architecture|--version|--audit|-C|--verify|-V"
    )
    if program == "rpm":
        queries = r"-q[a-zA-Z]*|--query|-V|--verify|--version|--checksig|-K"
        if has_option(words, "ED", ("eval", "define", "pipe", "macros", "load", "rcfile", "undefine", "predefine")):
            reading.flags.add("dynamic_code")
    if has_option(words, "", ("pre-invoke", "post-invoke", "status-logger", "path-exclude", "instdir", "root", "admindir")):
        reading.flags.add("dynamic_code")
    if any(word.text is None and word.may_be_option and not word.inert for word in words):
        reading.flags.add("dynamic_code")
    if re.fullmatch(queries, first):
        reading.effects.add("read")
        if program == "dpkg":
            reading.flags.add("pager")  # since 1.19: dpkg-query's
    else:
        reading.effects.add("admin")
        if not re.fullmatch(r"-[rPe]|--remove|--purge|--erase|--configure|--set-selections", first):
            reading.flags.add("script_file")


_SPECIAL: dict[str, Callable[[Reading, str, Parsed, list[Word]], None]] = {
    "git": git.subcommand, "docker": _docker, "podman": _docker, "docker-compose": lambda reading, name, parsed, words: _docker(
        reading, f"compose {name}", parsed, words),
    "kubectl": _kubectl, "oc": _kubectl, "systemctl": _systemctl, "npm": _npm, "pip": _npm, "pip3": _npm, "pipx": _npm,
    "aws": _aws, **dict.fromkeys(("apt", "apt-get", "yum", "dnf", "apk", "snap", "aptitude"), _packages),
}  # fmt: skip

CHECKERS: dict[str, Callable[[Reading, str, list[Word]], None]] = {
    **dict.fromkeys(TOOLS, tool), "service": service, "journalctl": journalctl, "ip": ip, "dpkg": dpkg, "rpm": dpkg,
}  # fmt: skip
