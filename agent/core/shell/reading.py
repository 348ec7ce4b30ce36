"""What the parts of the classifier report to: one reading of one line. `classify.Reading` is the only implementation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.core.shell.model import Redirection
from agent.core.shell.words import Word


class Reading(Protocol):
    """What is known of the line so far, and the ways to learn more of it."""

    flags: set[str]
    # Other lines ran in the same shell before; the shell is known to be zsh.
    carried: bool
    zsh: bool
    # Variables that the text sets.
    assigned: set[str]
    # Standard input is a pipe or a file rather than the session's own.
    piped: bool
    stdin_moved: bool
    effects: set[str]
    verbs: set[str]
    objects: set[str]
    # Variables with a literal value; those whose value could be anything; those that arithmetic evaluates.
    variables: dict[str, str]
    tainted: set[str]
    arithmetic: set[str]
    # Variables that are arrays by now.
    arrays: set[str]
    # Names in `(( ))`, which a POSIX shell would run.
    bare_arithmetic: set[str]

    def enter(self) -> bool:
        """Go one level deeper; False at the limit. Pair each True with `leave`."""

    def leave(self) -> None:
        """Undo `enter`."""

    def text(self, text: str) -> None:
        """Read a text as shell code."""

    def command(self, words: list[Word], redirections: list[Redirection]) -> None:
        """Report one simple command, and whatever it starts in turn."""

    def integer(self, name: str) -> bool:
        """True where what is assigned to `name` is evaluated as arithmetic."""

    def assign(self, name: str, value: Word | None, *, straight: bool) -> None:
        """Report `name=value`. `straight`: it runs exactly once, before what follows it."""

    def evaluates(self, names: Iterable[str]) -> None:
        """Report variables that arithmetic evaluates at this place."""

    def redirect(self, redirection: Redirection) -> None:
        """Report a redirection to or from a file."""

    def path(self, path: str, *, writes: bool) -> None:
        """Report a path or host that is literally named."""

    def function(self, name: str | None) -> None:
        """Report a function definition."""
