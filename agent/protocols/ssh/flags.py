"""The flags that an operation over SSH can have, all of them: what rules can look at in ``context.flags``."""

from __future__ import annotations

from typing import Final

from agent.core.shell.model import FLAGS as COMMANDS

_PROGRAMS: Final = ("pty", "stream", "shell", "nested", "steps", "guarded", "locked", "recorded")
_FILES: Final = ("metadata", "listing", "download", "upload", "append", "symlink", "dotdot", "not_utf8")
_PORTS: Final = ("tunnel",)

FLAGS: Final = frozenset({*COMMANDS, *_PROGRAMS, *_FILES, *_PORTS})
