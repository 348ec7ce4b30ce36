"""A world in which web-1 keeps sealed originals: sessions are recorded and sealed by the agent's own code."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

import msgspec
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime.sealing import Sealer
from chalicelib.contracts import gateway, originals, recording
from chalicelib.contracts.api import ChunkUpload, SessionClaim, SessionClose
from chalicelib.contracts.api_originals import EraseAsk, Erased, UnmaskAsk, Unmasked, UnmaskUse
from chalicelib.contracts.api_requests import Ballot
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.originals import SEALING_TYP, Header, SealingClaims, SealingKey
from chalicelib.contracts.recording import Chunk
from chalicelib.ports import OriginalsKey
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.erase_originals import erase_originals
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.request_originals import request_erasure, request_unmask
from chalicelib.usecases.unmask_session import unmask_session
from chalicelib.usecases.vote import vote
from tests.fakes.chunks import text_of
from tests.fakes.world import ADMIN, ALICE, FILES, SSH, World, person

IP = "192.0.2.9"
SEALING = msgspec.structs.replace(SSH, controls=[*SSH.controls, gateway.Control(name="seal", enforced=True)])
RULES = """
@id("unmask") permit(principal in Group::"dpo", action == Action::"unmask", resource);
@id("erase") permit(principal in Group::"dpo", action == Action::"erase", resource);
@id("approvers") permit(principal, action == Action::"approve", resource)
when { principal in Group::"platform" || principal in Group::"works-council" || principal in Group::"dpo" };
"""
ASKS = """
@id("council") @message("The works council has to agree.") @approval("group:works-council ttl:10m")
forbid(principal, action in [Action::"unmask", Action::"erase"], resource) unless { context.approvals.contains("works-council") };
"""
GATEWAY = FILES["gateway.yaml"].replace("    max_session: 1h\n", "    max_session: 1h\n    originals: sealed\n")
FILES_SEALED = FILES | {"gateway.yaml": GATEWAY, "originals.cedar": RULES}

DINA = person("dina@example.com", "dpo", "auditors")
WILL = person("will@example.com", "works-council")
SECRET = b'{"ch":1,"text":"4111 1111 1111 1111"}\n'


class SealedWorld(World):
    """What happens to originals, step by step."""

    @classmethod
    def made(cls, rules: str = "") -> SealedWorld:
        """A gateway with an agent that can seal, and everybody logged in."""
        world = cls.ready(FILES_SEALED | {"originals.cedar": RULES + rules}, SEALING)
        assert isinstance(world, SealedWorld)
        for who in (ALICE, ADMIN, DINA, WILL):
            world.login(who)
        return world

    def claimed(self, who: AccessClaims = ALICE, target: str = "web-1") -> tuple[str, str]:
        """Open and claim a session; return it and what the agent is given to seal with."""
        sid, _ = self.open(who, target)
        return sid, claim_session(self.ports, self.agent, sid, SessionClaim(path="relay")).sealing

    def sealer(self, sid: str, sealing: str) -> Sealer:
        """What the agent makes of the key."""
        claims = msgspec.convert(self.signer.verify_token(SEALING_TYP, sealing), SealingClaims)
        public = base64.b64decode(claims.public)
        return Sealer(sid, SealingKey(target=claims.target, month=claims.month, public=public))

    def recorded(self, *plain: bytes, who: AccessClaims = ALICE) -> str:
        """Record and end a session with these originals; return it."""
        sid, sealing = self.claimed(who)
        self.clock.advance(1)
        self.deliver(sid, "ch01.cast", b"masked\n")
        sealer = self.sealer(sid, sealing)
        for lines in plain or (SECRET,):
            self.deliver(sid, originals.KIND, sealer.seal([lines]))
        self.clock.advance(1)
        session = self.store.session(sid)
        assert session is not None
        close = SessionClose(state="ended", chunks=session.chunks, chain=session.chain, operations=1, denied=0)
        close_session(self.ports, self.agent, sid, close)
        return sid

    def deliver(self, sid: str, kind: str, lines: bytes) -> None:
        """Register and store a chunk as the agent does."""
        session = self.store.session(sid)
        assert session is not None
        body = zstandard.ZstdCompressor().compress(lines)
        digest = hashlib.sha256(body).hexdigest()
        chain = recording.link(session.chain, session.chunks, self.clock.now, digest)
        chunk = Chunk(n=session.chunks, kind=kind, time_ms=self.clock.now, size=len(body), sha256=digest, chain=chain)
        register_chunk(self.ports, self.agent, sid, ChunkUpload(chunk=chunk, operations=1, denied=0))
        self.archive.put(recording.key(session.recording, chunk), body)

    def sealed(self, sid: str) -> tuple[Header, list[bytes]]:
        """What the bucket has of a session's originals: the heading, and the sealed records."""
        lines = b""
        for stored in self.store.chunks(sid):
            if stored.chunk.kind == originals.KIND:
                found = self.archive.read(stored.key)
                assert found is not None
                lines += text_of(found.body)
        first, *rest = lines.splitlines()
        return originals.read_header(first), [originals.read_record(line).sealed for line in rest]

    def key(self, month: str = "", target: str = "web-1") -> OriginalsKey:
        """The key's row."""
        found = self.store.originals_key(target, month or originals.month_of(self.clock.now))
        assert found is not None
        return found

    # --- people

    def asks(self, sid: str, who: AccessClaims = DINA, reason: str = "case 12") -> ApprovalRequest:
        return request_unmask(self.ports, who, sid, UnmaskAsk(reason=reason), IP).request

    def asks_erasure(self, month: str, who: AccessClaims = DINA, target: str = "web-1") -> ApprovalRequest:
        return request_erasure(self.ports, who, EraseAsk(target=target, month=month, reason="retention"), IP).request

    def says(self, who: AccessClaims, request: ApprovalRequest, approve: bool = True) -> ApprovalRequest:
        ballot = Ballot(approve=approve, digest=request.digest, comment="looked at it")
        return vote(self.ports, who, request.rid, ballot, IP).request

    def unmask(self, rid: str, sid: str, who: AccessClaims = DINA, use: str = "", **changed: Any) -> Unmasked:
        """Use the yes, for the originals of ``sid``."""
        header, _ = self.sealed(sid)
        fields = {"use": use or secrets.token_urlsafe(16), "content": base64.b64encode(header.content).decode()} | changed
        return unmask_session(self.ports, who, rid, UnmaskUse(**fields), IP)

    def erase(self, rid: str, who: AccessClaims = DINA) -> Erased:
        return erase_originals(self.ports, who, rid, IP)

    def log_catches_up(self) -> None:
        catch_up_log(self.ports)

    def agreed(self, sid: str) -> ApprovalRequest:
        """A yes by an administrator."""
        return self.says(ADMIN, self.asks(sid))

    def unmasked(self, rid: str, sid: str, who: AccessClaims = DINA) -> Unmasked:
        """Use the yes as the command line does: ask, let the log catch up, ask again."""
        from chalicelib.contracts.faults import Fault

        use = secrets.token_urlsafe(16)
        try:
            return self.unmask(rid, sid, who, use)
        except Fault as fault:
            if fault.code != "log_behind":
                raise
        self.log_catches_up()
        return self.unmask(rid, sid, who, use)


def plain(found: Unmasked, records: list[bytes]) -> bytes:
    """What a content key opens."""
    cipher = AESGCM(base64.b64decode(found.content_key))
    return b"".join(
        cipher.decrypt(originals.nonce(n), each, originals.aad(found.sid, found.target, found.month, found.key, n))
        for n, each in enumerate(records)
    )
