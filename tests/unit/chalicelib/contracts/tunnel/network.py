"""A network as bad as it gets, for two streams: it delays, reorders, doubles, loses, and breaks carriers. Simulated time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

from chalicelib.contracts.tunnel import Aborted, Event, Limits, Lost, Opened, PeerEof, Received, Stream


@dataclass(frozen=True)
class Weather:
    """What the network does to a frame. Times in seconds, chances 0 to 1."""

    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    doubling: float = 0.0
    breaks_every: float = 0.0
    """Mean time between breaks of each carrier; 0 for never."""
    outage: float = 0.05
    """Mean time that a carrier stays down. What was under way through it is lost."""
    fair_after: float = float("inf")
    """From then on nothing bad happens, so that every story ends."""


@dataclass
class Party:
    """One end: a stream, the application that writes and reads, and its carrier."""

    name: str
    stream: Stream
    to_write: bytes
    read_size: int = 1 << 30
    read_every: float = 0.0
    written: int = 0
    unread: int = 0
    received: bytearray = field(default_factory=bytearray)
    events: list[Event] = field(default_factory=list)
    carrier_generation: int = 0
    next_read: float = 0.0
    frames_sent: int = 0

    def write_some(self, rng: Random) -> None:
        while self.written < len(self.to_write) and self.stream.writable():
            size = rng.choice((1, 7, 300, 5_000, 200_000))
            accepted = self.stream.write(self.to_write[self.written : self.written + size])
            self.written += accepted
            if accepted < size:
                break
        if self.written == len(self.to_write):
            self.stream.write_eof()

    def take(self, events: list[Event]) -> None:
        for event in events:
            self.events.append(event if not isinstance(event, Received) else Received(b""))
            if isinstance(event, Received):
                self.received += event.data
                self.unread += len(event.data)

    def read_some(self, now: float) -> None:
        if self.unread and now >= self.next_read:
            size = min(self.unread, self.read_size)
            self.stream.consume(size)
            self.unread -= size
            self.next_read = now + self.read_every

    @property
    def summary(self) -> list[str]:
        """Kinds of events in order, runs of Received as one."""
        names: list[str] = []
        for event in self.events:
            name = type(event).__name__
            if not (names and names[-1] == name == "Received"):
                names.append(name)
        return names


class Network:
    """Joins two parties and runs until both are done."""

    def __init__(self, left: Party, right: Party, weather: Weather, seed: int, limits: tuple[Limits, Limits]) -> None:
        self.parties = (left, right)
        self.limits = limits
        self.weather = weather
        self.rng = Random(seed)
        self.now = 0.0
        self._queue: list[tuple[float, int, str, int, int, bytes]] = []
        self._count = 0
        for index in (0, 1):
            self._push(self.rng.random() * 0.1, "up", index)

    def run(self, until: float = 3_600.0) -> None:
        while not all(p.stream.done for p in self.parties):
            self._settle()
            self._check()
            times = [t for t in (self._next_time(p) for p in self.parties) if t is not None]
            if self._queue:
                times.append(self._queue[0][0])
            assert times, "both ends wait for each other forever"
            self.now = max(self.now, min(times))
            assert self.now < until, "no end in sight"
            while self._queue and self._queue[0][0] <= self.now:
                self._happen(*heapq.heappop(self._queue)[2:])
            for party in self.parties:
                party.take(party.stream.tick(self.now))
        self._settle()

    def _settle(self) -> None:
        """What an honest caller does after every verb."""
        for index, party in enumerate(self.parties):
            party.write_some(self.rng)
            party.read_some(self.now)
            for frame in party.stream.frames_to_send(self.now):
                party.frames_sent += 1
                self._carry(1 - index, frame)
            deadline = party.stream.next_deadline()
            assert deadline is None or deadline > self.now, "a deadline that has passed makes its caller spin"

    def _check(self) -> None:
        for party, limits in zip(self.parties, self.limits, strict=True):
            received, written = party.stream.held
            assert received <= limits.window
            assert written <= limits.send_buffer + limits.max_in_flight * limits.payload
            assert received >= party.unread

    def _next_time(self, party: Party) -> float | None:
        times = [party.stream.next_deadline(), party.next_read if party.unread else None]
        known = [t for t in times if t is not None]
        return min(known, default=None)

    def _carry(self, to: int, frame: bytes) -> None:
        weather, rng = self.weather, self.rng
        fair = self.now >= weather.fair_after
        if not fair and rng.random() < weather.loss:
            return
        for _ in range(2 if not fair and rng.random() < weather.doubling else 1):
            at = self.now + weather.delay + rng.random() * weather.jitter
            self._push(at, "frame", to, self.parties[to].carrier_generation, frame)

    def _push(self, at: float, what: str, to: int, generation: int = 0, frame: bytes = b"") -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, what, to, generation, frame))

    def _happen(self, what: str, to: int, generation: int, frame: bytes) -> None:
        party = self.parties[to]
        fair = self.now >= self.weather.fair_after
        if what == "frame":
            if generation == party.carrier_generation and party.stream.carrier:
                party.take(party.stream.receive(frame, self.now))
        elif what == "up":
            party.stream.carrier_up(self.now)
            if self.weather.breaks_every and not fair:
                self._push(self.now + self.rng.expovariate(1 / self.weather.breaks_every), "down", to)
        else:
            party.stream.carrier_down(self.now)
            party.carrier_generation += 1
            self._push(self.now + self.rng.expovariate(1 / self.weather.outage), "up", to)


def join(
    left: bytes, right: bytes, weather: Weather, seed: int = 0, limits: Limits | None = None, **reading: float
) -> tuple[Party, Party, Network]:
    """Two parties that say ``left`` and ``right`` to each other, and the network between them."""
    limits = limits or Limits()
    parties = (
        Party("left", Stream(limits, b"opening of left"), left, **reading),  # type: ignore[arg-type]
        Party("right", Stream(limits, b"opening of right"), right, **reading),  # type: ignore[arg-type]
    )
    return *parties, Network(*parties, weather, seed, (limits, limits))


__all__ = ["Aborted", "Lost", "Network", "Opened", "Party", "PeerEof", "Weather", "join"]
