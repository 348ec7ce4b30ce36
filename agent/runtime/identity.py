"""Who the agent is: its Ed25519 key, its SSH host key, and whom it trusts since enrolment. Kept in the state directory, 0600.

agent.key       Ed25519, OpenSSH format: signs a proof for every request
ssh_host.key    Ed25519, OpenSSH format: the key of the agent's own SSH side
identity.json   what enrolment returned
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

from agent.runtime.operator_tls import OperatorCertificate
from agent.runtime.spool import write_whole
from agent.runtime.spool_keys import spool_secret
from chalicelib.contracts import ids
from chalicelib.contracts.api import AgentEnrolled, Trust
from chalicelib.contracts.capability import (
    APPROVAL_TYP,
    CONTROL_AUDIENCE,
    PROOF_TYP,
    TICKET_TYP,
    WATCH_TYP,
    ApprovalClaims,
    ProofClaims,
    TicketClaims,
    WatchClaims,
    check_ticket,
    check_watch,
)
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SEALING_TYP, SealingClaims, SealingKey, month_of

_AGENT_KEY: Final = "agent.key"
_HOST_KEY: Final = "ssh_host.key"
_IDENTITY: Final = "identity.json"
_T = TypeVar("_T")
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


class Keys:
    """The two private keys, made at enrolment."""

    def __init__(self, agent: Ed25519PrivateKey, host: Ed25519PrivateKey) -> None:
        self.agent = agent
        self.host = host

    @property
    def public_bytes(self) -> bytes:
        """Raw 32-byte public key of the agent."""
        return self.agent.public_key().public_bytes_raw()

    @property
    def public_text(self) -> str:
        """The same, base64url without padding."""
        return base64.urlsafe_b64encode(self.public_bytes).rstrip(b"=").decode()

    @property
    def spool_secret(self) -> bytes:
        """What the agent's spool is sealed with."""
        return spool_secret(self.agent.private_bytes_raw())

    @property
    def host_public(self) -> str:
        """Public line of the SSH host key."""
        return self.host.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()

    @property
    def host_private(self) -> bytes:
        """OpenSSH private key of the SSH host key."""
        return _private(self.host)


def make_keys(state: Path) -> Keys:
    """Return the keys in ``state``, made now where they do not exist: a failed enrolment keeps its keys."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (_AGENT_KEY, _HOST_KEY):
        if not (state / name).exists():
            write_whole(state / name, _private(Ed25519PrivateKey.generate()))
    return _read_keys(state)


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """``identity.json``."""

    url: str
    agent_id: str
    name: str
    trust: Trust


def save(state: Path, url: str, enrolled: AgentEnrolled) -> None:
    """Keep what enrolment returned."""
    kept = Enrolled(url=url, agent_id=enrolled.agent_id, name=enrolled.name, trust=enrolled.trust)
    write_whole(state / _IDENTITY, msgspec.json.format(msgspec.json.encode(kept)))


def load(state: Path) -> tuple[Enrolled, Keys]:
    """Return the identity in ``state``. Raises Fault(agent_unknown) where there is none, config_invalid where it is unusable."""
    try:
        enrolled = msgspec.json.decode((state / _IDENTITY).read_bytes(), type=Enrolled)
    except FileNotFoundError:
        raise Fault(
            "agent_unknown",
            f"This agent is not enrolled: {state} holds no identity.",
            hint="Run: sallyport-agent enrol --url URL --token TOKEN",
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise Fault("config_invalid", f"{state / _IDENTITY}: cannot be used.", detail=str(error)) from None
    return enrolled, _read_keys(state)


class Identity:
    """The running agent's identity: signs proofs, checks tickets, and is the ``HostIdentity`` of the plug-ins."""

    def __init__(
        self, enrolled: Enrolled, keys: Keys, now_ms: Callable[[], int], operator: OperatorCertificate | None = None
    ) -> None:
        self.agent_id = enrolled.agent_id
        self.name = enrolled.name
        self.trust = enrolled.trust
        self.public_bytes = keys.public_bytes
        self.certificate = ""
        self.operator = operator
        self._host_private = keys.host_private
        self._now_ms = now_ms
        self._signing = OKPKey.import_key(_private(keys.agent, serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM))

    @property
    def private_key(self) -> bytes:
        """OpenSSH private key of the SSH side."""
        return self._host_private

    @property
    def ssh_ca(self) -> str:
        """The gateway's SSH CA."""
        return self.trust.ssh_ca

    def now_ms(self) -> int:
        """The control plane's Unix milliseconds."""
        return self._now_ms()

    def renew(self, certificate: str, trust: Trust) -> None:
        """Take a new host certificate and the trust that came with it. Raises Fault(token_invalid) for another gateway's."""
        if trust.issuer != self.trust.issuer:
            raise Fault("token_invalid", "The control plane says that it is another gateway now.", hint="Enrol the agent again.")
        self.certificate = certificate
        self.trust = trust

    def proof(self, method: str, path: str, body: bytes = b"") -> str:
        """Return the value of the ``Authorization`` header for one request. ``path`` is without the stage."""
        claims = ProofClaims(
            sub=self.agent_id,
            aud=CONTROL_AUDIENCE,
            iat=self._now_ms() // 1000,
            jti=secrets.token_urlsafe(12),
            htm=method,
            htp=path,
            bsh=hashlib.sha256(body).hexdigest() if body else _EMPTY_SHA256,
        )
        header = {"alg": "EdDSA", "typ": PROOF_TYP, "kid": self.agent_id}
        return "Agent " + jws.serialize_compact(header, msgspec.json.encode(claims), self._signing, algorithms=["EdDSA"])

    def ticket(self, text: str) -> TicketClaims:
        """Return the claims of a ticket that this gateway signed for this agent and that is good now. Raises Fault."""
        refused = Fault("ticket_invalid", "The ticket was not issued by this gateway.")
        claims = _claims(text, self.trust.token_key, TICKET_TYP, TicketClaims, refused)
        if claims.iss != self.trust.issuer:
            raise Fault("ticket_invalid", "The ticket was issued by another gateway.")
        if not ids.is_id(ids.SESSION, claims.sid):
            raise Fault("ticket_invalid", "The ticket names no session.")  # it is going to be the name of a directory
        check_ticket(claims, self.agent_id, self._now_ms())
        return claims

    def watch_ticket(self, text: str) -> WatchClaims:
        """Return the claims of a watch ticket that this gateway signed for this agent and that is good now. Raises Fault."""
        refused = Fault("ticket_invalid", "The ticket was not issued by this gateway.")
        claims = _claims(text, self.trust.token_key, WATCH_TYP, WatchClaims, refused)
        if claims.iss != self.trust.issuer or not ids.is_id(ids.WATCH, claims.wid):
            raise refused
        check_watch(claims, self.agent_id, self._now_ms())
        return claims

    def approval(self, text: str) -> ApprovalClaims:
        """Return the claims of an approval that this gateway signed. What they cover is checked where they are used."""
        refused = Fault("approval_mismatch", "The approval was not signed by this gateway.")
        return _claims(text, self.trust.token_key, APPROVAL_TYP, ApprovalClaims, refused)

    def sealing_key(self, text: str, ticket: TicketClaims) -> SealingKey:
        """Return the key that this gateway signed for the originals of the session of ``ticket``. Raises Fault(recording_failed).

        It must be of this target and of the month in which the session was opened: a forged table could offer another.
        """
        refused = Fault("recording_failed", "The key for this session's originals was not signed by this gateway.")
        claims = _claims(text, self.trust.token_key, SEALING_TYP, SealingClaims, refused)
        months = {month_of(time_ms) for time_ms in (ids.minted_ms(ticket.sid), ticket.iat * 1000)}
        if claims.iss != self.trust.issuer or claims.target != ticket.target or claims.month not in months:
            raise Fault("recording_failed", "The key for this session's originals is another gateway's, target's or month's.")
        try:
            public = base64.b64decode(claims.public, validate=True)
        except ValueError:
            raise refused from None
        return SealingKey(target=claims.target, month=claims.month, public=public)


def _claims(text: str, token_key: dict[str, str], typ: str, kind: type[_T], refused: Fault) -> _T:
    try:
        key: Any = ECKey.import_key(dict(token_key))
        token = jws.deserialize_compact(text, key, algorithms=["ES256"])
    except (JoseError, ValueError, TypeError, KeyError):
        raise refused from None
    if token.protected.get("typ") != typ:
        raise refused
    try:
        return msgspec.json.decode(token.payload or b"", type=kind)
    except msgspec.DecodeError:
        raise refused from None


def _read_keys(state: Path) -> Keys:
    found = []
    for name in (_AGENT_KEY, _HOST_KEY):
        path = state / name
        try:
            if path.stat().st_mode & 0o077:
                raise Fault("config_invalid", f"{path}: may be read by others, so it is no longer a secret.", hint="Enrol again.")
            key = serialization.load_ssh_private_key(path.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise Fault("config_invalid", f"{path}: cannot be used as a private key.", detail=str(error)) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Fault("config_invalid", f"{path}: is not an Ed25519 key.")
        found.append(key)
    return Keys(*found)


def _private(
    key: Ed25519PrivateKey,
    form: serialization.PrivateFormat = serialization.PrivateFormat.OpenSSH,
    encoding: serialization.Encoding = serialization.Encoding.PEM,
) -> bytes:
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def running_as_owner(state: Path) -> bool:
    """Tell whether this process owns ``state``; a start under another user would leave files that the agent cannot read."""
    return not state.exists() or state.stat().st_uid == os.geteuid()
