"""Two streams and a clock: a network that is perfect unless a test says otherwise, and writes down what it carries."""

from __future__ import annotations

from chalicelib.contracts.tunnel import (
    Event,
    Kind,
    Limits,
    Stream,
    decode,
)


class Pair:
    """Two streams and a clock. Every frame that leaves is written down as a line and delivered after ``delay``."""

    def __init__(self, limits: Limits | None = None, delay: float = 0.01) -> None:
        limits = limits or Limits()
        self.now = 0.0
        self.delay = delay
        self.client = Stream(limits, b"ticket")
        self.agent = Stream(limits, b"welcome")
        self.lines: list[str] = []
        self.got: dict[str, list[Event]] = {"client": [], "agent": []}
        self._flying: list[tuple[float, str, bytes]] = []

    def side(self, name: str) -> Stream:
        return self.client if name == "client" else self.agent

    def up(self) -> Pair:
        self.client.carrier_up(self.now)
        self.agent.carrier_up(self.now)
        return self.flush()

    def flush(self) -> Pair:
        for name, other in (("client", "agent"), ("agent", "client")):
            for frame in self.side(name).frames_to_send(self.now):
                self.lines.append(f"{self.now:7.3f}  {name:6} -> {describe(frame)}")
                self._flying.append((self.now + self.delay, other, frame))
        return self

    def run(self, until: float) -> Pair:
        """Let time pass: deliver what is due, fire deadlines, send what follows."""
        while (now := self._next()) <= until:
            self.now = now
            due = [f for f in self._flying if f[0] <= now]
            self._flying = [f for f in self._flying if f[0] > now]
            for _, name, frame in due:
                self.hear(name, frame)
            for name in ("client", "agent"):
                self._note(name, self.side(name).tick(now))
            self.flush()
        self.now = until
        return self

    def hear(self, name: str, frame: bytes) -> None:
        self._note(name, self.side(name).receive(frame, self.now))

    def lose(self) -> Pair:
        """Everything that is flying is lost."""
        self.flush()
        self._flying.clear()
        return self

    def _note(self, name: str, events: list[Event]) -> None:
        for event in events:
            self.got[name].append(event)
            self.lines.append(f"{self.now:7.3f}  {name:6} has {event!r}")

    def _next(self) -> float:
        deadlines = [self.client.next_deadline(), self.agent.next_deadline(), *(f[0] for f in self._flying)]
        return max(self.now, min((d for d in deadlines if d is not None), default=float("inf")))


def describe(wire: bytes) -> str:
    frame = decode(wire)
    parts = [frame.kind.name, f"ack={frame.ack}"]
    parts += [f"sack={frame.sack:b}"] if frame.sack else []
    parts += [f"seq={frame.seq}"] if frame.kind in (Kind.OPEN, Kind.DATA, Kind.EOF) else []
    parts += [repr(frame.payload)] if frame.payload else []
    parts += [f"{frame.code}: {frame.message}"] if frame.code else []
    parts += ["complete"] if frame.complete else []
    parts += ["confirm"] if frame.confirm else []
    return " ".join(parts)
