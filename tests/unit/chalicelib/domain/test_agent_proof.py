"""Agents' proofs, and proofs that are not."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from chalicelib.contracts import ids
from chalicelib.contracts.faults import Fault
from chalicelib.domain import agent_proof, base64url
from chalicelib.domain.agent_proof import Replays
from tests.fakes.clock import FakeClock
from tests.fakes.world import AgentKeys
from tests.patience import HANG_S

CLOCK = FakeClock()
KEYS = AgentKeys(agent_id=ids.mint(ids.AGENT, CLOCK.now, b"0123456789"))


def token(**changed: Any) -> str:
    return KEYS.proof(CLOCK, "POST", "/agent/announce", b"{}", **changed).removeprefix("Agent ")


def refused(text: str, key: bytes = KEYS.public_key) -> None:
    with pytest.raises(Fault) as caught:
        agent_proof.verify(text, key)
    assert caught.value.code == "agent_proof_invalid"


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_a_proof_names_its_agent_and_its_request(alg: str) -> None:
    made = token(alg=alg)
    assert agent_proof.peek(made) == KEYS.agent_id
    claims = agent_proof.verify(made, KEYS.public_key)
    assert (claims.sub, claims.htm, claims.htp) == (KEYS.agent_id, "POST", "/agent/announce")


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256", ""])
def test_other_algorithms_are_refused(alg: str) -> None:
    refused(token(alg=alg))


@pytest.mark.parametrize("typ", ["JWT", "sallyport-ticket+jwt", "sallyport-access+jwt", ""])
def test_other_kinds_of_token_are_refused(typ: str) -> None:
    refused(token(typ=typ))


def test_another_key_is_refused() -> None:
    refused(token(), AgentKeys().public_key)
    refused(token(), b"k" * 31)


def test_a_changed_proof_is_refused() -> None:
    header, _, signature = token().split(".")
    claims = base64url.encode(msgspec.json.encode({"sub": KEYS.agent_id}))
    refused(f"{header}.{claims}.{signature}")
    refused(f"{header}.{claims}.")


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.b.c.d", "." * 2, "x" * 5000, "é.é.é"])
def test_what_is_no_token_is_refused(text: str) -> None:
    refused(text)
    with pytest.raises(Fault):
        agent_proof.peek(text)


@pytest.mark.parametrize("jti", ["", "short", "x" * 129, "with space"])
def test_an_identifier_of_another_shape_is_refused(jti: str) -> None:
    refused(token(jti=jti))


@pytest.mark.parametrize("extra", [{"crit": ["b64"], "b64": False}, {"jwk": {}}, {"jku": "https://evil.example"}])
def test_headers_that_we_do_not_know_are_refused(extra: dict[str, Any]) -> None:
    header = {"alg": "EdDSA", "typ": "sallyport-agent-proof+jwt", "kid": KEYS.agent_id} | extra
    _, claims, _ = token().split(".")
    signed = f"{base64url.encode(msgspec.json.encode(header))}.{claims}"
    refused(f"{signed}.{base64url.encode(KEYS.key.sign(signed.encode()))}")


def test_a_proof_counts_once() -> None:
    replays = Replays()
    assert replays.first("agt_1", "jti", 0)
    assert not replays.first("agt_1", "jti", 59_000)
    assert replays.first("agt_2", "jti", 0)


def test_one_of_many_threads_is_first() -> None:
    replays, start, won = Replays(), threading.Barrier(8), []

    def present() -> None:
        start.wait(HANG_S)
        won.append(replays.first("agt_1", "jti", 0))

    threads = [threading.Thread(target=present) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(won) == [False] * 7 + [True]


def test_what_is_long_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_proof, "_REMEMBERED", 2)
    replays = Replays()
    assert replays.first("a", "1", 0)
    assert replays.first("a", "2", 0)
    assert replays.first("a", "3", 121_000)
    assert not replays.first("a", "3", 121_000)
    assert len(replays._seen) == 1
