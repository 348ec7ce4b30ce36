"""Tab: what the target is asked, and what its answer means. The question is one fixed program that only reads; the word that is
completed is data on its standard input, as octal escapes, and stands in no argument.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.shell.locked.runner import octal
from chalicelib.contracts.operation import READ, Operation

#: Names that are looked for, and bytes of an answer.
NAMES_LIMIT: Final = 200
ANSWER_LIMIT: Final = 64 * 1024

_CODE: Final = r"""
IFS= read -r d && IFS= read -r p && IFS= read -r k || exit 0
d=$(printf "%b." "$d"); p=$(printf "%b." "$p"); d=${d%.}; p=${p%.}; n=0; t=
cd "$d" 2>/dev/null || exit 0
case $p in "~/"*) t="~/"; p=${p#??}; cd 2>/dev/null || exit 0 ;; esac
say() { printf "%s\n" "$1"; n=$((n + 1)); [ $n -lt @LIMIT@ ] || exit 0; }
if [ "$k" = c ]; then
  IFS=:
  for e in $PATH; do for f in "$e/$p"*; do [ -f "$f" ] && [ -x "$f" ] && say "${f##*/}"; done; done
  exit 0
fi
for f in "$p"*; do
  if [ -d "$f" ]; then say "$t$f/"; elif [ -e "$f" ] || [ -L "$f" ]; then say "$t$f"; fi
done
""".strip().replace("@LIMIT@", str(NAMES_LIMIT))  # fmt: skip
#: What is run. No quote stands in it but those around it.
HELPER: Final = f"exec sh -c '{_CODE}'"

#: What a shell would read as something else than a part of a name.
_SPECIAL: Final = re.compile(r"([^\w@%+=:,./~-])")


def question(word: str, cwd: str, *, program: bool) -> Operation:
    """Return what completing ``word`` is: looking at names, where the shell stands."""
    return Operation(
        kind="complete",
        text=word,
        effects=frozenset({READ}),
        verbs=frozenset({"complete"}),
        objects=frozenset() if program else frozenset({_place(word, cwd)}),
        flags=frozenset({"shell"}),
        environment=(("PWD", cwd),),
    )


def data(word: str, cwd: str, *, program: bool) -> bytes:
    """Return what the helper reads."""
    return octal(cwd.encode()) + b"\n" + octal(word.encode()) + (b"\nc\n" if program else b"\nf\n")


def names(answer: bytes, word: str) -> list[str]:
    """Return the names in ``answer`` that begin like ``word``, as they are written in a line. Strange ones are left out."""
    found: set[str] = set()
    for each in answer[:ANSWER_LIMIT].split(b"\n")[:-1]:
        try:
            name = each.decode()
        except UnicodeDecodeError:
            continue
        if name.startswith(word) and name.isprintable():
            more = _SPECIAL.sub(r"\\\1", name[len(word) :])
            # At the beginning, and where a value begins, a shell would put somebody's home in its place.
            found.add(word + ("\\" + more if more.startswith("~") and word[-1:] in ("", ":", "=") else more))
    return sorted(found)[:NAMES_LIMIT]


def _place(word: str, cwd: str) -> str:
    folder = word.rpartition("/")[0] or ("/" if word.startswith("/") else "")
    return folder if folder.startswith(("/", "~")) else f"{cwd.rstrip('/')}/{folder}".rstrip("/") or "/"
