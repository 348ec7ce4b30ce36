"""What holds in any weather: bytes arrive equal, once, in order; ends come last; memory stays within the window."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.contracts.tunnel import (
    INITIAL_CREDIT,
    PAYLOAD_LIMIT,
    Aborted,
    Frame,
    FrameFault,
    Kind,
    Limits,
    Lost,
    Opened,
    PeerEof,
    Received,
    Stream,
    encode,
)
from tests.unit.chalicelib.contracts.tunnel.network import Weather, join

LIMITS = st.builds(
    Limits,
    window=st.integers(INITIAL_CREDIT, 200_000),
    send_buffer=st.integers(2_000, 200_000),
    payload=st.integers(1_000, PAYLOAD_LIMIT),
    max_in_flight=st.integers(2, 64),
    ack_every=st.integers(1, 10),
    patience=st.just(1e9),
    linger=st.just(300.0),  # longer than the bad weather: whoever leaves earlier may leave the other without its last answer
)
WEATHER = st.builds(
    Weather,
    delay=st.floats(0, 0.3),
    jitter=st.floats(0, 1.0),
    loss=st.floats(0, 0.5),
    doubling=st.floats(0, 0.5),
    breaks_every=st.just(0.0) | st.floats(0.2, 5.0),
    outage=st.floats(0.01, 1.0),
    fair_after=st.just(120.0),
)


@settings(max_examples=60, deadline=None)
@given(WEATHER, LIMITS, st.integers(0, 2**32), st.integers(0, 400_000), st.integers(0, 20_000), st.booleans())
def test_bytes_arrive_equal_once_and_in_order(
    weather: Weather, limits: Limits, seed: int, left: int, right: int, slow_reader: bool
) -> None:
    rng = Random(seed)
    reading = {"read_size": 5_000, "read_every": 0.05} if slow_reader else {}
    client, agent, network = join(rng.randbytes(left), rng.randbytes(right), weather, seed, limits, **reading)
    network.run(until=20_000.0)
    assert bytes(agent.received) == client.to_write
    assert bytes(client.received) == agent.to_write
    for party, other in ((client, agent), (agent, client)):
        assert party.summary == (["Opened", "Received", "PeerEof"] if other.to_write else ["Opened", "PeerEof"])
        assert party.events[0] == Opened(f"opening of {other.name}".encode())


@pytest.mark.parametrize("jitter", [0.0, 0.04, 0.3])
def test_reordering_alone_costs_no_retransmission_to_speak_of(jitter: float) -> None:
    client, agent, network = join(bytes(20_000_000), b"", Weather(delay=0.03, jitter=jitter), seed=1)
    network.run()
    assert len(agent.received) == 20_000_000
    needed = 20_000_000 // 90_000 + 3
    assert client.frames_sent < needed * 1.15


def test_a_lossy_path_costs_about_what_it_loses() -> None:
    client, agent, network = join(bytes(20_000_000), b"", Weather(delay=0.03, jitter=0.04, loss=0.05), seed=1)
    network.run()
    assert len(agent.received) == 20_000_000
    assert client.frames_sent < (20_000_000 // 90_000 + 3) * 1.25


def test_acknowledgements_are_few() -> None:
    client, agent, network = join(bytes(20_000_000), b"", Weather(delay=0.03), seed=1)
    network.run()
    assert agent.frames_sent < client.frames_sent / 2


U64 = st.integers(0, 2**64 - 1)
SMALL = st.integers(0, 400)
PEER_FRAMES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda kind, ack, limit, sack, seq, payload, flags: encode(
            Frame(kind=kind, ack=ack, limit=limit, sack=sack, seq=seq, payload=payload, code="c", complete=flags & 1 == 1)
        ),
        st.sampled_from([Kind.DATA, Kind.DATA, Kind.DATA, Kind.EOF, Kind.ACK, Kind.PROBE, Kind.OPEN]),
        st.integers(0, 12) | U64,
        U64 | SMALL,
        st.just(0) | st.integers(0, 2**256 - 1) | SMALL,
        SMALL | U64,
        st.integers(0, 9_000).map(bytes),
        st.integers(0, 15).map(lambda n: n == 15),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PEER_FRAMES, max_size=60), st.booleans())
def test_a_hostile_peer_gains_faults_and_no_memory(frames: list[bytes], ended: bool) -> None:
    limits = Limits(window=INITIAL_CREDIT, send_buffer=10_000, payload=1_000, max_in_flight=8)
    stream = Stream(limits, b"hi")
    stream.carrier_up(0.0)
    now, delivered = 0.0, 0
    for frame in [encode(Frame(kind=Kind.OPEN, ack=0, limit=2**64 - 1)), *frames]:
        now += 0.01
        if stream.writable():
            stream.write(bytes(3_000))
        if ended:
            stream.write_eof()
        ended = False if stream.writable() else ended
        before = stream.held
        try:
            events = stream.receive(frame, now)
        except FrameFault:
            assert stream.held == before
            events = []
        delivered += sum(len(e.data) for e in events if isinstance(e, Received))
        assert stream.held[0] <= limits.window
        assert stream.held[1] <= limits.send_buffer + limits.max_in_flight * limits.payload
        assert len(stream._inbound._early) <= 256
        assert len(stream.frames_to_send(now)) <= limits.max_in_flight + 1
        stream.tick(now)
        stream.frames_to_send(now)
        deadline = stream.next_deadline()
        assert deadline is None or deadline > now
    assert delivered <= limits.window, "nothing was consumed"


class Conversation(RuleBasedStateMachine):
    """Hypothesis plays the network, frame by frame, and both applications."""

    LIMITS = Limits(window=INITIAL_CREDIT, send_buffer=20_000, payload=1_500, max_in_flight=6, patience=1e9, linger=1e6)

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.streams = [Stream(self.LIMITS, b"0"), Stream(self.LIMITS, b"1")]
        self.written = [bytearray(), bytearray()]
        self.received = [bytearray(), bytearray()]
        self.unread = [0, 0]
        self.kinds: list[list[type]] = [[], []]
        self.flying: list[tuple[int, bytes]] = []
        self.rng = Random(7)

    def _take(self, side: int, frame: bytes | None = None) -> None:
        stream = self.streams[side]
        events = stream.tick(self.now) if frame is None else stream.receive(frame, self.now)
        for event in events:
            self.kinds[side].append(type(event))
            if isinstance(event, Received):
                self.received[side] += event.data
                self.unread[side] += len(event.data)

    def _flush(self) -> None:
        for side, stream in enumerate(self.streams):
            self.flying += [(1 - side, frame) for frame in stream.frames_to_send(self.now)]

    @rule(side=st.integers(0, 1), size=st.integers(1, 6_000))
    def write(self, side: int, size: int) -> None:
        if PeerEof not in self.kinds[1 - side] and not self._has_ended(side):
            data = self.rng.randbytes(size)
            self.written[side] += data[: self.streams[side].write(data)]
            self._flush()

    def _has_ended(self, side: int) -> bool:
        return self.streams[side].writable() == 0

    @rule(side=st.integers(0, 1))
    def write_eof(self, side: int) -> None:
        self.streams[side].write_eof()
        self._flush()

    @rule(side=st.integers(0, 1), size=st.integers(1, 20_000))
    def read(self, side: int, size: int) -> None:
        size = min(size, self.unread[side])
        self.unread[side] -= size
        self.streams[side].consume(size)
        self._flush()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 10**6), keep=st.booleans())
    def deliver(self, pick: int, keep: bool) -> None:
        side, frame = self.flying[pick % len(self.flying)]
        if not keep:
            del self.flying[pick % len(self.flying)]
        if self.streams[side].carrier:
            self._take(side, frame)
            self._flush()

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 10**6))
    def lose(self, pick: int) -> None:
        del self.flying[pick % len(self.flying)]

    @rule(side=st.integers(0, 1))
    def carrier_up(self, side: int) -> None:
        self.streams[side].carrier_up(self.now)
        self._flush()

    @rule(side=st.integers(0, 1))
    def carrier_down(self, side: int) -> None:
        self.streams[side].carrier_down(self.now)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for side in (0, 1):
            self._take(side)
        self._flush()
        for stream in self.streams:
            deadline = stream.next_deadline()
            assert deadline is None or deadline > self.now

    @invariant()
    def nothing_is_invented(self) -> None:
        for side in (0, 1):
            assert self.written[1 - side].startswith(self.received[side])
            kinds = self.kinds[side]
            assert Lost not in kinds
            assert Aborted not in kinds
            assert Opened not in kinds[1:]
            assert not kinds or kinds[0] is Opened
            assert PeerEof not in kinds[:-1]
            if PeerEof in kinds:
                assert self.received[side] == self.written[1 - side]

    @invariant()
    def memory_is_bounded(self) -> None:
        for side, stream in enumerate(self.streams):
            received, sent = stream.held
            assert self.unread[side] <= received <= self.LIMITS.window
            assert sent <= self.LIMITS.send_buffer + self.LIMITS.max_in_flight * self.LIMITS.payload

    def teardown(self) -> None:
        """The weather clears: everything arrives and both ends are done."""
        for side in (0, 1):
            self.carrier_up(side)
            self.write_eof(side)
        for _ in range(10_000):
            if all(stream.done for stream in self.streams):
                break
            for side in (0, 1):
                self.read(side, 20_000)
            flying, self.flying = self.flying, []
            for side, frame in flying:
                self._take(side, frame)
            self._flush()
            if not self.flying:
                self.now = min((d for s in self.streams if (d := s.next_deadline()) is not None), default=self.now)
            for side in (0, 1):
                self._take(side)
            self._flush()
        assert all(stream.done for stream in self.streams)
        self.nothing_is_invented()
        for side in (0, 1):
            assert self.received[side] == self.written[1 - side]


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_conversation = Conversation.TestCase
