"""git's subcommands: options that name programs, settings, remote helpers, and where git opens the person's editor."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agent.core.shell.options import Parsed, has_option, operands
from agent.core.shell.reading import Reading
from agent.core.shell.subcommand_tables import GIT_CODE, GIT_CODE_SHORT, GIT_SAFE_CONFIG, GIT_SAFE_SETTINGS
from agent.core.shell.words import Word


class Editing(msgspec.Struct, frozen=True):
    """When a subcommand opens an editor. Options as single letters and as long names.

    opens: what has it open one. quiet: what keeps it from that where it would otherwise. asks: what it opens one for, where not
    for everything; None for everything.
    """

    opens: tuple[str, tuple[str, ...]] = ("", ())
    quiet: frozenset[str] = frozenset()
    asks: tuple[str, tuple[str, ...]] | None = ("", ())


_MESSAGE: Final = frozenset({"-m", "-F", "--message", "--file"})
_REUSE: Final = frozenset({"-C", "--reuse-message", "--no-edit"})
_MERGE: Final = frozenset({"--no-edit", "--ff-only", "--squash", "--no-commit", "--abort", "--quit"})
_PATCH: Final = Editing(("p", ("patch",)))
EDITING: Final[dict[str, Editing]] = {
    "add": Editing(("eip", ("edit", "interactive", "patch"))),
    **dict.fromkeys(("checkout", "restore", "reset", "stash"), _PATCH),
    "commit": Editing(("ecp", ("edit", "reedit-message", "patch", "interactive")), _MESSAGE | _REUSE | {"--dry-run"}, None),
    "tag": Editing(("e", ("edit",)), _MESSAGE, ("a", ("annotate",))),
    "notes": Editing(("c", ("reedit-message",)), _MESSAGE | _REUSE, None),
    "branch": Editing(("", ("edit-description",))),
    "rebase": Editing(("i", ("interactive", "edit-todo", "continue"))),
    "merge": Editing(("e", ("edit", "continue")), _MESSAGE | _MERGE, None),
    "pull": Editing(("e", ("edit",)), _MERGE | {"-r", "--rebase"}, None),
    "revert": Editing(("e", ("edit", "continue")), _MERGE | {"-n", "--skip"}, None),
    "cherry-pick": Editing(("e", ("edit", "continue"))),
    "am": Editing(("i", ("interactive",))),
}
#: Options without a value, behind which another one is one.
_FLAGS: Final = re.compile(
    r"-[aqsvn]+|--(?:all|amend|quiet|signoff|verbose|no-verify|allow-empty|annotate|no-ff|ff|prune|autostash)"
)
_CONFIG_SCOPE: Final = frozenset({"--global", "--local", "--system", "--worktree", "--add"})
_CONFIG_READS: Final = frozenset({"-l", "--list", "--get", "--get-all", "get", "list"})


def subcommand(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    """Note what ``git name words`` does beside what its name says. ``parsed`` is what stands before the name."""
    _code(reading, name, parsed, words)
    texts = [word.text for word in words]
    if has_option(words, "o" if name == "archive" else "", ("output",)):
        reading.effects.add("write")
    if name in {"clone", "fetch", "pull", "push", "ls-remote", "remote"} or (
        name == "archive" and has_option(words, "", ("remote",))
    ):
        reading.flags.add("network")
    if name == "branch" and all(text in {"-a", "-r", "-v", "-vv", "--list", "--all", "--show-current"} for text in texts):
        reading.effects.discard("write")
        reading.effects.add("read")
    if name == "remote" and all(text in {"-v", "show", "get-url", "origin"} for text in texts):
        reading.effects.discard("write")
        reading.effects.add("read")
    if name == "config":
        _config(reading, words)
    if opens_editor(name, words):
        reading.effects.add("execute")
        reading.flags.add("opaque")


def _code(reading: Reading, name: str, parsed: Parsed, words: list[Word]) -> None:
    for value in parsed.values("c"):
        key = (value.text or "").partition("=")[0].lower()
        if key not in GIT_SAFE_CONFIG:
            reading.flags.add("dynamic_code")  # core.sshCommand, core.pager, alias.*: most keys can name a program
    texts = [word.text for word in words]
    if has_option(words, GIT_CODE_SHORT.get(name, ""), GIT_CODE) or any(
        word.text is None and word.may_be_option and not word.inert for word in words
    ):
        reading.flags.add("dynamic_code")
    if any(text is not None and re.match(r"(?:--remote=)?[\w+.-]+::", text) for text in texts):
        reading.flags.add("dynamic_code")  # remote helpers run programs
    if name in {"submodule", "bisect"} and ("foreach" in texts or "run" in texts):
        reading.flags.add("dynamic_code")


def _config(reading: Reading, words: list[Word]) -> None:
    texts = [word.text for word in words]
    plain = [word.text for word in operands(words)]
    if len(plain) == 2 and (plain[0] or "").lower() in GIT_SAFE_SETTINGS and {*texts} - {*plain} <= _CONFIG_SCOPE:
        return
    reads = len(plain) == 1 and "." in (plain[0] or "") and {*texts} - {*plain} <= _CONFIG_SCOPE - {"--add"}
    if reads or any(text in _CONFIG_READS for text in texts):
        reading.effects.discard("admin")
        reading.effects.add("read")
    else:
        reading.flags.add("dynamic_code")


def opens_editor(name: str, words: list[Word]) -> bool:
    """True where ``git name words`` may open an editor, in which anything else can be typed."""
    row = EDITING.get(name)
    if row is None or (name == "notes" and not any(word.text in {"add", "append", "edit"} for word in words)):
        return False
    bare = _without_values(words)
    if has_option(bare, *row.opens):
        return True
    if row.asks is not None and not has_option(bare, *row.asks):
        return False
    return not _quiet(row.quiet, bare)


def _without_values(words: list[Word]) -> list[Word]:
    """The words, without what is glued to a letter that takes a value (`-mfix`)."""
    found = []
    for word in words:
        text = word.prefix if word.text is None else word.text
        if text.startswith("-") and not text.startswith("--"):
            text = re.sub(r"(?<=[mFCcut]).*", "", text, flags=re.DOTALL)
        found.append(Word(text, text))
    return found


def _quiet(quiet: frozenset[str], words: list[Word]) -> bool:
    """True if one of these options is there for sure: in full, and where no option before it takes it for its value."""
    before = ""
    for word in words:
        text = word.prefix
        if text == "--":
            return False
        name = text.partition("=")[0] if text.startswith("--") else text[:1] + text[-1:]
        if text.startswith("-") and name in quiet and (not before.startswith("-") or _FLAGS.fullmatch(before)):
            # In a cluster, only what takes no value may stand before it.
            return text.startswith("--") or bool(re.fullmatch(r"-[aqsvn]*[a-zA-Z]", text))
        before = text
    return False
