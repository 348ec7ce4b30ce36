"""Shells, and the programs that hand words to one: sh -c, su -c, ssh host command."""

from __future__ import annotations

import re

from agent.core.shell.nested import code, inner, joined, starts_shell
from agent.core.shell.options import Parsed, Spec, leading
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word, literal
from agent.core.shell.wrappers import FOREIGN_SHELLS


def shell(reading: Reading, program: str, words: list[Word]) -> None:
    """sh -c code, sh file, or sh alone."""
    reading.effects.add("execute")
    if program in FOREIGN_SHELLS:
        reading.flags.add("dynamic_code")
    wants_code, rest = _shell_options(reading, words)
    if wants_code:
        code(reading, rest[0] if rest else None)
    elif rest:
        reading.flags.add("script_file" if rest[0].text is not None else "dynamic_code")
        reading.objects.update(word.text for word in rest[:1] if word.text)
    elif [word.text for word in words] not in (["--version"], ["--help"]):
        starts_shell(reading)


def _shell_options(reading: Reading, words: list[Word]) -> tuple[bool, list[Word]]:
    """Whether -c is among the options, and the words after them. Options go on after -c: the code comes last."""
    wants_code, at = False, 0
    while at < len(words):
        text = words[at].text
        if text is None or text in {"--", "-"} or text[:1] not in {"-", "+"} or len(text) == 1:
            at += text in {"--", "-"}
            break
        if text.startswith("--"):
            takes_value = text in {"--rcfile", "--init-file"}
            if text.split("=")[0] in {"--rcfile", "--init-file", "--command", "--init-command"}:
                reading.flags.add("script_file")
        else:
            takes_value = text.endswith(("o", "O"))
            wants_code = wants_code or "c" in text
            if "s" in text:
                reading.flags.add("code_from_stdin")
        at += 2 if takes_value else 1
    return wants_code, words[at:]


_SU_CODE = re.compile(r"-[flmpP]*c(.*)|--(?:session-)?command(?:=(.*))?", re.DOTALL)
_SU_VALUE = frozenset({"-g", "-G", "-w", "--group", "--supp-group", "--whitelist-environment"})


def su(reading: Reading, program: str, words: list[Word]) -> None:
    """su and runuser: -c code anywhere; what follows the user goes to the shell."""
    if program == "runuser" and any((word.text or "").startswith(("-u", "--user")) for word in words):
        parsed = leading(words, Spec("uG", "g", frozenset({"user", "group"})))
        if not parsed.sure:
            reading.flags.add("dynamic_command")
        inner(reading, parsed.rest)
        return
    found, at, plain = False, 0, 0
    while at < len(words):
        text = words[at].text
        match = _SU_CODE.fullmatch(text or "")
        if text is None:
            if words[at].may_be_option:
                reading.flags.add("dynamic_code")
        elif match:
            found = True
            attached = match[1] or match[2]
            code(reading, literal(attached) if attached else words[at + 1] if at + 1 < len(words) else None)
            at += not attached
        elif text in {"-s", "--shell"} or text.startswith("--shell="):
            reading.flags.add("dynamic_code")
            at += "=" not in text
        elif text in _SU_VALUE:
            at += 1
        elif not text.startswith("-"):
            plain += 1
        at += 1
    if plain > 1:
        reading.flags.add("dynamic_code")
    if not found:
        starts_shell(reading)


SSH = Spec("BbcDEeFIiJLlmOoPpQRSWw", "46AaCfGgKkMNnqsTtVvXxYy")
_SSH_CODE = re.compile(
    r"\s*(?:ProxyCommand|LocalCommand|PermitLocalCommand|KnownHostsCommand|Match|Include|PKCS11Provider"
    r"|SecurityKeyProvider|XAuthLocation|ProxyUseFdpass|SmartcardDevice)\b",
    re.IGNORECASE,
)


_SSH_FORWARD = re.compile(r"\s*(?:Local|Remote|Dynamic)Forward\b", re.IGNORECASE)


def ssh(reading: Reading, program: str, words: list[Word]) -> None:
    """ssh [options] host [command…]: options may follow the host, the command is joined and parsed over there."""
    parsed = leading(words, SSH)
    options, rest = parsed.options, parsed.rest
    host, rest = (rest[:1], rest[1:])
    again = leading(rest, SSH)
    if host and host[0].may_be_option:
        reading.flags.add("dynamic_code")
    if not parsed.sure or not again.sure:
        reading.flags.add("dynamic_command")
    reading.objects.update(word.text for word in host if word.text)
    both = Parsed(options + again.options)
    for value in both.values("o"):
        if value.text is None or _SSH_CODE.match(value.text):
            reading.flags.add("dynamic_code")
            if value.text and re.match(r"\s*(?:Proxy|Local|KnownHosts)Command", value.text, re.IGNORECASE):
                reading.text(re.split(r"[\s=]+", value.text.strip(), maxsplit=1)[-1])
    if both.has("L", "R", "D", "W") or any(_SSH_FORWARD.match(value.text or "") for value in both.values("o")):
        # What goes through such a port is not in the line, and the gateway's own rules about ports do not see it.
        reading.verbs.add("ssh:forward")
        reading.effects.update({"read", "write"})
    if both.has("F", "I", "S", "w"):
        reading.flags.add("dynamic_code")
    if again.rest:
        joined(reading, again.rest)
    elif host and not both.has("N", "G", "O"):
        starts_shell(reading)
