"""Altered evidence is never shown: every way to alter it, each beside what an honest recording does."""

from __future__ import annotations

import msgspec
import pytest
import zstandard

from chalicelib.contracts import api, recording
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import State
from cli import evidence
from cli.evidence import gather
from tests.fakes.http_control_plane import FakeControlPlane, Reply
from tests.unit.cli.conftest import NOW_MS, session

PARTS = [
    ("ch01.cast", NOW_MS, b'{"version":3}\n[0,"o","one"]\n'),
    ("ch02.jsonl", NOW_MS + 1, b'{"format":"x"}\n'),
    ("ch01.cast", NOW_MS + 2, b'[1,"o","two"]\n'),
]
replace = msgspec.structs.replace


@pytest.fixture
def links(plane: FakeControlPlane) -> api.RecordingLinks:
    return plane.recordings[plane.record(session(1), PARTS).sid]


def test_an_honest_recording(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    with gather(links) as found:
        assert (found.count, found.missing, found.head) == (3, 0, links.session.chain)
        assert found.kinds() == ["ch01.cast", "ch02.jsonl"]
        assert list(found.lines("ch01.cast")) == [b'{"version":3}\n', b'[0,"o","one"]\n', b'[1,"o","two"]\n']
        assert found.began_ms("ch02.jsonl") == NOW_MS + 1
        assert found.size("ch02.jsonl") == links.chunks[1].chunk.size
    assert not any("authorization" in request.headers for request in plane.requests)


def test_many_chunks_stay_in_order(plane: FakeControlPlane) -> None:
    parts = [("ch01.cast", NOW_MS + n, b"%d\n" % n) for n in range(50)]
    with gather(plane.recordings[plane.record(session(1), parts).sid]) as found:
        assert [int(line) for line in found.lines("ch01.cast")] == list(range(50))


def test_every_frame_of_a_chunk_is_read(plane: FakeControlPlane) -> None:
    plane.compress = lambda text: zstandard.compress(text) + zstandard.compress(b"hidden\n")
    with gather(plane.recordings[plane.record(session(1), PARTS[:1]).sid]) as found:
        assert list(found.lines("ch01.cast"))[-1] == b"hidden\n"


def altered(links: api.RecordingLinks, match: str) -> None:
    with pytest.raises(Fault, match=match) as caught:
        gather(links)
    assert (caught.value.code, caught.value.kind.exit) == ("evidence_altered", 7)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_changed_byte(links: api.RecordingLinks, plane: FakeControlPlane, n: int) -> None:
    name = f"{links.session.sid}/{n}"
    plane.blobs[name] = plane.blobs[name][:-1] + bytes([plane.blobs[name][-1] ^ 1])
    altered(links, f"Chunk {n} is not what was recorded")


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"x", lambda body: b""])
def test_another_length(links: api.RecordingLinks, plane: FakeControlPlane, change: object) -> None:
    name = f"{links.session.sid}/1"
    plane.blobs[name] = change(plane.blobs[name])  # type: ignore[operator]
    altered(links, "Chunk 1 is not what was recorded")


def test_two_objects_swapped(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    sid = links.session.sid
    plane.blobs[f"{sid}/0"], plane.blobs[f"{sid}/2"] = plane.blobs[f"{sid}/2"], plane.blobs[f"{sid}/0"]
    altered(links, "Chunk 0 is not what was recorded")


def test_two_entries_swapped(links: api.RecordingLinks) -> None:
    altered(replace(links, chunks=[links.chunks[0], links.chunks[2], links.chunks[1]]), "Chunk 1 is missing from the listing")


@pytest.mark.parametrize("n", [0, 1])
def test_an_entry_dropped(links: api.RecordingLinks, n: int) -> None:
    left = [each for each in links.chunks if each.chunk.n != n]
    altered(replace(links, chunks=left, urls=links.urls[:2]), f"Chunk {n} is missing from the listing")


def test_the_last_entry_dropped(links: api.RecordingLinks) -> None:
    altered(replace(links, chunks=links.chunks[:2], urls=links.urls[:2]), "3 chunks and another chain head than the 2")


def test_every_entry_dropped(links: api.RecordingLinks) -> None:
    altered(replace(links, chunks=[], urls=[]), "3 chunks")


def test_a_link_too_few(links: api.RecordingLinks) -> None:
    altered(replace(links, urls=links.urls[:2]), "one link for every chunk")


def test_a_chunk_and_its_hash_replaced(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    import hashlib

    body = zstandard.compress(b"nothing happened\n")
    forged = replace(links.chunks[1].chunk, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    plane.blobs[f"{links.session.sid}/1"] = body
    altered(
        replace(links, chunks=[links.chunks[0], replace(links.chunks[1], chunk=forged), links.chunks[2]]),
        "chain breaks at chunk 1",
    )


def test_the_whole_chain_made_anew(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    other = plane.recordings[plane.record(session(2), [(kind, ms, text.replace(b"one", b"ONE")) for kind, ms, text in PARTS]).sid]
    altered(replace(other, session=links.session), "start of the hash chain")
    again = plane.recordings[plane.record(session(1), [(kind, ms, text.replace(b"one", b"ONE")) for kind, ms, text in PARTS]).sid]
    altered(replace(again, session=links.session), "another chain head")


@pytest.mark.parametrize("field", [{"time_ms": 5}, {"sha256": "0" * 64}, {"chain": "0" * 64}])
def test_a_changed_field(links: api.RecordingLinks, field: dict[str, object]) -> None:
    forged = replace(links.chunks[1], chunk=replace(links.chunks[1].chunk, **field))
    altered(replace(links, chunks=[links.chunks[0], forged, links.chunks[2]]), "chain breaks at chunk 1")


@pytest.mark.parametrize(
    "field", [{"kind": "../x"}, {"size": 0}, {"size": recording.CHUNK_LIMIT + 1}, {"sha256": "x"}, {"n": -1}]
)
def test_a_misshapen_entry(links: api.RecordingLinks, field: dict[str, object]) -> None:
    forged = replace(links.chunks[0], chunk=replace(links.chunks[0].chunk, **field))
    altered(replace(links, chunks=[forged, *links.chunks[1:]]), "entry 0 is not a chunk")


def test_another_seed(links: api.RecordingLinks) -> None:
    for seed in ("0" * 64, "not hex"):
        altered(replace(links, chain_seed=seed), "start of the hash chain")


def test_a_start_that_another_agent_or_session_would_have(links: api.RecordingLinks) -> None:
    altered(replace(links, agent_key="a" * 43), "start of the hash chain")
    altered(replace(links, agent_key="!"), "start of the hash chain")
    altered(replace(links, agent_key=""), "which agent recorded")
    renamed = replace(links.session, sid=session(2).sid)
    altered(replace(links, session=renamed), "start of the hash chain")


def pages(links: api.RecordingLinks, size: int) -> list[api.RecordingLinks]:
    """The listing, cut into pages."""
    cuts = range(0, len(links.chunks), size)
    found = [replace(links, chunks=links.chunks[at : at + size], urls=links.urls[at : at + size], next=at + size) for at in cuts]
    return [*found[:-1], replace(found[-1], next=0)]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_long_recording_comes_page_by_page(links: api.RecordingLinks, size: int) -> None:
    first, *rest = pages(links, size)
    with gather(first, lambda at: rest[at // size - 1]) as found:
        assert (found.count, found.head) == (3, links.session.chain)


def test_a_page_left_out_twice_or_too_few(links: api.RecordingLinks) -> None:
    first, second, third = pages(links, 1)
    for more, match in (
        (lambda at: third, "Chunk 1 is missing"),
        (lambda at: first, "Chunk 1 is missing"),
        (lambda at: replace(second, next=0), "3 chunks and another chain head than the 2"),
        (lambda at: replace(second, next=9), "goes on at chunk 9"),
        (lambda at: replace(second, chunks=[], urls=[]), "goes on at chunk 2"),
        (lambda at: replace(second, session=replace(links.session, sid=session(2).sid)), "another session"),
    ):
        with pytest.raises(Fault, match=match) as caught:
            gather(first, more)
        assert caught.value.code == "evidence_altered"
    with pytest.raises(Fault, match="ends before chunk 1"):
        gather(first)


@pytest.mark.parametrize("n", [0, 2])
@pytest.mark.parametrize("status", [404, 403])
def test_a_missing_object(links: api.RecordingLinks, plane: FakeControlPlane, n: int, status: int) -> None:
    plane.overrides["GET", f"/blobs/{links.session.sid}/{n}"] = Reply(status, b"<Error><Code>AccessDenied</Code></Error>")
    altered(links, f"Chunk {n} was recorded but is missing")


@pytest.mark.parametrize("state", [State.LIVE, State.INTERRUPTED])
def test_the_end_may_not_have_arrived_yet(links: api.RecordingLinks, plane: FakeControlPlane, state: State) -> None:
    del plane.blobs[f"{links.session.sid}/2"]
    with gather(replace(links, session=replace(links.session, state=state))) as found:
        assert (found.count, found.missing) == (2, 1)


def test_a_hole_is_never_honest(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    del plane.blobs[f"{links.session.sid}/1"]
    altered(replace(links, session=replace(links.session, state=State.LIVE)), "Chunk 1 was recorded but is missing")


def test_nothing_has_arrived_yet(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    plane.blobs.clear()
    with pytest.raises(Fault, match="not_found"):
        gather(replace(links, session=replace(links.session, state=State.LIVE)))


def test_nothing_was_recorded(plane: FakeControlPlane) -> None:
    with pytest.raises(Fault, match="Nothing is recorded"):
        gather(plane.recordings[plane.record(session(1, state=State.DENIED), []).sid])


def test_an_expired_link_is_not_an_alteration(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    plane.overrides["GET", f"/blobs/{links.session.sid}/0"] = Reply(403, body)
    with pytest.raises(Fault, match="control_plane_unreachable"):
        gather(links)


def test_a_link_is_not_followed_elsewhere(links: api.RecordingLinks, plane: FakeControlPlane) -> None:
    plane.overrides["GET", f"/blobs/{links.session.sid}/0"] = Reply(
        302, b"", {"Location": f"{plane.url}/blobs/{links.session.sid}/1"}
    )
    with pytest.raises(Fault, match="HTTP 302"):
        gather(links)
    with pytest.raises(Fault, match="https://"):
        gather(replace(links, urls=["http://bucket.example/0", *links.urls[1:]]))


def test_a_frame_that_is_none(plane: FakeControlPlane) -> None:
    plane.compress = lambda _: b"not zstd at all"
    with (
        gather(plane.recordings[plane.record(session(1), PARTS[:1]).sid]) as found,
        pytest.raises(Fault, match="recording_failed"),
    ):
        list(found.lines("ch01.cast"))


def test_a_bomb_is_bounded(plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_TEXT_LIMIT", 1000)
    for text in (b"x" * 5000, b"x\n" * 5000):
        links = plane.recordings[plane.record(session(len(text)), [("ch01.cast", NOW_MS, text)]).sid]
        with gather(links) as found, pytest.raises(Fault, match="more than 1000 bytes"):
            list(found.lines("ch01.cast"))
