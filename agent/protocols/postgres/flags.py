"""The flags that an operation of PostgreSQL can have, all of them: what rules can look at in ``context.flags``."""

from __future__ import annotations

from typing import Final

from agent.core.sql.model import FLAGS as STATEMENTS

_REPLICATION: Final = ("replication", "physical", "logical", "raw", "file_access")

FLAGS: Final = frozenset({*STATEMENTS, *_REPLICATION, "unreadable"})
