"""sed and awk: small languages given as an argument, in which a few commands start programs or write files.

The recognisers are lists of what is harmless. What they do not recognise is code.
"""

from __future__ import annotations

import re

from agent.core.shell.options import has_option
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

# -- sed ---------------------------------------------------------------------------------------------------------------

_SED_ADDRESS = re.compile(r"(?:\d+(?:~\d+)?|\$|/(?:\\.|[^/\\\n])*/[IM]*|\+\d+|~\d+)")
_SED_FLAGS = re.compile(r"[gpiImM0-9]*")


def sed(reading: Reading, program: str, words: list[Word]) -> None:
    """sed: recognise the commands that only edit text; `e` runs a program, `w` writes a file (GNU sed manual, 3.2, 3.8)."""
    if has_option(words, "f", ("file",)) and any((word.text or "")[:1] == "-" and re.match(
        r"-[nErszui]*f|--fi", word.text or "") for word in words):  # fmt: skip
        reading.flags.add("script_file")
    scripts = _sed_scripts(words)
    if any(word.text is None and word.may_be_option and not word.inert for word in words):
        reading.flags.add("dynamic_code")
    for script in scripts:
        verdict = "code" if script.text is None else sed_script(script.text)
        if verdict == "code":
            reading.flags.add("dynamic_code")
        elif verdict == "write":
            reading.effects.add("write")


def _sed_scripts(words: list[Word]) -> list[Word]:
    found: list[Word] = []
    plain: list[Word] = []
    at = 0
    while at < len(words):
        text = words[at].text if words[at].text is not None else words[at].prefix
        text = text or ""
        if re.fullmatch(r"-[nErszu]*e|--expression", text):
            found.extend(words[at + 1 : at + 2])
            at += 1
        elif re.match(r"-[nErszu]*e.", text) or text.startswith("--e"):
            value = text.partition("=")[2] if text.startswith("--") else text.split("e", 1)[1]
            found.append(Word(value if words[at].text is not None else None))
        elif not text.startswith("-") or text == "-":
            plain.append(words[at])
        at += 1
    return found or plain[:1]


def sed_script(script: str) -> str:
    """`safe`, `write` or `code`: what a sed script can do. What is not recognised is `code`."""
    at, verdict = 0, "safe"
    while True:
        at = _skip(script, at, " \t\n;{}")
        if at >= len(script):
            return verdict
        at = _sed_addresses(script, at)
        if at < 0 or at >= len(script):
            return "code"
        at, done = _sed_command(script, at + 1, script[at])
        if done == "code":
            return "code"
        verdict = done if done == "write" else verdict


def _skip(script: str, at: int, blanks: str) -> int:
    while at < len(script) and script[at] in blanks:
        at += 1
    return at


def _sed_addresses(script: str, at: int) -> int:
    match = _SED_ADDRESS.match(script, at)
    if match:
        at = _skip(script, match.end(), " \t")
        if script[at : at + 1] == ",":
            match = _SED_ADDRESS.match(script, _skip(script, at + 1, " \t"))
            if not match:
                return -1
            at = match.end()
    return _skip(script, at, " \t!")


def _sed_command(script: str, at: int, letter: str) -> tuple[int, str]:
    """The position after one command, and what it does."""
    if letter in "{}":
        return at, "safe"
    if letter in "sy":
        at, writes = _sed_substitute(script, at, letter)
        return at, "code" if at < 0 else "write" if writes else "safe"
    if letter in "pdqQ=nNhHgGxDPlFz":
        if letter in "qQl":
            at = _skip(script, at, " \t0123456789")
        ended = at >= len(script) or script[at] in " \t\n;}#"
        return at, "safe" if ended else "code"
    if letter not in "btT:#aicrRwW":
        return at, "code"
    end = script.find("\n", at)
    line = script[at:] if end < 0 else script[at:end]
    if letter in "btT:" and ";" in line:
        # Some versions end a label at the semicolon; reading on finds what they would run.
        return at + line.index(";"), "safe"
    if letter in "aic" and line.endswith("\\"):
        # The text goes on; where it ends is not worth guessing.
        return len(script), "code" if script.count("\n", at) > 1 else "safe"
    return at + len(line), "write" if letter in "wW" else "safe"


def _sed_substitute(script: str, at: int, letter: str) -> tuple[int, bool]:
    if at >= len(script) or script[at] in "\\\n":
        return -1, False
    delimiter = script[at]
    at += 1
    for _ in range(2):
        while at < len(script) and script[at] != delimiter:
            at += 2 if script[at] == "\\" else 1
        if at >= len(script):
            return -1, False
        at += 1
    match = _SED_FLAGS.match(script, at)
    at = match.end() if match and letter == "s" else at
    if at < len(script) and script[at] == "w" and letter == "s":
        end = script.find("\n", at)
        return len(script) if end < 0 else end, True
    if at < len(script) and script[at] not in " \t\n;}#":
        return -1, False
    return at, False


# -- awk ---------------------------------------------------------------------------------------------------------------

_AWK_CODE = re.compile(r"system|getline|\|&|@|PROCINFO|extension")
_AWK_OPTIONS = re.compile(r"-F.*|-v.*|--field-separator.*|--assign.*|--|-[cCStOPr]|--posix|--re-interval|--sandbox")


def awk(reading: Reading, program: str, words: list[Word]) -> None:
    """awk: the program text may start others (system, pipes, getline) or write files (POSIX awk, "Output Statements")."""
    at = 0
    while at < len(words):
        text = words[at].text
        if text is None:
            if words[at].may_be_option:
                reading.flags.add("dynamic_code")
            break
        if not text.startswith("-"):
            break
        if not _AWK_OPTIONS.fullmatch(text):
            reading.flags.add("script_file" if text.startswith(("-f", "--file")) else "dynamic_code")
        at += 2 if text in {"-F", "-v", "--assign", "--field-separator"} else 1
        if text == "--":
            break
    if at >= len(words) or words[at].text is None or words[at].glob:
        reading.flags.add("dynamic_code")
        return
    script = words[at].text or ""
    after = script.partition("print")[2]
    if _AWK_CODE.search(script) or "|" in after.replace("||", ""):
        reading.flags.add("dynamic_code")
    if ">" in after:
        reading.effects.add("write")
