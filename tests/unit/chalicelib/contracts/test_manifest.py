"""Manifests: what they say of themselves must hold together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts import manifest, recording
from chalicelib.contracts.manifest import Clocks, Counts, Entry, Manifest, Recorder

SID, KEY = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", bytes(range(32))


def example(count: int = 3) -> Manifest:
    head, chunks = recording.seed(SID, KEY), []
    for n in range(count):
        sha256 = f"{n + 1:02x}" * 32
        head = recording.link(head, n, 1000 + n, sha256)
        chunks.append(
            Entry(
                name=f"{n:06d}_000001Z.ch01.cast.zst", n=n, kind="ch01.cast", time_ms=1000 + n, size=9, sha256=sha256, chain=head
            )
        )
    return Manifest(
        log="gw.example/log",
        sid=SID,
        status="complete",
        state="ended",
        message="",
        principal="alice@example.com",
        groups=["sre"],
        source_ip="192.0.2.7",
        target="web",
        protocol="ssh",
        login="deploy",
        reason="ticket",
        path="relay",
        policy_version=3,
        rule="sre",
        approvals=[],
        recorder=Recorder(name="edge", agent_id="agt_1", public_key=KEY.hex()),
        clocks=Clocks(opened_ms=900, started_ms=950, ended_ms=5000, deadline_ms=9000, agent_first_ms=1000, agent_last_ms=1002),
        counts=Counts(chunks=count, bytes=9 * count, operations=4, denied=1),
        seed=recording.seed(SID, KEY),
        chain=head,
        chunks=chunks,
    )


@given(st.integers(0, 20))
def test_what_is_stored_is_read(count: int) -> None:
    made = example(count)
    assert manifest.decode(manifest.encode(made)) == made
    assert manifest.broken_link(made) == ""
    assert manifest.encode(made).endswith(b"}\n")


def spoiled(at: int, **changes: Any) -> Manifest:
    made = example()
    chunks = list(made.chunks)
    chunks[at] = msgspec.structs.replace(chunks[at], **changes)
    return msgspec.structs.replace(made, chunks=chunks)


@pytest.mark.parametrize(
    "made",
    [
        msgspec.structs.replace(example(), sid="ses_01JD8QZ6T3N0V9C4K2M7X5B1HS"),
        msgspec.structs.replace(example(), recorder=Recorder(name="edge", agent_id="agt_1", public_key="ff" * 32)),
        msgspec.structs.replace(example(), recorder=Recorder(name="edge", agent_id="agt_1", public_key="nonsense")),
        msgspec.structs.replace(example(), chunks=example().chunks[:-1]),
        msgspec.structs.replace(example(), chunks=[*example().chunks[:1], *example().chunks[2:]]),
        msgspec.structs.replace(example(), chunks=example().chunks[::-1]),
        msgspec.structs.replace(example(), chain="ab" * 32),
        msgspec.structs.replace(example(), counts=Counts(chunks=2, bytes=27, operations=4, denied=1)),
        msgspec.structs.replace(example(), counts=Counts(chunks=3, bytes=28, operations=4, denied=1)),
        spoiled(1, sha256="ab" * 32),
        spoiled(1, sha256="AB" * 32),
        spoiled(1, time_ms=1),
        spoiled(1, time_ms=-1),
        spoiled(1, size=-1),
        spoiled(1, chain="ab" * 32),
        spoiled(1, name="../../etc/passwd"),
        spoiled(1, name="000001_/../x"),
        spoiled(1, name="000002_000001Z.ch01.cast.zst"),
    ],
)
def test_what_does_not_hold_together_is_said(made: Manifest) -> None:
    assert manifest.broken_link(made)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", manifest.encode(example()).replace(b"manifest/1", b"manifest/2")])
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="manifest"):
        manifest.decode(raw)


def test_a_recovered_manifest_has_names_of_its_own() -> None:
    assert set(manifest.names("recovered")).isdisjoint(manifest.names("truncated"))
    assert manifest.names("truncated") == manifest.names("complete")
