"""The SFTP engine: the greeting, handles, what is bounded, and what neither side may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Output, Side
from agent.protocols.ssh import sftp, sftp_operations
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp import SftpEngine
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Verdict
from tests.unit.agent.protocols.ssh.sftp_talk import NOTHING, OWN, C, R, T, Talk, W, name, string, u32, u64


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (codec.READ, (string(b"h9"), u64(0), u32(10))),
        (codec.WRITE, (string(b"h9"), u64(0), string(b"x"))),
        (codec.CLOSE, (string(b"h9"),)),
        (codec.FSTAT, (string(b"h9"),)),
        (codec.READDIR, (string(b"h9"),)),
        (codec.FSETSTAT, (string(b"h9"), NOTHING)),
        (codec.EXTENDED, (string(b"fsync@openssh.com"), string(b"h9"))),
        (codec.WRITE, (string(b"h1"), u64(0), string(b"x"))),
        (codec.READDIR, (string(b"h1"),)),
    ],
)
def test_handles_that_the_target_never_gave_for_this_are_not_used(kind: int, parts: tuple[bytes, ...]) -> None:
    talk = Talk()
    talk.open(flags=R)
    unit = talk.ask(kind, *parts)
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT
    assert codec.Reader(unit.data).type == codec.STATUS


def test_an_upload_handle_reads_nothing() -> None:
    talk = Talk()
    talk.open(flags=W | C | T)
    unit = talk.ask(codec.READ, string(b"h1"), u64(0), u32(10))
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


def test_a_handle_is_gone_when_it_is_closed() -> None:
    talk = Talk()
    talk.open()
    talk.close()
    unit = talk.ask(codec.READ, string(b"h1"), u64(0), u32(1))
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


def test_a_denied_opening_leaves_nothing_behind() -> None:
    talk = Talk()
    asked = talk.ask(codec.OPEN, string(b"/x"), u32(R), NOTHING)
    assert isinstance(asked, Asked)
    decision = Decision(verdict=Verdict("deny", message="Not \x1b[2J that."), code="denied")
    answer = codec.Reader(talk.engine.deny(asked, decision))
    assert (answer.type, answer.u32(), answer.u32()) == (codec.STATUS, 1, codec.PERMISSION_DENIED)
    assert answer.string() == b"sallyport: Not  [2J that. (denied, ses_1)"
    assert talk.engine.take_words() == ["get /x: Not \x1b[2J that. (denied, ses_1)"]
    assert talk.engine.take_words() == []
    # A target that answers all the same is making things up.
    with pytest.raises(Fault, match="target_closed"):
        talk.answer(codec.HANDLE, string(b"h1"))


def test_one_number_for_two_requests_on_the_way_ends_the_channel() -> None:
    talk = Talk()
    talk.straight(talk.ask(codec.STAT, string(b"/x")))
    with pytest.raises(Fault, match="protocol_error"):
        talk.engine.receive(Side.CLIENT, codec.request(codec.STAT, talk.number, string(b"/y")))


def test_requests_on_the_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "PENDING_LIMIT", 3)
    talk = Talk()
    for _ in range(3):
        talk.straight(talk.ask(codec.STAT, string(b"/x")))
    with pytest.raises(Fault, match="protocol_error"):
        talk.ask(codec.STAT, string(b"/x"))


def test_open_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "HANDLES_LIMIT", 1)
    talk = Talk()
    talk.open()
    unit = talk.ask(codec.OPEN, string(b"/y"), u32(R), NOTHING)
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


@pytest.mark.parametrize(
    "first",
    [
        codec.request(codec.STAT, 1, string(b"/x")),
        codec.packet(codec.INIT),
        codec.packet(codec.INIT, u32(3), u32(99)),
        codec.packet(0),
    ],
)
def test_a_client_that_does_not_say_hello_is_not_served(first: bytes) -> None:
    with pytest.raises(Fault):
        SftpEngine("ses_1").receive(Side.CLIENT, first)


def test_an_old_client_is_told() -> None:
    with pytest.raises(Fault, match="not_supported"):
        SftpEngine("ses_1").receive(Side.CLIENT, codec.packet(codec.INIT, u32(2)))


def test_no_request_passes_before_the_target_has_answered() -> None:
    engine = SftpEngine("ses_1")
    engine.receive(Side.CLIENT, codec.packet(codec.INIT, u32(3)))
    with pytest.raises(Fault):
        engine.receive(Side.CLIENT, codec.request(codec.STAT, 1, string(b"/x")))


@pytest.mark.parametrize(
    "answers",
    [
        [codec.version(4, [])],
        [codec.version(3, []), codec.status(0xFFFF_FFFF, 4, "no")],
        [codec.version(3, []), codec.request(codec.NAME, 0xFFFF_FFFF, u32(1), string(b"relative"), string(b""), NOTHING)],
        [codec.request(codec.NAME, 0xFFFF_FFFF, u32(1), string(b"/x"), string(b""), NOTHING)],
    ],
)
def test_a_target_that_greets_wrongly_is_not_spoken_to(answers: list[bytes]) -> None:
    engine = SftpEngine("ses_1")
    engine.receive(Side.CLIENT, codec.packet(codec.INIT, u32(3)))
    *good, bad = answers
    for answer in good:
        engine.receive(Side.TARGET, answer)
    with pytest.raises(Fault, match="target_closed"):
        engine.receive(Side.TARGET, bad)


def test_a_handle_given_out_twice_is_a_targets_fault() -> None:
    talk = Talk()
    talk.open()
    talk.straight(talk.ask(codec.OPEN, string(b"/y"), u32(R), NOTHING))
    with pytest.raises(Fault, match="target_closed"):
        talk.answer(codec.HANDLE, string(b"h1"))


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(0, 3))
def test_answers_around_a_question_are_shown_whole_and_in_order(cuts: list[int], split: int) -> None:
    """Whatever the network cuts: our own answers are never shown, and everybody else's always are."""
    talk = Talk()
    talk.open()
    for number in (11, 12, 13):
        talk.engine.receive(Side.CLIENT, codec.request(codec.READ, number, string(b"h1"), u64(number), u32(5)))
    before = codec.request(codec.DATA, 11, string(b"eleven"))
    early = talk.engine.receive(Side.TARGET, before[: split * 5]) if split else []
    shown = b"".join(unit.data for unit in early if isinstance(unit, Output))
    (asked,) = talk.engine.receive(Side.CLIENT, codec.request(codec.STAT, 14, string(b"/x")))
    assert isinstance(asked, Asked)
    twelve, thirteen = (codec.request(codec.DATA, n, string(b"data")) for n in (12, 13))
    fourteen = codec.request(codec.ATTRS, 14, NOTHING)
    stream, forwarded, at = before[split * 5 :] + twelve + name(OWN, b"/x") + thirteen + fourteen, [], 0
    for size in [*cuts, len(stream)]:
        if not (piece := stream[at : at + size]):
            break
        for unit in talk.engine.receive(Side.TARGET, piece):
            if isinstance(unit, Output):
                shown += unit.data
            else:
                forwarded.append(unit)
        at += size
    assert shown == before + twelve + thirteen + fourteen
    assert forwarded == [Housekeeping(Side.TARGET, codec.request(codec.STAT, 14, string(b"/x")))]


@given(st.binary(max_size=120), st.integers(0, 255))
def test_garbage_asks_for_nothing_that_was_not_read_to_its_end(body: bytes, kind: int) -> None:
    talk = Talk()
    data = codec.packet(kind, u32(1), body)
    for unit in talk.engine.receive(Side.CLIENT, data):
        if isinstance(unit, Asked):
            # Nothing that the client wrote is forwarded yet: only questions, under numbers of the gateway's own.
            for number, packet in enumerate(codec.Splitter().feed(unit.data)):
                question = codec.Reader(packet)
                assert question.type in (codec.REALPATH, codec.EXTENDED)
                assert question.u32() == OWN - number
        elif isinstance(unit, Housekeeping) and unit.to is Side.TARGET:
            # Nothing is open, so only extensions without a handle can pass.
            assert kind == codec.EXTENDED
            assert codec.Reader(data[:5] + data[9:]).string() in sftp_operations.HANDLE_EXTENSIONS


@given(st.binary(max_size=200))
def test_garbage_from_the_target_is_its_fault(data: bytes) -> None:
    engine, code = Talk().engine, "target_closed"
    try:
        engine.receive(Side.TARGET, data)
    except Fault as fault:
        code = fault.code
    assert code in ("target_closed", "protocol_error")
