"""The agent's identity: keys that nobody else can read, proofs for one request, and tickets that this gateway signed."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey

from agent.runtime import identity as identities
from agent.runtime.identity import Enrolled, Identity
from chalicelib.contracts import ids
from chalicelib.contracts.api import AgentEnrolled, Trust
from chalicelib.contracts.capability import PROOF_TYP, TICKET_TYP, WATCH_TYP, ProofClaims, TicketClaims, WatchClaims, check_proof
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SEALING_TYP, SealingClaims

NOW_MS = 1_700_000_000_000
AGENT = "agt_01JD8QZ6T3N0V9C4K2M7X5B1HR"
GATEWAY_KEY = ECKey.generate_key("P-256")
TRUST = Trust(
    issuer="https://gateway.test",
    ssh_ca="ecdsa-sha2-nistp256 AAAA",
    token_key={name: str(value) for name, value in GATEWAY_KEY.as_dict(private=False).items()},
    websocket_url="wss://gateway.test",
)
CLAIMS = TicketClaims(
    iss="https://gateway.test",
    aud=AGENT,
    sid="ses_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    sub="alice@example.com",
    target="web",
    login="root",
    policy_version=1,
    recording="recordings/x",
    iat=NOW_MS // 1000,
    exp=NOW_MS // 1000 + 60,
    deadline_ms=NOW_MS + 3_600_000,
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    identities.make_keys(tmp_path / "state")
    enrolled = AgentEnrolled(agent_id=AGENT, name="edge", trust=TRUST)
    identities.save(tmp_path / "state", "https://gateway.test/api", enrolled)
    return tmp_path / "state"


@pytest.fixture
def identity(state: Path) -> Identity:
    enrolled, keys = identities.load(state)
    return Identity(enrolled, keys, lambda: NOW_MS)


def signed(claims: object = CLAIMS, key: object = GATEWAY_KEY, typ: str = TICKET_TYP, alg: str = "ES256") -> str:
    body = claims if isinstance(claims, bytes) else msgspec.json.encode(claims)
    return jws.serialize_compact({"alg": alg, "typ": typ}, body, key, algorithms=[alg])  # type: ignore[arg-type]


def test_keys_are_made_once_and_kept_private(state: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    assert {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()} == dict.fromkeys(before, 0o600)
    identities.make_keys(state)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    _, keys = identities.load(state)
    assert keys.host_public.startswith("ssh-ed25519 AAAA")
    assert len(keys.public_bytes) == 32
    assert "=" not in keys.public_text


def test_a_key_that_others_can_read_is_no_key(state: Path) -> None:
    (state / "agent.key").chmod(0o640)
    with pytest.raises(Fault, match="no longer a secret"):
        identities.load(state)


def test_unusable_files_are_told_by_name(state: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        identities.load(tmp_path / "elsewhere")
    assert (caught.value.code, "enrol" in caught.value.hint) == ("agent_unknown", True)
    (state / "ssh_host.key").write_bytes(b"nonsense")
    with pytest.raises(Fault, match=r"ssh_host\.key"):
        identities.load(state)
    (state / "identity.json").write_bytes(b"{}")
    with pytest.raises(Fault, match=r"identity\.json"):
        identities.load(state)


def test_a_proof_is_for_one_request(identity: Identity, state: Path) -> None:
    _, keys = identities.load(state)
    scheme, _, token = identity.proof("POST", "/agent/announce", b"{}").partition(" ")
    raw = keys.agent.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    opened = jws.deserialize_compact(token, OKPKey.import_key(raw), algorithms=["EdDSA"])
    assert (scheme, opened.protected) == ("Agent", {"alg": "EdDSA", "typ": PROOF_TYP, "kid": AGENT})
    claims = msgspec.json.decode(opened.payload or b"", type=ProofClaims)
    digest = hashlib.sha256(b"{}").hexdigest()
    check_proof(claims, agent_id=AGENT, method="POST", path="/agent/announce", body_sha256=digest, now_ms=NOW_MS)
    assert identity.proof("GET", "/ws") != identity.proof("GET", "/ws")


def test_a_ticket_of_this_gateway_is_read(identity: Identity) -> None:
    assert identity.ticket(signed()) == CLAIMS


def test_a_ticket_signed_with_the_public_key_as_a_secret_is_refused(identity: Identity) -> None:
    # The classic confusion: an HMAC made with what everybody knows.
    pem = GATEWAY_KEY.as_pem(private=False)
    secret = OctKey.import_key(hashlib.sha256(pem).digest())
    for forged in (signed(key=secret, alg="HS256"), signed().rsplit(".", 1)[0] + "."):
        with pytest.raises(Fault) as caught:
            identity.ticket(forged)
        assert caught.value.code == "ticket_invalid"


@pytest.mark.parametrize(
    "token",
    [
        signed(key=ECKey.generate_key("P-256")),
        signed(typ=PROOF_TYP),
        signed(b"not json"),
        signed(b"[]"),
        signed({"iss": "https://gateway.test"}),
        signed(msgspec.structs.replace(CLAIMS, iss="https://elsewhere.test")),
        signed(msgspec.structs.replace(CLAIMS, sid="../../etc")),
        signed(msgspec.structs.replace(CLAIMS, sid="agt_01JD8QZ6T3N0V9C4K2M7X5B1HR")),
        "",
        "a.b",
        "..",
        "é.é.é",
        signed() + "x",
    ],
)
def test_anything_else_is_no_ticket(identity: Identity, token: str) -> None:
    with pytest.raises(Fault) as caught:
        identity.ticket(token)
    assert caught.value.code == "ticket_invalid"
    assert token not in str(caught.value) or not token


def test_renewed_trust_is_the_same_gateways(identity: Identity) -> None:
    identity.renew("ssh-ed25519-cert-v01@openssh.com AAAA", TRUST)
    assert identity.certificate.startswith("ssh-ed25519-cert")
    with pytest.raises(Fault, match="another gateway"):
        identity.renew("other", msgspec.structs.replace(TRUST, issuer="https://elsewhere.test"))
    assert identity.certificate.startswith("ssh-ed25519-cert")


def test_the_new_token_key_decides_after_a_rotation(identity: Identity) -> None:
    newer = ECKey.generate_key("P-256")
    public = {name: str(value) for name, value in newer.as_dict(private=False).items()}
    identity.renew("", msgspec.structs.replace(TRUST, token_key=public))
    assert identity.ticket(signed(key=newer)) == CLAIMS
    with pytest.raises(Fault):
        identity.ticket(signed())


def test_what_is_kept_of_an_enrolment_reads_back(state: Path) -> None:
    enrolled, _ = identities.load(state)
    assert enrolled == Enrolled(url="https://gateway.test/api", agent_id=AGENT, name="edge", trust=TRUST)


SEALING = SealingClaims(
    iss="https://gateway.test",
    target="web",
    month="2023-11",
    public=base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode(),
)
TICKET_NOW = msgspec.structs.replace(CLAIMS, sid=ids.mint(ids.SESSION, NOW_MS, b"0123456789"))


def test_originals_are_sealed_with_what_the_gateway_signed(identity: Identity) -> None:
    found = identity.sealing_key(signed(SEALING, typ=SEALING_TYP), TICKET_NOW)
    assert (found.target, found.month, found.public) == ("web", "2023-11", base64.b64decode(SEALING.public))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.y.z",
        signed(SEALING, typ=TICKET_TYP),
        signed(SEALING, key=ECKey.generate_key("P-256"), typ=SEALING_TYP),
        signed(b"{}", typ=SEALING_TYP),
        *(
            signed(msgspec.structs.replace(SEALING, **changed), typ=SEALING_TYP)  # type: ignore[arg-type]
            for changed in ({"iss": "https://other.test"}, {"target": "db"}, {"month": "2023-10"}, {"public": "!"})
        ),
    ],
)
def test_a_key_of_another_gateway_target_or_month_is_refused(identity: Identity, text: str) -> None:
    with pytest.raises(Fault) as raised:
        identity.sealing_key(text, TICKET_NOW)
    assert raised.value.code == "recording_failed"


WATCH = WatchClaims(
    iss="https://gateway.test",
    aud=AGENT,
    wid="wat_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    sid=CLAIMS.sid,
    sub="bob@example.com",
    iat=NOW_MS // 1000,
    exp=NOW_MS // 1000 + 60,
    deadline_ms=NOW_MS + 3_600_000,
)


def test_a_watchers_ticket_is_one_kind_and_a_sessions_another(identity: Identity) -> None:
    assert identity.watch_ticket(signed(WATCH, typ=WATCH_TYP)) == WATCH
    for text in (
        signed(),
        signed(WATCH),
        signed(CLAIMS, typ=WATCH_TYP),
        signed(WATCH, typ=WATCH_TYP, key=ECKey.generate_key("P-256")),
        signed(msgspec.structs.replace(WATCH, iss="https://elsewhere.test"), typ=WATCH_TYP),
        signed(msgspec.structs.replace(WATCH, wid="../x"), typ=WATCH_TYP),
    ):
        with pytest.raises(Fault) as caught:
            identity.watch_ticket(text)
        assert caught.value.code == "ticket_invalid"
    with pytest.raises(Fault) as caught:
        identity.ticket(signed(WATCH, typ=WATCH_TYP))
    assert caught.value.code == "ticket_invalid"
