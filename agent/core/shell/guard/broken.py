"""The ends of a shell that cannot be guarded, or not any longer."""

from __future__ import annotations

from typing import Final

from agent.core.shell.guard import boot

ONE_BY_ONE: Final = "Run one command at a time: ssh <target> <command>."


class Broken(Exception):  # noqa: N818 - the end of a shell, not of the gateway
    """The shell cannot be guarded (any longer). ``message`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


class Unguardable(Broken):
    """The account has a shell that no guard exists for. Nothing was typed into it yet."""

    def __init__(self, shell: str) -> None:
        self.shell = shell
        known = ", ".join(sorted(boot.GUARDS))
        super().__init__(f"This account's shell cannot be guarded ({shell[:40]!r}); only {known} can.", ONE_BY_ONE)


def taken(name: bytes) -> Broken:
    """Return the end of a shell in which something of that ``name`` is not to be had for its guard."""
    what = name.decode("ascii", "replace")[:40]
    words = f"The shell's guard needs {what!r}, which a start-up file keeps from it (readonly?), so the shell was ended."
    return Broken(words, ONE_BY_ONE)
