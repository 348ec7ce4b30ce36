"""One shell of a session: the first, or one that was started at the prompt of another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from agent.core.shell.guard.boot import GUARDS, WORD, Dialect
from agent.core.shell.guard.launch import Launch
from chalicelib.contracts.operation import Operation

#: ``starting``: what starts it was run, and may ask for a password. ``booting``: it has its guard, which has not said hello.
#: ``interrupting``: somebody may still read what is typed at its prompt; it has to show another one, behind a Ctrl-C of ours.
#: ``replacing``, ``retyped``, ``fetching``: a line that starts another shell was discarded, and what runs instead is on its way.
State = Literal[
    "starting",
    "booting",
    "prompt",
    "entered",
    "asking",
    "answered",
    "running",
    "replacing",
    "retyped",
    "fetching",
    "interrupting",
    "opaque",
]


#: How many of the keys that went to a shell are remembered, in bytes.
SENT_LIMIT: Final = 64 * 1024


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A line that has ended."""

    operation: Operation
    status: int | None
    """None where it is not known: the shell went on with the next line of what was pasted, or has ended."""
    began_ms: int
    ended_ms: int
    shown_from: int
    """Where in the cast its output begins."""
    depth: int
    """In how many other shells it ran."""
    account: str
    """As whom and where, as the shell itself says: ``root@web-1``. Empty where it does not."""


@dataclass(slots=True, eq=False)
class Layer:
    """What is known of one shell."""

    nonce: str
    outer: Layer | None = None
    """The one at whose prompt it was started."""
    by: str = ""
    """The line that started it."""
    word: str = WORD
    """What the second half of its start begins with."""
    login: bool = True
    state: State = "starting"
    goes: State = "entered"
    """The state once the shell has acknowledged a verdict."""
    shell: str = ""
    """Which shell it is, once that is known."""
    account: str = ""
    greeted: bool = False
    """It has read its guard; where that stands, it goes on to its first prompt."""
    muted: bool = False
    challenge: bytes = b""
    asked: tuple[bytes, ...] = ()
    """What it has asked last. It says that again where no answer comes."""
    repeated: int = 0
    """How often it has said that again since its verdict was typed."""
    turn: int = 0
    """The number of its last prompt. 0 where it does not count them."""
    pressed: bool = False
    """The Ctrl-C that it is to show another prompt behind has been typed."""
    launch: Launch | None = None
    """What runs instead of the line that was allowed last."""
    launched: Operation | None = None
    """The line that was allowed last."""
    steps: int | None = None
    """How many commands the line may still run, where each is decided by itself."""
    given_up: bool = False
    """Its prompt came while its question was being decided, so nobody reads the verdict any more."""
    gone: bool = False
    """Another shell has taken its place (``exec``)."""
    sent: bytearray = field(default_factory=bytearray)
    """Keys that went to it since it acknowledged a verdict, where it is inside of another."""
    early: bytes = b""
    """Keys that went to it right behind the verdict that it has not acknowledged."""
    under_way: tuple[Operation, int, int] | None = None

    def note(self, keys: bytes) -> None:
        """Keys have gone to it."""
        if self.outer is not None:
            self.sent += keys
            del self.sent[:-SENT_LIMIT]

    @property
    def dialect(self) -> Dialect:
        """What is peculiar to its shell, which must be known by now."""
        return GUARDS[self.shell]

    @property
    def chain(self) -> list[Layer]:
        """This one, the one around it, and so on to the first."""
        found, layer = [], self
        while True:
            found.append(layer)
            if layer.outer is None:
                return found
            layer = layer.outer

    @property
    def depth(self) -> int:
        """In how many other shells it is."""
        return sum(not layer.gone for layer in self.chain[1:])

    @property
    def inside(self) -> str:
        """The lines that lead here from the first shell."""
        return " > ".join(layer.by for layer in reversed(self.chain) if layer.by)

    def over(self, status: int | None, now_ms: int) -> Ran | None:
        """The line that runs, if one does, has ended."""
        if self.under_way is None:
            return None
        operation, began_ms, shown_from = self.under_way
        self.under_way = None
        return Ran(
            operation=operation, status=status, began_ms=began_ms, ended_ms=now_ms, shown_from=shown_from,
            depth=self.depth, account=self.account,
        )  # fmt: skip
