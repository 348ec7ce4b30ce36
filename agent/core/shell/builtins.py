"""Shell builtins that change what later commands mean, or whose arguments are code (bash manual, 4.1-4.3)."""

from __future__ import annotations

import fnmatch
import re
import string
from itertools import pairwise

from agent.core.shell.environment import is_tamper
from agent.core.shell.nested import inner
from agent.core.shell.options import has_option, operands
from agent.core.shell.reading import Reading
from agent.core.shell.words import UNKNOWN, Word, sleeps

#: Words with which stty only tells.
_TELLS = frozenset({"-a", "--all", "-g", "--save", "size", "speed"})
_NAME = re.compile(r"([A-Za-z_]\w*)", re.ASCII)
#: The beginning of a word that may go on as a variable's name, or in the brackets behind one.
_VARIABLE = re.compile(r"(?:[A-Za-z_]\w*(?:\[.*)?)?", re.ASCII | re.DOTALL)
#: `read -e`, and what may become it.
_EDITED, _CLUSTER = re.compile(r"-[rs]*e"), re.compile(r"-[rs]*")
#: `a[0]` without quotes is a pattern too, and becomes `a0` where a file is called so.
_ELEMENT = re.compile(r"([A-Za-z_]\w*)\[[\w@]*\]", re.ASCII)
#: A conversion of printf: what stands before its letter, and the letter.
_CONVERSION = re.compile(r"%([^a-zA-Z%]*)[hlLjzt]*([a-zA-Z%])")
_NAMED = string.ascii_letters + string.digits + "_"


def _expanded(words: list[Word]) -> list[Word]:
    """Words where the shell looks for names. A pattern may become any: `unset P*` is about a file `PATH`."""
    return [UNKNOWN if word.glob and not _is_element(word.text or "") else word for word in words]


def _is_element(text: str) -> bool:
    element = _ELEMENT.fullmatch(text)
    return element is not None and not any(is_tamper(element[1] + char) for char in _NAMED)


def evaluate(reading: Reading, program: str, words: list[Word]) -> None:
    """eval: literal arguments are read as code."""
    reading.flags.add("eval")
    known = [word.text for word in words if word.text is not None]
    if len(known) < len(words):
        reading.flags.add("dynamic_code")
    reading.text(" ".join(known))
    reading.variables.clear()


def source(reading: Reading, program: str, words: list[Word]) -> None:
    """source and `.`: the file's content is not in the line."""
    reading.flags.update({"source", "script_file"})
    reading.effects.add("execute")
    reading.variables.clear()


def trap(reading: Reading, program: str, words: list[Word]) -> None:
    """trap: code for later; also the way to catch what guards the session."""
    rest = [word for word in words if word.text not in {"--", "-"}]
    if not rest or all(word.text in {"-l", "-p"} for word in rest):
        return
    reading.flags.add("tamper")
    if rest[0].text is None:
        reading.flags.add("dynamic_code")
    elif len(rest) > 1:
        reading.text(rest[0].text)


def alias(reading: Reading, program: str, words: list[Word]) -> None:
    """alias name=code; and in fish, alias name code."""
    words = _expanded(words)
    if sum(word.text is None or not word.text.startswith("-") for word in words) > 1:
        reading.flags.add("shadowing")
    for word in words:
        if word.text is None or "=" in word.text:
            reading.flags.add("shadowing")
            reading.text((word.text or "").partition("=")[2])


def declare(reading: Reading, program: str, words: list[Word]) -> None:
    """export, declare, local, readonly, typeset: assignments by another road."""
    words = _expanded(words)
    options = "".join(word.text[1:] for word in words if word.text and word.text[0] == "-")
    shows = program == "export" or bool(set(options) & set("pfF"))
    for word in words:
        text = word.text if word.text is not None else word.prefix
        if word.text is None and "=" not in word.prefix:
            reading.flags.add("dynamic_code")
        if text.startswith(("-", "+")):
            _attributes(reading, program, text)
        match = _NAME.match(text)
        value = None if word.text is None else text.partition("=")[2]
        # Without a value, a name becomes empty in a function, or read-only, or its values are changed.
        if match and is_tamper(match[1], value) and ("=" in text or "[" in text or not shows):
            reading.flags.add("tamper")
        if sleeps(text) or _is_list(reading, program, word, options):
            reading.flags.add("dynamic_code")
        if match and set(options) & set("aA"):
            reading.arrays.add(match[1])
        _subscript(reading, text.partition("=")[0])
    if program in {"export", "readonly"} and has_option(words, "f"):
        reading.flags.add("tamper")
    if any("=" in (word.text or "") for word in words):
        reading.variables.clear()


def _attributes(reading: Reading, program: str, text: str) -> None:
    if "m" in text:
        reading.flags.add("tamper")  # zsh: what follows are patterns of names
    if program in {"export", "readonly"}:
        return
    if "T" in text:
        reading.flags.add("tamper")  # zsh: two names of one value
    if "n" in text:
        reading.flags.add("tamper")  # a name reference: any later assignment goes elsewhere
    if "i" in text:
        reading.flags.add("dynamic_code")  # values are evaluated as arithmetic
    if set(text) & set("luc"):
        reading.variables.clear()


def _is_list(reading: Reading, program: str, word: Word, options: str) -> bool:
    """`declare -a "a=$x"`: bash reads the value as a list where it stands in brackets, and runs what is in it."""
    name, equals, value = (word.prefix if word.text is None else word.text).partition("=")
    if word.text is not None:
        return value[:1] == "(" and sleeps(value, "(")
    if not equals or word.inert or program == "export":
        return False
    # Earlier lines may have made it an array.
    perhaps = reading.carried and program in {"declare", "typeset"}
    return perhaps or bool(set(options) & set("aA")) or name.removesuffix("+") in reading.arrays


def sets_variables(reading: Reading, program: str, words: list[Word]) -> None:
    """read, mapfile, getopts, printf -v, unset, wait -p, let: name variables as words."""
    if program == "printf" and not has_option(words[:1], "v"):
        if any(word.splits and word.may_be_option for word in _expanded(words[:1])):
            reading.flags.add("dynamic_code")  # `printf $x`: all three words of `-v name value` may be in it
        _perhaps_names(reading, words[:2])
        counts(reading, program, _numbers(words))
        return
    if program == "unset" and has_option(words, "m"):
        reading.flags.add("tamper")  # zsh: what follows are patterns of names
    if program == "wait" and not has_option(words, "p"):
        _perhaps_names(reading, words)
        return
    reading.variables.clear()
    words = _expanded(words[:2] if program == "printf" else words)
    if program in {"mapfile", "readarray"} and has_option(words, "C"):
        reading.flags.add("dynamic_code")
    for word in words:
        if word.text is not None:
            _variable_word(reading, program, word.text)
        elif word.splits or program == "let" or _VARIABLE.fullmatch(word.prefix):
            reading.flags.add("dynamic_code")
    if program == "read":
        reading.tainted.add("REPLY")
        if any(_EDITED.match(word.text or "") or (word.text is None and _CLUSTER.fullmatch(word.prefix)) for word in words):
            # The shell's own line editor, with the keys that expand a line or open it in an editor.
            reading.flags.update({"opaque", "dynamic_code"})


def _perhaps_names(reading: Reading, words: list[Word]) -> None:
    """`printf "$x" PATH`: the first word may turn out to be `-v`, and the second the name of a variable."""
    if any(word.text is None and word.may_be_option for word in words[:1]):
        for word in words[1:]:
            match = _NAME.match(word.text or "")
            if match and (is_tamper(match[1]) or reading.integer(match[1]) or "[" in (word.text or "")):
                reading.flags.add("dynamic_code")


def _variable_word(reading: Reading, program: str, text: str) -> None:
    match = _NAME.match(text)
    if match:
        if program == "let":
            reading.evaluates(_NAME.findall(text))
        else:
            _subscript(reading, text)
            reading.tainted.add(match[1])
        known = program == "unset" or "=" in text
        if is_tamper(match[1], text.partition("=")[2] if known else None):
            reading.flags.add("tamper")
        if reading.integer(match[1]) and program not in {"unset", "getopts"}:
            reading.flags.add("dynamic_code")
    if sleeps(text):
        reading.flags.add("dynamic_code")


def _subscript(reading: Reading, text: str) -> None:
    """`read 'a[i]'`: what stands in brackets is arithmetic."""
    reading.evaluates(_NAME.findall(text.partition("[")[2]))


def counts(reading: Reading, program: str, words: list[Word]) -> None:
    """exit, return, shift, break, continue, and numbers of printf: to zsh, arithmetic. bash takes nothing but digits."""
    for word in words:
        if word.text is None:
            if reading.zsh and not word.inert:
                _counted(reading, word.of)
        elif sleeps(word.text):
            reading.flags.add("dynamic_code")
        elif reading.zsh:
            reading.evaluates(_NAME.findall(word.text))


def _counted(reading: Reading, name: str) -> None:
    """A variable whose value is arithmetic. It is a number where the line itself, and only that, says so."""
    if name in reading.assigned or name == "PIPESTATUS":
        reading.evaluates([name])
    else:
        reading.flags.add("dynamic_code")


def _numbers(words: list[Word]) -> list[Word]:
    """Words of printf behind its format that may be taken for numbers. The format is used as often as there are words for it."""
    form, rest = words[0].text if words else None, words[1:]
    if form is None or "$" in form or any(word.splits for word in rest):
        return rest if form is None or _CONVERSION.search(form) else []
    taken: list[bool] = []
    for before, letter in _CONVERSION.findall(form):
        if letter != "%":
            taken += [True] * before.count("*") + [letter in "diouxXeEfFgGaA"]
    return [word for at, word in enumerate(rest) if taken and taken[at % len(taken)]]


def test(reading: Reading, program: str, words: list[Word]) -> None:
    """test -v and -R evaluate a subscript; `[[ -eq` is found by the walk."""
    words = [UNKNOWN if word.glob and is_operator(word.text or "") else word for word in words]
    if any(word.text is not None and sleeps(word.text) for word in words):
        reading.flags.add("dynamic_code")
    if any(word.text is None and word.splits for word in words):
        reading.flags.add("dynamic_code")  # it may become several words, `-v` and a subscript among them
    if any(word.text is None and following.text and "[" in following.text for word, following in pairwise(words)):
        reading.flags.add("dynamic_code")
    if any(word.text in {"-v", "-R"} for word in words):
        for word in words:
            _subscript(reading, word.text or "")
    evaluates = {"-v", "-R", "-t"} if reading.zsh else {"-v", "-R"}
    if any(word.text in evaluates for word in words) and any(word.text is None or word.glob for word in words):
        reading.flags.add("dynamic_code")


def is_operator(pattern: str) -> bool:
    """True if a file may be called so that ``pattern`` becomes `-v` or `-R`."""
    return "[" in pattern or any(fnmatch.fnmatchcase(each, pattern) for each in ("-v", "-R"))


def jobs(reading: Reading, program: str, words: list[Word]) -> None:
    """jobs lists; `jobs -x` runs a command, with numbers of processes in place of `%1`."""
    if any(word.may_be_option and word.text is None for word in _expanded(words)):
        reading.flags.add("dynamic_code")
    if has_option(words, "x"):
        at = next((at for at, word in enumerate(words) if not (word.text or "").startswith("-")), len(words))
        inner(reading, words[at:])


_HARMLESS_SET = frozenset(
    {"-e", "-u", "-x", "-eu", "-ex", "-eux", "-ue", "-euo", "-o", "pipefail", "errexit", "nounset", "xtrace", "+e", "+x",
     "+u", "-f", "+f", "noglob", "-C", "noclobber"}
)  # fmt: skip


def set_options(reading: Reading, program: str, words: list[Word]) -> None:
    """set: `-e` and its kin are ordinary; the rest reaches history, aliases, traps or the positional parameters."""
    if any(word.text not in _HARMLESS_SET for word in words):
        reading.flags.add("tamper")


def tampering(reading: Reading, program: str, words: list[Word]) -> None:
    """Builtins that exist to change the shell itself, when given arguments."""
    if words and not all(word.text in {"-p", "-l", "-q", "-s", "-a"} for word in words):
        reading.flags.add("tamper")


def enable(reading: Reading, program: str, words: list[Word]) -> None:
    """enable -f loads code, -n lets a file of the same name run instead."""
    if words and not all(word.text in {"-a", "-p", "-s"} for word in words):
        reading.flags.update({"shadowing", "tamper"})


def hash_table(reading: Reading, program: str, words: list[Word]) -> None:
    """hash -p path name."""
    if any(word.text != "-r" for word in words):
        reading.flags.add("shadowing")


def completion(reading: Reading, program: str, words: list[Word]) -> None:
    """complete and compgen run commands, functions and word lists with expansions."""
    if has_option(words, "CFWXAP"):
        reading.flags.add("dynamic_code")
    if program != "compgen" and words:
        reading.flags.add("tamper")


def history(reading: Reading, program: str, words: list[Word]) -> None:
    """history prints; with options it clears or replaces what was recorded. fc edits and runs."""
    if program == "fc" and not has_option(words, "l"):
        reading.flags.add("dynamic_code")
        reading.effects.add("execute")
    elif any(not (word.text or "x").isdigit() for word in words) and program == "history":
        reading.flags.add("tamper")


def terminal(reading: Reading, program: str, words: list[Word]) -> None:
    """stty tells the terminal's settings, or changes them: what is echoed, and which keys interrupt."""
    if any(word.text not in _TELLS for word in words):
        reading.flags.add("tamper")


def limits(reading: Reading, program: str, words: list[Word]) -> None:
    """ulimit and umask with a value change what later commands can do or create; that is the user's own session."""
    if operands(words):
        reading.effects.add("write")


BUILTINS = {
    "eval": evaluate, "source": source, ".": source, "trap": trap, "alias": alias, "unalias": tampering,
    **dict.fromkeys(("export", "declare", "typeset", "local", "readonly"), declare),
    **dict.fromkeys(("read", "mapfile", "readarray", "getopts", "printf", "unset", "unsetenv", "wait", "let"), sets_variables),
    "test": test, "[": test, "set": set_options, "shopt": tampering, "bind": tampering, "setopt": tampering,
    "unsetopt": tampering, "emulate": tampering, "zmodload": tampering, "autoload": tampering, "stty": terminal,
    "enable": enable, "disable": enable, "hash": hash_table, "rehash": hash_table, "complete": completion,
    "compopt": completion, "compgen": completion, "history": history, "fc": history, "jobs": jobs,
    "ulimit": limits, "umask": limits, **dict.fromkeys(("exit", "return", "shift", "break", "continue", "logout"), counts),
}  # fmt: skip
