"""Where zsh reads a line in another way than the grammar that it was classified by.

The classifier reads bash, and fish's lines have a reader of their own. What zsh refuses, or reads as a program that nobody knows,
is of no concern: it is unknown, or does not run. This is about text that means one thing to the classifier and another to the
shell that runs it.
"""

from __future__ import annotations

import re
from typing import Final

#: ``> ! f`` writes over f; to the classifier it writes to ``!``.
_ZSH_CLOBBER: Final = re.compile(r">&?!")


def differs(shell: str, line: str) -> bool:
    """Return True where ``shell`` may read ``line`` in another way than it was classified."""
    return shell == "zsh" and _ZSH_CLOBBER.search(line) is not None
