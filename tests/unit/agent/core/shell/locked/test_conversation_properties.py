"""Whatever is typed, said and forged in whatever order: keys reach the target while a line runs, and at no other time."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.locked.conversation import Locked
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Unit

NONCE = "0123456789abcdef"
OURS = re.compile(rb"([0-9a-f]{32}):(?:w:|x:\d+|r:\d+:[^\n]*)\n")
STEPS = st.one_of(
    st.tuples(
        st.just("type"), st.sampled_from([b"K", b"K\r", b"\rK", b"\x03K", b"\x04", b"\t", b"\x1b[200~K\rK\x1b[201~\r", b"'K\r"])
    ),
    st.tuples(
        st.just("say"), st.sampled_from([b"out", b"\r\n", b"\x1b]7701;", b"\x07", b"\x1b]7701;fedcba;S\x07", b"\x1b", b"]77"])
    ),
    st.tuples(st.just("runner"), st.sampled_from(["report", "start", "typed"])),
    st.tuples(st.just("verdict"), st.booleans()),
    st.tuples(st.just("names"), st.sampled_from([[], ["Key"]])),
    st.tuples(st.just("resize"), st.integers(1, 200)),
    st.tuples(st.just("end"), st.none()),
)


class World:
    """A runner that does what a runner may do, and remembers what it was sent."""

    def __init__(self) -> None:
        self.locked = Locked(NONCE, "web@prod", 40, 10)
        self.locked.boot("dash")
        self.challenge = 0
        self.asking: Asked | Refused | None = None
        self.told = False
        self.hear(self.locked.receive(self.report(), 0), running=False)

    def mark(self, body: str) -> bytes:
        return b"\x1b]7701;" + NONCE.encode() + b";" + body.encode() + b"\x07"

    def report(self) -> bytes:
        self.challenge += 1
        return self.mark(f"R;{self.challenge:032x};0;/")

    def hear(self, units: list[Unit], *, running: bool) -> None:
        for unit in units:
            if isinstance(unit, Asked | Refused):
                assert self.asking is None, "one question at a time"
                self.asking = unit
            elif isinstance(unit, Housekeeping):
                ours = OURS.fullmatch(unit.data)
                assert running or (ours and int(ours[1], 16) == self.challenge), unit.data
            else:
                assert isinstance(unit, Output | Remark)


@given(st.lists(STEPS, max_size=40))
def test_keys_leave_while_a_line_runs_and_at_no_other_time(steps: list[tuple[str, object]]) -> None:
    world = World()
    locked = world.locked
    for what, with_ in steps:
        before = locked.state
        running = before == "running"
        match what, with_:
            case "type", bytes(keys):
                world.hear(locked.typed(keys), running=running)
            case "say", bytes(data):
                world.hear(locked.receive(data, 0), running=running)
            case "runner", "report":
                world.hear(locked.receive(world.report(), 0), running=False)
            case "runner", "start":
                world.hear(locked.receive(world.mark("S"), 0), running=before in ("sent", "running"))
            case "runner", "typed":
                world.hear(locked.receive(world.mark("W;K%0a"), 0), running=False)
            case "verdict", yes if world.asking is not None:
                asked, world.asking = world.asking, None
                units = locked.allowed(0) if yes and isinstance(asked, Asked) else locked.denied()
                world.hear(units, running=False)
            case "names", list(found):
                world.hear(locked.completed(found), running=False)
            case "resize", int(size):
                world.hear(locked.resized(size, size), running=False)
            case "end", None:
                world.hear(locked.ended(), running=running)


@given(
    st.lists(st.sampled_from([b"out\r\n", b"\x1b[1m", b"\x1b]7701;", b"x\x07", b"R", b"S", b"A"]), max_size=12),
    st.lists(st.integers(1, 60)),
)
def test_no_matter_how_the_target_is_read(parts: list[bytes], cuts: list[int]) -> None:
    world = World()
    marks = {b"R": world.report, b"S": lambda: world.mark("S"), b"A": lambda: b"\x1b]7701;other;R;1\x07"}
    data = b"".join(marks[part]() if part in marks else part for part in parts)

    def read(pieces: list[bytes]) -> tuple[str, int, int]:
        locked = Locked(NONCE, "web@prod", 40, 10)
        locked.boot("dash")
        locked.receive(world.report(), 0)
        locked.typed(b"K\r")
        locked.allowed(0)
        for piece in pieces:
            locked.receive(piece, 0)
        return locked.state, len(locked.ran), locked.forged

    pieces, at = [], 0
    for size in cuts:
        pieces.append(data[at : at + size])
        at += size
    assert read([*pieces, data[at:]]) == read([data])
