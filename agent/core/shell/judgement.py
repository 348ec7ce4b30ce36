"""What one program with these arguments does: effects, verbs, objects and flags."""

from __future__ import annotations

import re

from agent.core.shell import arguments, escapes, programs, served, subcommands
from agent.core.shell.builtins import BUILTINS
from agent.core.shell.launchers import LAUNCHERS
from agent.core.shell.options import has_option, operands
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word
from agent.core.shell.wrappers import PRIVILEGE

_VERSIONED = re.compile(
    r"((?:python|perl|ruby|php|lua|node|tclsh|gawk|gcc|clang|postgresql|pip|bash|zsh|ksh|guile))-?\d[\d.]*(?:-\w+)?"
)
# What rm's own options that make it recursive are made of, and what a pattern says besides.
_RECURSES = frozenset("-dfiIrRvcusev")
_WILD = re.compile(r"\[[^\]]*\]|[*?]")
_NO_DASH = re.compile(r"\[(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\]")
_LINE = re.compile(r"\+(?:\d*|G|F)")
_LOADED = "ld.so"
_LOADER = re.compile(r"ld(?:-linux[\w-]*|-musl[\w-]*|64|-[\d.]+)?\.so(?:\.\d+)*")
_CHECKERS = {**arguments.CHECKERS, **subcommands.CHECKERS, **served.CHECKERS, **BUILTINS}
_VERSION_ONLY = frozenset({"--version", "-V", "--help", "-version", "-v"})


def is_known(program: str) -> bool:
    """True if the name means something here, so giving it a new meaning is shadowing. `pip3` is a `pip`."""
    program = _unversioned(program)
    return program in programs.EFFECTS or program in LAUNCHERS or program in _CHECKERS


def _unversioned(program: str) -> str:
    versioned = _VERSIONED.fullmatch(program)
    if versioned:
        return versioned[1]
    return _LOADED if _LOADER.fullmatch(program) else program


def judge(reading: Reading, program: str, words: list[Word]) -> None:
    """Add what `program` with the arguments `words` means to the reading.

    A check may take back what the tables said of its own program, never what another command in the line does.
    """
    effects, flags = reading.effects, reading.flags
    reading.effects, reading.flags = set(), set()
    _judge(reading, program, words)
    effects |= reading.effects
    flags |= reading.flags
    reading.effects, reading.flags = effects, flags


def _judge(reading: Reading, program: str, words: list[Word]) -> None:
    name = _unversioned(program)
    if name != program and name != _LOADED:
        reading.verbs.add(name)
    _mark(reading, name)
    if not served.serves(name, words):
        _name_objects(reading, name, words)
    known = _add_effects(reading, name, words)
    _escapes(reading, name, words)
    if name in programs.INTERPRETERS:
        _interpreter(reading, words)
        return
    if name in programs.SCRIPT_RUNNERS and not _only_version(words):
        reading.flags.add("script_file")
    launcher = LAUNCHERS.get(name)
    if launcher is not None:
        known = True
        launcher(reading, name, words)
    checker = _CHECKERS.get(name)
    if checker is not None:
        known = True
        checker(reading, name, words)
    if not known:
        reading.effects.add("unknown")


def _mark(reading: Reading, name: str) -> None:
    if name in PRIVILEGE:
        reading.flags.add("privilege")
    if name in programs.NETWORK:
        reading.flags.add("network")
    if name in programs.OPAQUE:
        reading.flags.add("opaque")
        if (reading.piped or reading.stdin_moved) and name not in programs.PAGERS:
            reading.flags.add("code_from_stdin")  # `echo '\\! rm' | psql`


def _escapes(reading: Reading, name: str, words: list[Word]) -> None:
    escape = escapes.CODE.get(name) if not served.serves(name, words) else None
    if escape is not None and (
        has_option(arguments.beside_plain_ssh(name, words), *escape) or any(_loose(word, name) for word in words)
    ):
        reading.flags.add("dynamic_code")
    if name in programs.PLUS_COMMANDS:
        plus = [word for word in words if not word.prefix or word.prefix.startswith("+")]
        if any(not _LINE.fullmatch(word.text or "") for word in plus):
            reading.flags.add("dynamic_code")


def _loose(word: Word, program: str) -> bool:
    """A word that might turn into an option of a program whose options run code."""
    if word.text is None:
        return word.may_be_option and not word.inert
    return word.glob and program in escapes.GLOBS and word.may_be_option


def _add_effects(reading: Reading, name: str, words: list[Word]) -> bool:
    effects = programs.EFFECTS.get(name)
    if effects is None:
        return False
    reading.effects |= effects
    changing = escapes.CHANGING.get(name)
    if changing is not None:
        short, long, effect = changing
        if has_option(words, short, long) or any(word.text is None and _loose(word, name) for word in words):
            reading.effects.add(effect)
    return True


def _name_objects(reading: Reading, name: str, words: list[Word]) -> None:
    every = name in programs.PATH_OPERANDS or name in programs.NETWORK
    writes = "write" in programs.EFFECTS.get(name, ()) or "admin" in programs.EFFECTS.get(name, ())
    named = {id(word) for word in operands(words)} if every else set()
    for word in words:
        text = word.text
        if not text:
            continue
        head, equals, tail = text.partition("=")
        if equals and "/" in tail and "/" not in head:
            text = tail
        if id(word) in named or text.startswith(("/", "./", "../", "~/")) or "://" in text:
            arguments.note_path(reading, text, writes=writes and head != "if")
    if name == "rm" and (has_option(words, "rR", ("recursive",)) or _may_recurse(words)):
        reading.flags.add("recursive_delete")


def _may_recurse(words: list[Word]) -> bool:
    """True if rm could be told to be recursive by what is known only when the line runs, names of files included."""
    before = [word.text for word in words].index("--") if any(word.text == "--" for word in words) else None
    return any(word.may_be_option and _may_say_recursive(word) for word in words[:before])


def _may_say_recursive(word: Word) -> bool:
    if word.text is None:
        # A path, or a name with a dot, is no option of rm, unless it comes as several words.
        return not word.inert and (word.splits or _RECURSES.issuperset(word.known))
    return word.glob and not _NO_DASH.match(word.text) and _RECURSES.issuperset(_WILD.sub("", word.text))


def _only_version(words: list[Word]) -> bool:
    return len(words) == 1 and words[0].text in _VERSION_ONLY


def _interpreter(reading: Reading, words: list[Word]) -> None:
    """A language of its own: code in an option is not looked into, a file or standard input is not seen at all."""
    if _only_version(words):
        return
    reading.effects.add("execute")
    reading.flags.add("opaque")
    plain = operands(words)
    if any(word.text is None or (word.text.startswith("-") and word.text not in {"-", "-u", "-B", "-s"}) for word in words):
        reading.flags.add("dynamic_code")
    reading.flags.add("script_file" if plain and plain[0].text != "-" else "code_from_stdin")
