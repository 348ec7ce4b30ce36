"""Seeded trouble for the WebSocket emulation: delay, overtaking, loss and killed sockets.

Every decision is a pure function of the seed, the direction, which connection it is (first, second, …) and which of its
messages. Threads may run in any order; the same seed still hurts the same messages.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

Direction = Literal["up", "down"]
_SCALE = 1 << 32


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one message."""

    dropped: bool = False
    delay_s: float = 0.0


UNHARMED = Fate()


@dataclass(frozen=True, slots=True)
class SocketView:
    """What a predicate over sockets may look at: the request that opened it."""

    connection_id: str
    ordinal: int
    path: str
    headers: dict[str, str]
    connected_at_ms: int


@dataclass(frozen=True, slots=True)
class Chaos:
    """How much trouble to make. The default makes none.

    `delay_s` is a range in seconds drawn for every message; `reorder` is the share of messages held back for `hold_s`
    more, so that later ones overtake them; `drop` is the share lost, in either direction; every `kill_every_s` the
    sockets that `kill_if` chooses (all without it) are torn down without a close frame.
    """

    seed: int = 0
    delay_s: tuple[float, float] = (0.0, 0.0)
    reorder: float = 0.0
    hold_s: float = 0.05
    drop: float = 0.0
    kill_every_s: float | None = None
    kill_if: Callable[[SocketView], bool] | None = None

    def __post_init__(self) -> None:
        low, high = self.delay_s
        if not 0 <= low <= high:
            raise ValueError("delay_s is a range (low, high) of seconds, 0 <= low <= high")
        if not (0 <= self.reorder <= 1 and 0 <= self.drop <= 1):
            raise ValueError("reorder and drop are shares between 0 and 1")
        if self.kill_every_s is not None and self.kill_every_s <= 0:
            raise ValueError("kill_every_s is a positive number of seconds")

    @property
    def calm(self) -> bool:
        """Whether no message is ever touched."""
        return self.drop == 0 and self.reorder == 0 and self.delay_s[1] == 0

    def fate(self, direction: Direction, ordinal: int, index: int) -> Fate:
        """The fate of message `index` of connection `ordinal` in one direction."""
        if self.calm:
            return UNHARMED
        digest = blake2b(f"{self.seed}/{direction}/{ordinal}/{index}".encode(), digest_size=12).digest()
        loss, overtaken, wait = (int.from_bytes(digest[at : at + 4]) / _SCALE for at in (0, 4, 8))
        if loss < self.drop:
            return Fate(dropped=True)
        low, high = self.delay_s
        held = self.hold_s if overtaken < self.reorder else 0.0
        return Fate(delay_s=low + (high - low) * wait + held)

    def kills(self, socket: SocketView) -> bool:
        """Whether a scheduled kill takes this socket."""
        return self.kill_if is None or self.kill_if(socket)


CALM = Chaos()
