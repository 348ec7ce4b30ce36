"""Checks on the raw text, before any parser sees it: size, nesting, invisible characters, joined lines.

They are linear and cheap, and they keep the parser away from the inputs on which it is slow or disagrees with bash.
"""

from __future__ import annotations

import re
import unicodedata

from agent.core.shell.model import Limits

# Blank to a reader but part of a word to the shell, or the other way round; and everything below space but tab and LF.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_JOIN = re.compile(r"(?<!\\)(?:\\\\)*\\\n")
_UNSPACED_JOIN = re.compile(r"(?:^|[^\\ \t\n])(?:\\\\)*\\\n")
# The parser takes what stands between two of three variables for text: `$a/$b/$c` and `${a}/${b}/$c` are one word to every shell.
_BARE = re.compile(r"\$([A-Za-z_]\w*)(?=[-+/.,%])", re.ASCII)
_SETS_OFF = re.compile(r"['\"#\\`]|<<|\(\(|\$\[")
_OPENERS = re.compile(r"[({\[]")
_BRACKETS = re.compile(r"[(){}\[\]]")
_HEREDOC = re.compile(r"<<")
_FUNCTION = re.compile(r"\(\s*\)")


_TOKEN = re.compile(r"[^\s;&|<>()`$\"'{}\[\]\\?!*#^~]+|\S")


def tokens(text: str) -> int:
    """About how many words and operators the parser will see; never fewer than it costs."""
    return sum(1 for _ in _TOKEN.finditer(text))


def screen(text: str, limits: Limits) -> tuple[set[str], bytes | None]:
    """The flags that the raw text earns, and the bytes to parse, or None if parsing is not worth its cost."""
    if len(text) > limits.max_bytes:
        return {"too_long"}, None
    flags: set[str] = set()
    if _invisible(text):
        flags.add("control_characters")
    if _too_deep(text, limits.max_nesting):
        flags.add("too_deep")
        return flags, None
    if "\\\n" in text and _UNSPACED_JOIN.search(text):
        # `r\<newline>m` is one word to the shell and two to the parser. Joining is exact where no quote, comment or
        # here-document can contain the pair literally; anywhere else we do not guess.
        if re.search(r"['#]|<<", text):
            flags.add("parse_error")
        text = _JOIN.sub(lambda match: match.group()[:-2], text)
    if not _SETS_OFF.search(text):
        text = _BARE.sub(r"${\1}", text)
    source = text.encode("utf-8", "replace")
    if len(source) > limits.max_bytes:
        return flags | {"too_long"}, None
    return flags, source


def _invisible(text: str) -> bool:
    if _CONTROL.search(text):
        return True
    if text.isascii():
        return False
    return any(unicodedata.category(char) in {"Zs", "Zl", "Zp", "Cf", "Cc", "Co", "Cn"} for char in set(text) - {" ", "\n", "\t"})


def _too_deep(text: str, limit: int) -> bool:
    if len(_OPENERS.findall(text)) > limit:
        depth = 0
        for match in _BRACKETS.finditer(text):
            depth = depth + 1 if match.group() in "({[" else max(depth - 1, 0)
            if depth > limit:
                return True
    return len(_HEREDOC.findall(text)) > limit or len(_FUNCTION.findall(text)) > limit
