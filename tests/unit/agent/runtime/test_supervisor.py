"""Sessions from the offer to the stored recording: who is admitted, who is not and in which words, and every way one ends."""

from __future__ import annotations

import asyncio
import base64
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey

from agent.runtime import identity as identities
from agent.runtime import session as sessions
from agent.runtime import supervisor as supervising
from agent.runtime.spool import folders
from chalicelib.contracts import ids, relay
from chalicelib.contracts.capability import ACCESS_TYP
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.originals import SEALING_TYP, SealingClaims, month_of
from chalicelib.contracts.policy import Rule
from tests.fakes.control_plane import FakeControlPlane, document
from tests.unit.agent.runtime.conftest import CLOCK, FLOOR, FakeTunnel, Rig, RunRig, until
from tests.unit.agent.runtime.left_behind import Left, line, spoil

OTHER_AGENT = ids.mint(ids.AGENT, 1, b"0123456789")


async def offer(rig: Rig, **changes: Any) -> tuple[str, str, FakeTunnel]:
    """Offer a session to the agent; return its identifier, its ticket and the tunnel that the agent opened."""
    made = rig.control.session()
    ticket = rig.control.ticket(made, **changes)
    rig.supervisor.offered(relay.Offer(made.sid, ticket))
    return made.sid, ticket, await rig.tunnel(made.sid)


async def say(tunnel: FakeTunnel, line: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(tunnel.client, line)
    async with asyncio.timeout(10):
        return await loop.sock_recv(tunnel.client, 1000)


async def serve_one(rig: Rig) -> tuple[str, FakeTunnel]:
    """A session whose client has presented its ticket and said one line."""
    sid, ticket, tunnel = await offer(rig)
    tunnel.present(ticket)
    assert await say(tunnel, b"hello\n") == b"echo hello\n"
    return sid, tunnel


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
        assert not folders(rig.supervisor._spool)


async def test_many_sessions_at_once(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        served = await asyncio.gather(*(serve_one(rig) for _ in range(8)))
        for _, tunnel in served:
            tunnel.client.close()
        await until(lambda: len(control.closes) == 8)
        assert all(control.chain_holds(sid) for sid, _ in served)


# --- tickets

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
        # The offer itself is untouched: a wrong guess by one client does not use up another one's ticket.


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
        await asyncio.wait_for(rig.plugin.serving.wait(), 10)
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
        await until(lambda: rig.supervisor.live() == [] and not folders(rig.supervisor._spool))


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
        assert not folders(rig.supervisor._spool)


# --- refusals of the agent's own


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


async def test_a_disk_that_fails_ends_the_agent_and_another_start_delivers(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    async with run_rig() as rig:
        (sid, first), (_, second) = await serve_one(rig), await serve_one(rig)
        monkeypatch.setattr("agent.runtime.spool.write_whole", full)
        first.client.close()
        assert rig.running is not None
        async with asyncio.timeout(30):
            await rig.running
        assert rig.supervisor.failure is not None
        assert (rig.supervisor.failure.code, bool(rig.supervisor.failure.hint)) == ("recording_failed", True)
        second.client.close()
        assert control.closes == {}
    async with run_rig() as rig:
        # The disk is still full: it is tried again.
        await until(lambda: rig.supervisor.failure is not None)
    monkeypatch.undo()
    async with run_rig() as rig:
        await until(lambda: len(control.closes) == 2)
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        assert rig.supervisor.failure is None


async def test_a_log_that_fails_ends_every_session_and_the_agent(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    async with run_rig() as rig:
        (first, tunnel), (second, _) = await serve_one(rig), await serve_one(rig)
        monkeypatch.setattr("agent.runtime.journal.write_at", broken)
        await asyncio.get_running_loop().sock_sendall(tunnel.client, b"not recorded\n")
        assert rig.running is not None
        async with asyncio.timeout(30):
            await rig.running
        assert rig.supervisor.failure is not None
        assert (rig.supervisor.failure.code, bool(rig.supervisor.failure.hint)) == ("recording_failed", True)
    monkeypatch.undo()
    async with run_rig():
        await until(lambda: {first, second} <= set(control.closes))
    for sid in (first, second):
        assert control.text_of(sid).startswith("hello\n")
        assert control.chain_holds(sid)


async def test_a_ticket_decided_by_newer_rules_fetches_them_first(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        control.document = document(version=7)
        _sid, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await asyncio.wait_for(rig.plugin.serving.wait(), 10)
        assert rig.plugin.served[0].claims.policy_version == 7
        assert rig.plugin.served[0].policy.version == 7


# --- ends


async def test_a_kill_ends_the_session_and_says_why(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Bob ended it."))
        assert await say(tunnel, b"") == b"ended session_killed\n"
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, control.closes[sid].message) == ("killed", "Bob ended it.")


async def test_a_kill_withdraws_an_offer_that_nobody_took(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _, tunnel = await offer(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Bob ended it."))
        await until(lambda: tunnel.closed)
        assert control.claims == []


async def test_a_session_ends_at_its_deadline(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, ticket, tunnel = await offer(rig, deadline_ms=CLOCK.now_ms() + 300)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "ended"
        assert "time that was granted" in control.closes[sid].message


async def test_whoever_serves_a_session_hears_that_its_time_is_over_soon_however_late_they_ask(run_rig: RunRig) -> None:
    async with run_rig() as rig:
        _, ticket, tunnel = await offer(rig, deadline_ms=CLOCK.now_ms() + 45_000)
        tunnel.present(ticket)
        await asyncio.wait_for(rig.plugin.serving.wait(), 10)
        heard: list[str] = []
        rig.plugin.served[0].warn(heard.append)
        await until(lambda: heard)
        rig.plugin.served[0].warn(heard.append)
        assert heard[0] == heard[1]
        assert "This session ends at " in heard[0]


async def test_a_recording_that_fails_ends_the_session(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _tunnel = await serve_one(rig)
        rig.plugin.served[0].recorder.write_soon(1, "jsonl", b"half a line")
        await until(lambda: rig.plugin.endings)
        assert rig.plugin.endings[0].code == "recording_failed"
        await until(lambda: sid in control.closes)
        assert control.closes[sid].message


async def test_a_target_that_leaves_the_configuration_ends_its_sessions(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        control.document = document(version=2, targets=("other",))
        rig.supervisor.refreshed("2")
        await until(lambda: sid in control.closes)
        assert "configuration" in control.closes[sid].message


@pytest.mark.parametrize("rule", ['forbid(principal, action == Action::"connect", resource);', ""])
async def test_a_newer_policy_that_does_not_permit_it_kills_a_session(
    run_rig: RunRig, control: FakeControlPlane, rule: str
) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        newer = document(version=2)
        rules = [*newer.rules, Rule("out", "all.cedar", 2, f'@id("out") {rule}')] if rule else []
        control.document = msgspec.structs.replace(newer, rules=rules)
        rig.supervisor.refreshed("2")
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, rig.plugin.endings[0].code) == ("killed", "session_killed")


async def test_a_newer_policy_that_still_permits_it_leaves_a_session_alone(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        await serve_one(rig)
        control.document = document(version=2)
        rig.supervisor.refreshed("2")
        await until(lambda: rig.plugin.served[0].policy.version == 2)
        assert not rig.plugin.endings


async def test_a_plugin_that_does_not_end_is_cut_off(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE_S", 0.01)
    async with run_rig() as rig:
        rig.plugin.ignores_end = True
        sid, tunnel = await serve_one(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Now."))
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "killed"
        assert tunnel.closed


async def test_a_bug_in_a_plugin_ends_its_session_alone(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        other, _ = await serve_one(rig)
        rig.plugin.fails = ZeroDivisionError("a bug")
        sid, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert "mistake" in control.closes[sid].message
        assert "ZeroDivision" not in control.closes[sid].message
        await until(lambda: rig.supervisor.live() == [other])


async def test_stopping_ends_sessions_and_delivers_them(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        waiting, _, unused = await offer(rig)
        rig.stop.set()
        await until(lambda: sid in control.closes)
        assert "stopped" in control.closes[sid].message
        await until(lambda: unused.closed)
        assert waiting not in control.closes
        with pytest.raises(Fault, match="stopped"):
            await rig.supervisor.admit(rig.identity.ticket(control.ticket(control.session())), "relay")


async def test_nobody_comes(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _, _, tunnel = await offer(rig, exp=CLOCK.now_ms() // 1000 + 2)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "ticket_expired"


# --- what is left in the spool


async def test_a_spool_that_could_not_be_delivered_is_delivered_at_the_next_start(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runtime.supervisor.DRAIN_S", 0.05)
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        control.faults["chunks"] = [503] * 1000
    assert control.closes == {}
    control.faults["chunks"] = []
    async with run_rig() as rig:
        await until(lambda: sid in control.closes)
        assert "stopped" in control.closes[sid].message
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        await until(lambda: rig.supervisor.live() == [])
        assert not folders(rig.supervisor._spool)


async def test_what_cannot_be_opened_stays_and_holds_up_nobody(run_rig: RunRig, control: FakeControlPlane, state: Path) -> None:
    public = identities.load(state)[1].public_bytes
    spoiled = [Left(control, state, public) for _ in range(supervising._RECOVERING + 1)]
    for each in spoiled:
        each.chunk(1, b"one\n")
        spoil(next(each.folder.path.glob("*.sealed")), -1)
    sound = Left(control, state, public)
    sound.segment(1, line(1, b"one\n"))
    async with run_rig() as rig:
        await until(lambda: rig.supervisor.live() == [])
    assert list(control.closes) == [sound.sid]
    assert all(list(each.folder.path.glob("*.sealed")) for each in spoiled)


async def test_a_recording_that_is_refused_for_good_is_kept_aside(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["chunks"] = [Fault("session_ended", "The session is over.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert (rig.supervisor._state / "refused" / sid).is_dir()
        assert sid not in control.closes


async def test_a_close_that_misses_a_chunk_leaves_a_sign(run_rig: RunRig, control: FakeControlPlane) -> None:
    """What the disk forgot after it had said that it was stored cannot be brought back; that it is missing can be said."""
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["close"] = [Fault("chunk_conflict", "The gateway knows 0 chunks of this session.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert (rig.supervisor._state / "refused" / sid / "end.json").exists()


async def test_a_refused_close_is_not_repeated(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _sid, tunnel = await serve_one(rig)
        control.faults["close"] = [Fault("session_ended", "The session is over.")]
        tunnel.client.close()
        await until(lambda: rig.supervisor.live() == [])
        assert control.requests["close"] == 1
        assert not folders(rig.supervisor._spool)


async def test_reports_arrive_before_the_close(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        control.faults["report"] = [503]
        rig.plugin.served[0].report_target(Notice("target_unreachable", "The agent cannot reach web."))
        tunnel.client.close()
        await until(lambda: sid in control.closes)
        assert [report.target_fault for report in control.reports[sid]] == [
            Notice("target_unreachable", "The agent cannot reach web.")
        ]
