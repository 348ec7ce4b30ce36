"""Sessions from the offer to the stored recording: who is admitted, who is not, and in which words."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey

from agent.runtime.spool import folders
from chalicelib.contracts import ids, relay
from chalicelib.contracts.capability import ACCESS_TYP
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SEALING_TYP, SealingClaims, month_of
from tests.fakes.control_plane import FakeControlPlane, document
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import CLOCK, FLOOR, RunRig, until
from tests.unit.agent.runtime.served import offer, say, serve_one

OTHER_AGENT = ids.mint(ids.AGENT, 1, b"0123456789")


def sealing(control: FakeControlPlane, **changed: object) -> str:
    """What a claim brings for originals, signed by the gateway's key."""
    public = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    claims = SealingClaims(iss=control.issuer, target="web", month=month_of(control.now_ms()), public=public)
    body = msgspec.json.encode(msgspec.structs.replace(claims, **changed))  # type: ignore[arg-type]
    return jws.serialize_compact({"alg": "ES256", "typ": SEALING_TYP}, body, control.token_key, ["ES256"])


async def test_a_session_that_keeps_originals_has_what_seals_them(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _, without = await serve_one(rig)
        control.sealing = sealing(control)
        _, tunnel = await serve_one(rig)
        assert [serving.sealer is not None for serving in rig.plugin.served] == [False, True]
        for each in (without, tunnel):
            each.client.close()


@pytest.mark.parametrize("changed", [{"target": "db"}, {"month": "2020-01"}, {"public": ""}, {"public": "AAAA"}])
async def test_with_a_key_that_is_none_nothing_is_served_and_the_session_ends(
    run_rig: RunRig, control: FakeControlPlane, changed: dict[str, object]
) -> None:
    control.sealing = sealing(control, **changed)
    async with run_rig() as rig:
        sid, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert rig.plugin.served == []
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "recording_failed"
        await until(lambda: rig.supervisor.live() == [])


async def test_a_session_from_offer_to_stored_recording(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        assert control.claims == [(sid, "relay")]
        assert rig.supervisor.live() == [sid]
        tunnel.client.close()
        await until(lambda: sid in control.closes)
        await until(lambda: rig.supervisor.live() == [])
        close = control.closes[sid]
        assert (close.state, close.message, close.operations) == ("ended", "", 1)
        assert (close.chunks, close.chain) == (1, control.chunks[sid][-1].chain)
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        assert not folders(rig.supervisor._deliveries.spool)


async def test_many_sessions_at_once(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        served = await asyncio.gather(*(serve_one(rig) for _ in range(8)))
        for _, tunnel in served:
            tunnel.client.close()
        await until(lambda: len(control.closes) == 8)
        assert all(control.chain_holds(sid) for sid, _ in served)


Spoil = Callable[[FakeControlPlane, Any], str]


BAD_TICKETS: dict[str, tuple[Spoil, str]] = {
    "garbage": (lambda plane, made: "not.a.ticket", "ticket_invalid"),
    "empty": (lambda plane, made: "", "ticket_invalid"),
    "not ascii": (lambda plane, made: "\u00e9" * 20, "ticket_invalid"),
    "another key": (lambda plane, made: plane.ticket(made, key=ECKey.generate_key("P-256")), "ticket_invalid"),
    "another kind of token": (lambda plane, made: plane.ticket(made, typ=ACCESS_TYP), "ticket_invalid"),
    "another gateway": (lambda plane, made: plane.ticket(made, iss="https://elsewhere.test"), "ticket_invalid"),
    "another agent": (lambda plane, made: plane.ticket(made, aud=OTHER_AGENT), "ticket_mismatch"),
    "another session": (lambda plane, made: plane.ticket(plane.session()), "ticket_mismatch"),
    "expired": (lambda plane, made: plane.ticket(made, exp=CLOCK.now_ms() // 1000 - 1), "ticket_expired"),
    "not yet valid": (lambda plane, made: plane.ticket(made, iat=CLOCK.now_ms() // 1000 + 600), "ticket_invalid"),
    "a grant that is over": (lambda plane, made: plane.ticket(made, deadline_ms=CLOCK.now_ms() - 1), "session_ended"),
}


@pytest.mark.parametrize("case", BAD_TICKETS)
async def test_a_bad_ticket_is_refused_in_words_and_claims_nothing(run_rig: RunRig, control: FakeControlPlane, case: str) -> None:
    spoil, code = BAD_TICKETS[case]
    async with run_rig() as rig:
        sid, _, tunnel = await offer(rig)
        tunnel.present(spoil(control, control.sessions[sid]))
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert (tunnel.aborted.code, bool(tunnel.aborted.message)) == (code, True)
        assert control.claims == []
        assert rig.plugin.served == []


@pytest.mark.parametrize("case", [case for case in BAD_TICKETS if case != "another session"])
async def test_an_offer_with_a_bad_ticket_opens_no_tunnel(run_rig: RunRig, control: FakeControlPlane, case: str) -> None:
    spoil, _ = BAD_TICKETS[case]
    async with run_rig() as rig:
        made = control.session()
        rig.supervisor.offered(relay.Offer(made.sid, spoil(control, made) or "-"))
        await asyncio.sleep(0)
        assert rig.tunnels == {}
        other = control.session()
        rig.supervisor.offered(relay.Offer(made.sid, control.ticket(other)))
        await asyncio.sleep(0)
        assert rig.tunnels == {}


async def test_a_good_ticket_signed_a_second_time_is_the_same_session(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _, tunnel = await offer(rig)
        tunnel.present(control.ticket(control.sessions[sid]))
        await asyncio.wait_for(rig.plugin.serving.wait(), HANG_S)
        assert rig.plugin.served[0].claims.sid == sid


async def test_a_ticket_is_used_once_even_if_the_offer_is_repeated(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _tunnel = await serve_one(rig)
        first = rig.tunnels.pop(sid)
        rig.supervisor.offered(relay.Offer(sid, control.ticket(control.sessions[sid])))
        await asyncio.sleep(0)
        assert rig.tunnels == {}
        first.client.close()
        await until(lambda: sid in control.closes)
        rig.supervisor.offered(relay.Offer(sid, control.ticket(control.sessions[sid])))
        await asyncio.sleep(0)
        assert rig.tunnels == {}


async def test_a_session_that_the_control_plane_gave_away_is_refused(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _sid, ticket, tunnel = await offer(rig)
        control.faults["claim"].append(Fault("ticket_used", "The ticket was used before."))
        tunnel.present(ticket)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "ticket_used"
        # The client is told first; what was prepared for it is tidied behind that.
        await until(lambda: rig.supervisor.live() == [] and not folders(rig.supervisor._deliveries.spool))


async def test_a_claim_without_an_answer_is_closed_again(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, ticket, tunnel = await offer(rig)
        control.faults["claim"].append(502)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "control_plane_unreachable"
        assert rig.plugin.served == []


async def test_a_client_that_goes_away_during_the_claim_leaves_a_closed_session(
    run_rig: RunRig, control: FakeControlPlane
) -> None:
    async with run_rig() as rig:
        made = control.session()
        claims = rig.identity.ticket(control.ticket(made))
        waiting = asyncio.ensure_future(rig.supervisor.admit(claims, "direct"))
        await until(lambda: rig.supervisor.live() == [made.sid])
        waiting.cancel()
        await until(lambda: made.sid in control.closes)
        await until(lambda: rig.supervisor.live() == [])
        assert waiting.cancelled()
        assert control.claims == [(made.sid, "direct")]
        assert not folders(rig.supervisor._deliveries.spool)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"target": "elsewhere"}, "unknown_target"), ({"login": "nobody"}, "unknown_login")],
)
async def test_what_the_configuration_does_not_know_is_refused(run_rig: RunRig, changes: dict[str, str], code: str) -> None:
    async with run_rig() as rig:
        _sid, ticket, tunnel = await offer(rig, **changes)
        tunnel.present(ticket)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == code


async def test_a_protocol_that_is_not_spoken_is_refused(run_rig: RunRig, control: FakeControlPlane) -> None:
    control.document = document(protocol="gopher")
    async with run_rig() as rig:
        _, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "not_supported"


async def test_a_full_agent_says_so_and_has_room_again_later(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig(max_sessions=1) as rig:
        first_sid, first = await serve_one(rig)
        _, ticket, second = await offer(rig)
        second.present(ticket)
        await until(lambda: second.closed)
        assert second.aborted is not None
        assert second.aborted.code == "agent_full"
        first.client.close()
        await until(lambda: first_sid in control.closes)
        await serve_one(rig)


async def test_without_room_new_sessions_are_refused_and_live_ones_go_on(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        told: list[str] = []
        rig.supervisor.on_refusing = lambda: told.append(rig.supervisor.refuses())
        sid, live = await serve_one(rig)
        rig.free.bytes = FLOOR - 1
        _, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert (tunnel.aborted.code, bool(tunnel.aborted.hint)) == ("spool_full", True)
        assert told == ["spool_full"]
        assert len(control.claims) == 1
        assert await say(live, b"still\n") == b"echo still\n"
        rig.free.bytes = FLOOR
        await serve_one(rig)
        assert told == ["spool_full", ""]
        live.client.close()
        await until(lambda: sid in control.closes)


async def test_with_half_of_the_floor_left_live_sessions_end_with_a_word_and_whole(
    run_rig: RunRig, control: FakeControlPlane
) -> None:
    async with run_rig() as rig:
        sids = [sid for sid, _ in [await serve_one(rig), await serve_one(rig)]]
        rig.free.bytes = FLOOR // 2 - 1
        await rig.supervisor._room.look()
        await until(lambda: set(sids) <= set(control.closes))
        for sid in sids:
            assert "no room left to record" in control.closes[sid].message
            assert control.closes[sid].state == "ended"
            assert control.text_of(sid) == "hello\n"
            assert control.chain_holds(sid)


async def test_a_ticket_decided_by_newer_rules_fetches_them_first(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        control.document = document(version=7)
        _sid, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await asyncio.wait_for(rig.plugin.serving.wait(), HANG_S)
        assert rig.plugin.served[0].claims.policy_version == 7
        assert rig.plugin.served[0].policy.version == 7
