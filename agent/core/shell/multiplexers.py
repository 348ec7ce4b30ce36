"""tmux and screen, which run what they are given, and hold shells in which everything else can be typed.

Only lines that a person types every day are read as no more than that; what comes in any other form may be a command of theirs:
behind a `;` of its own, in a format (`#(…)`), from a file of settings, or sent to a window as keys.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.shell.options import Spec, leading
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

#: Subcommands of tmux: letters of the options with a value, and of those without.
_ATTACH: Final = Spec("t", "dErx")
_LIST: Final = Spec("t", "as")
_NEW: Final = Spec("sntxy", "AdDEX")
_TMUX: Final = {
    **dict.fromkeys(("a", "at", "attach", "attach-session"), _ATTACH),
    **dict.fromkeys(("ls", "list-sessions", "lsw", "list-windows", "lsp", "list-panes", "lsc", "list-clients"), _LIST),
    **dict.fromkeys(("has", "has-session", "rename", "rename-session", "detach", "detach-client"), Spec("t", "a")),
    **dict.fromkeys(("new", "new-session"), _NEW),
    **dict.fromkeys(("kill-session", "kill-server"), Spec("t", "aC")),
}
_BEFORE: Final = Spec("", "2uvlNV")
_SCREEN: Final = Spec("S", "rxRdDUaAq")
_SCREEN_LISTS: Final = frozenset({"-ls", "-list", "-wipe", "-v", "--version"})
#: A name of a session, a window or a terminal, and a size.
_NAME: Final = re.compile(r"[\w.:@=+/-]*")


def tmux(reading: Reading, program: str, words: list[Word]) -> None:
    """tmux and byobu: what starts, lists, attaches and ends sessions is plain."""
    before = leading(words, _BEFORE)
    name = before.rest[0].text if before.rest else "new"
    spec = _TMUX.get(name or "")
    parsed = leading(before.rest[1:], spec or Spec())
    names = [value for _, value in parsed.options if value is not None]
    if name in {"rename", "rename-session"} and len(parsed.rest) == 1:
        names.append(parsed.rest.pop())
    if spec is None or parsed.rest or not (before.sure and parsed.sure and _plain(names)):
        reading.flags.add("dynamic_code")
    if name in {"kill-session", "kill-server"}:
        reading.effects.add("admin")


def screen(reading: Reading, program: str, words: list[Word]) -> None:
    """screen: what starts, lists and attaches sessions is plain; an operand is a command, unless one is attached to."""
    if words and words[0].text in _SCREEN_LISTS and len(words) == 1:
        return
    parsed = leading(words, _SCREEN)
    attaches = parsed.has("r", "x", "R", "d", "D")
    names = [value for _, value in parsed.options if value is not None] + parsed.rest
    if not parsed.sure or len(parsed.rest) > attaches or not _plain(names):
        reading.flags.add("dynamic_code")


def _plain(words: list[Word]) -> bool:
    return all(word.text is not None and _NAME.fullmatch(word.text) for word in words)
