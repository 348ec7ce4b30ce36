"""Where a text would have stood in PostgreSQL when one of its statements failed: in a block that it had begun itself, or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.protocols.postgres.classify import Meaning

#: Statements that end the block they stand in, but for those that begin the next with it, or go back to a savepoint.
_ENDS: Final = frozenset({"commit", "rollback", "prepare_transaction"})
_STAYS: Final = re.compile(r"\b(?:and\s+chain|to)\b", re.IGNORECASE)


def in_block(statements: Sequence[Meaning], refused: int) -> bool:
    """Return True where those before the one that was refused leave a block open that one of them has begun.

    ``refused`` is the place of an operation among those of all statements, in their order.
    """
    begun = False
    for meaning in statements:
        refused -= len(meaning.operations("query"))
        if refused < 0:
            break
        if meaning.kind == "begin":
            begun = True
        elif meaning.kind in _ENDS and not _STAYS.search(meaning.text):
            begun = False
    return begun
