"""fish's own commands: those that no other shell has, and those that mean something else to it (fish, "Commands").

Each check reports what a command does, and returns False where it is the same as in other shells. What is not here and not known
elsewhere (`commandline`, `abbr`, `emit`, `argparse`, `fish_add_path`) is `unknown` like any program that nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agent.core.shell.environment import is_tamper
from agent.core.shell.options import names
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

Check = Callable[[Reading, list[Word]], bool]

#: Commands and functions of fish's that show their help in a pager.
HELPFUL: Final = names("""
    . abbr and argparse begin bg bind block builtin case cd command commandline complete contains disown else emit end
    exec exit fg for function functions history if isatty jobs math not or path pwd random read return set set_color
    source status string switch time type ulimit wait while alias dirh dirs fish_add_path fish_config fish_delta
    fish_opt funced funcsave nextd open popd prevd prompt_pwd psub pushd suspend trap umask vared
""")

#: A variable, and which elements of it.
_VARIABLE: Final = re.compile(r"([A-Za-z_]\w*)(?:\[[\d.\s-]*\])?", re.ASCII)
#: What the shell itself goes by.
_OWN: Final = names("argv umask history version hostname status pipestatus")
_SET: Final = re.compile(
    r"-[lfgUxuapqenSL]+|--(?:local|function|global|universal|export|unexport|append|prepend|query|erase|names|show|long|path|unpath)"
)
_ASKS: Final = re.compile(r"-[a-zA-Z]*[qnS][a-zA-Z]*|--(?:query|names|show)")
_ERASES: Final = re.compile(r"-[a-zA-Z]*e[a-zA-Z]*|--erase")
_KEEPS: Final = re.compile(r"-[a-zA-Z]*U[a-zA-Z]*|--universal")
_READ: Final = re.compile(
    r"-[slgfxuazLti]+|--(?:silent|local|global|function|export|unexport|array|list|null|line|tokenize)|-[nd].*|--(?:nchars|delimiter)=.*"
)
_VALUED: Final = frozenset({"-n", "-d", "-P", "--nchars", "--delimiter", "--prompt-str"})
_FINDS: Final = re.compile(r"-[asqv]+|--(?:all|search|query)")
_STATUS: Final = names("""
    is-login is-interactive is-block is-breakpoint is-command-substitution is-no-job-control is-full-job-control
    is-interactive-job-control current-command current-commandline filename current-filename basename dirname fish-path function
    line-number current-line-number stack-trace print-stack-trace features test-feature
    --is-login --is-interactive --is-block --is-command-substitution
""")
_FUNCTIONS: Final = re.compile(r"-[anqDv]+|--(?:all|names|query|details|verbose)")


def _reads(reading: Reading, words: list[Word]) -> bool:
    """It shows, compares or counts what it is given."""
    reading.effects.add("read")
    for word in words:
        if word.text and word.text.startswith(("/", "./", "../", "~/")):
            reading.path(word.text, writes=False)
    return True


def _set(reading: Reading, words: list[Word]) -> bool:
    """set: shows variables, asks for them, erases them, or gives one a value."""
    reading.effects.add("read")
    options: list[str] = []
    rest = list(words)
    while rest and (rest[0].text is None or rest[0].text.startswith("-")):
        option = rest.pop(0)
        if option.text == "--":
            break
        if option.text is None or not _SET.fullmatch(option.text):
            reading.flags.add("dynamic_code")
            return True
        options.append(option.text)
    if any(_KEEPS.fullmatch(option) for option in options):
        reading.effects.add("write")  # for every shell of the account, from now on
    if not rest or (any(_ASKS.fullmatch(option) for option in options) and not any(_ERASES.fullmatch(o) for o in options)):
        return True
    erases = any(_ERASES.fullmatch(option) for option in options)
    values = [word.text for word in rest[1:]]
    value = None if None in values else " ".join(each or "" for each in values)
    for word in rest if erases else rest[:1]:
        _assigned(reading, word, "" if erases else value)
    return True


def _assigned(reading: Reading, word: Word, value: str | None) -> None:
    """A variable that changes: which one has to be known, and must not be one that the shell or programs go by."""
    match = _VARIABLE.fullmatch(word.text or "")
    if match is None or word.glob:
        reading.flags.add("dynamic_code")
    elif match[1] in _OWN or is_tamper(match[1], value):
        reading.flags.add("tamper")


def _read(reading: Reading, words: list[Word]) -> bool:
    """read: a line into variables. Its prompt may be code (-p, -R), and -S completes as the prompt of the shell does."""
    reading.effects.add("read")
    rest = list(words)
    variables: list[Word] = []
    while rest:
        word = rest.pop(0)
        option = word.text
        if option == "--":
            variables += rest
            break
        if option in _VALUED and rest and not rest[0].splits:
            rest.pop(0)
        elif (
            option is None
            or word.glob
            or not (option[:1] != "-" or _READ.fullmatch(option) or option.startswith("--prompt-str="))
        ):
            reading.flags.add("dynamic_code")  # options may come behind the variables
        elif option[:1] != "-":
            variables.append(word)
    for word in variables:
        _assigned(reading, word, None)
    return True


def _command(reading: Reading, words: list[Word]) -> bool:
    """`command -v x` looks for a program. `command x` runs it, in every shell."""
    if words and words[0].text is not None and not words[0].text.startswith("-"):
        return False
    if words and _FINDS.fullmatch(words[0].text or ""):
        return _reads(reading, [])
    reading.flags.add("dynamic_command")
    return False


def _builtin(reading: Reading, words: list[Word]) -> bool:
    """`builtin x` is x, where the shell itself has it."""
    if words and words[0].text in {"-n", "--names", "-q", "--query"}:
        return _reads(reading, [])
    if not words or (words[0].text or "-").startswith("-"):
        reading.flags.add("dynamic_command")
        return False
    reading.command(words, [])
    return True


def _status(reading: Reading, words: list[Word]) -> bool:
    later = [word.text or "-" for word in words[1:]]
    if words and (words[0].text not in _STATUS or any(word.startswith("-") for word in later)):
        reading.flags.add("tamper")
    return _reads(reading, [])


def _functions(reading: Reading, words: list[Word]) -> bool:
    """functions: shows them. It erases and copies them as well."""
    if any(
        word.text is None or word.glob or (word.text.startswith("-") and not _FUNCTIONS.fullmatch(word.text)) for word in words
    ):
        reading.flags.update({"tamper", "shadowing"})
    return _reads(reading, [])


def _history(reading: Reading, words: list[Word]) -> bool:
    """history: what it finds is shown in a pager."""
    reading.flags.add("pager")
    if words and words[0].text == "search" and not any((word.prefix or word.text or "").startswith("-") for word in words):
        return _reads(reading, [])
    return False


def _help(reading: Reading, words: list[Word]) -> bool:
    """help: opens a browser, whichever that is."""
    reading.effects.add("execute")
    reading.flags.update({"opaque", "dynamic_code"})
    return True


BUILTINS: Final[dict[str, Check]] = {
    **dict.fromkeys(names("string math count contains random isatty set_color path printf test [ psub prevd nextd dirh"), _reads),
    "set": _set, "read": _read, "command": _command, "builtin": _builtin, "status": _status, "functions": _functions,
    "help": _help, "history": _history,
}  # fmt: skip
