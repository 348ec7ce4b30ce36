"""Reading the options that stand before the command in `sudo -u root rm x`, in the manner of getopt_long.

An option we do not know makes everything after it uncertain: it might take the next word. That is `sure = False`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from agent.core.shell.words import Word


def names(text: str) -> frozenset[str]:
    """A table's cell: names separated by blanks."""
    return frozenset(text.split())


class Spec(msgspec.Struct, frozen=True):
    """The options of one program that runs another.

    value, flag: letters of short options with and without a value. long_value, long_flag: the same for long ones.
    operands: words between the options and the command. assigns: NAME=value words may come before the command.
    alone: what happens without a command: `shell` starts one, `harmless` only prints, `code` reads code.
    numeric: `-10` is an option. appends: arguments that are not in the line are added to the command.
    """

    value: str = ""
    flag: str = ""
    long_value: frozenset[str] = frozenset()
    long_flag: frozenset[str] = frozenset()
    operands: int = 0
    assigns: bool = False
    alone: str = "harmless"
    numeric: bool = False
    appends: bool = False


@dataclass(slots=True)
class Parsed:
    """`options` in order, with the value when there is one; `rest` from the first operand on."""

    options: list[tuple[str, Word | None]] = field(default_factory=list)
    rest: list[Word] = field(default_factory=list)
    sure: bool = True

    def values(self, *names: str) -> list[Word]:
        """The values given to any of these options."""
        return [value for name, value in self.options if name in names and value is not None]

    def has(self, *names: str) -> bool:
        """True if any of these options is present."""
        return any(name in names for name, _ in self.options)


def leading(words: list[Word], spec: Spec) -> Parsed:
    """Options up to the first operand (or `--`)."""
    parsed = Parsed()
    at = 0
    while at < len(words):
        text = words[at].text
        if text is None or words[at].glob:
            parsed.sure = parsed.sure and not words[at].may_be_option
            break
        if text == "--":
            at += 1
            break
        if not text.startswith("-") or text == "-":
            break
        if spec.numeric and text[1:].isdigit():
            at += 1
        elif text.startswith("--"):
            at += _long(words, at, spec, parsed)
        else:
            at += _short(words, at, spec, parsed)
    parsed.rest = words[at:]
    return parsed


def _long(words: list[Word], at: int, spec: Spec, parsed: Parsed) -> int:
    name, equals, value = (words[at].text or "")[2:].partition("=")
    if name in spec.long_value:
        if equals:
            parsed.options.append((name, Word(value, value)))
            return 1
        parsed.options.append((name, words[at + 1] if at + 1 < len(words) else None))
        return 2
    parsed.sure = parsed.sure and name in spec.long_flag
    parsed.options.append((name, Word(value, value) if equals else None))
    return 1


def _short(words: list[Word], at: int, spec: Spec, parsed: Parsed) -> int:
    cluster = (words[at].text or "")[1:]
    for position, letter in enumerate(cluster):
        if letter in spec.value:
            attached = cluster[position + 1 :]
            if attached:
                parsed.options.append((letter, Word(attached, attached)))
                return 1
            value = words[at + 1] if at + 1 < len(words) else None
            parsed.sure = parsed.sure and (value is None or not value.splits)
            parsed.options.append((letter, value))
            return 2
        parsed.sure = parsed.sure and letter in spec.flag
        parsed.options.append((letter, None))
    return 1


# Long options of their own that happen to begin another one.
_COMPLETE = frozenset({"checkpoint"})


def has_option(words: list[Word], short: str, long: tuple[str, ...] = ()) -> bool:
    """True if any word could be one of these options, wherever it stands: clusters, abbreviations, attached values.

    Errs towards True: a letter anywhere in a cluster counts, because a value glued to an option looks the same.
    """
    for word in words:
        text = word.prefix if word.text is None else word.text
        if text == "--":
            return False
        if text.startswith("--"):
            name = text[2:].split("=")[0]
            if name and name not in _COMPLETE and any(option.startswith(name) for option in long):
                return True
        elif text.startswith("-") and any(letter in short for letter in text[1:]):
            return True
    return False


def operands(words: list[Word]) -> list[Word]:
    """Words that are not options (values of options included: we err towards naming too much)."""
    found, only = [], False
    for word in words:
        text = word.prefix if word.text is None else word.text
        if text == "--" and not only:
            only = True
        elif only or not text.startswith("-") or text == "-":
            found.append(word)
    return found
