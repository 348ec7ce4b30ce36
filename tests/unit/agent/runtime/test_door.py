"""The door for native clients: whose certificate it is decides, and nothing that a client says."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import SSHCertificateBuilder, SSHCertificateType

from agent.runtime.door import principal_of
from agent.runtime.listener import Waiting
from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_plugins import EchoPlugin
from tests.fakes.control_plane import FakeControlPlane
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import CLOCK, Rig, RunRig, person_key, until

ALICE = "alice@example.com"


class Client:
    """A native client that the listener has accepted."""

    def __init__(self, rig: Rig, sid: str) -> None:
        self.end, ours = socket.socketpair()
        for each in (self.end, ours):
            each.setblocking(False)
        place = Waiting().enter("192.0.2.7")
        assert place is not None
        self.task = asyncio.ensure_future(rig.supervisor.receive(ours, "192.0.2.7", sid, place))

    async def say(self, text: str) -> str:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.end, text.encode())
        async with asyncio.timeout(HANG_S):
            return (await loop.sock_recv(self.end, 1000)).decode()

    async def leave(self) -> None:
        self.end.close()
        async with asyncio.timeout(HANG_S):
            await self.task


async def offered(rig: Rig, **changes: Any) -> str:
    made = rig.control.session()
    rig.supervisor.offered(relay.Offer(made.sid, rig.control.ticket(made, **changes)))
    await rig.tunnel(made.sid)
    return made.sid


async def test_the_offered_person_is_let_in_once(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid = await offered(rig)
        client = Client(rig, sid)
        certificate = control.person_certificate(ALICE, person_key())
        assert await client.say(f"{certificate}\nhello\n") == "echo hello\n"
        assert control.claims == [(sid, "direct")]
        again = Client(rig, sid)
        assert await again.say(f"{certificate}\n") == "refused unknown_session\n"
        await again.leave()
        await client.leave()
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "ended"
        assert control.text_of(sid) == "hello\n"


async def test_a_client_that_is_faster_than_its_offer_is_let_in_when_it_comes(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        made = rig.control.session()
        client = Client(rig, made.sid)
        said = asyncio.ensure_future(client.say(control.person_certificate(ALICE, person_key()) + "\nhello\n"))
        await asyncio.sleep(0)
        rig.supervisor.offered(relay.Offer(made.sid, rig.control.ticket(made)))
        assert await said == "echo hello\n"
        await client.leave()


@pytest.mark.parametrize("who", ["mallory@example.com", "Alice@example.com", "alice@example.com ", "alice"])
async def test_anybody_else_sees_no_offer_and_uses_nothing_up(run_rig: RunRig, control: FakeControlPlane, who: str) -> None:
    async with run_rig() as rig:
        sid = await offered(rig)
        client = Client(rig, sid)
        assert await client.say(control.person_certificate(who, person_key()) + "\n") == "refused unknown_session\n"
        await client.leave()
        assert control.claims == []
        rightful = Client(rig, sid)
        assert await rightful.say(control.person_certificate(ALICE, person_key()) + "\nhello\n") == "echo hello\n"
        await rightful.leave()


async def test_an_offer_that_is_over_is_none(run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.door.OFFER_S", 0.05)
    async with run_rig() as rig:
        sid = await offered(rig, exp=CLOCK.now_ms() // 1000 + 2)
        await until(lambda: rig.supervisor._offers.find(sid) is None)
        client = Client(rig, sid)
        assert await client.say(control.person_certificate(ALICE, person_key()) + "\n") == "refused unknown_session\n"
        await client.leave()


async def test_a_person_without_an_offer_asks_the_control_plane(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        client = Client(rig, "")
        assert await client.say(control.person_certificate(ALICE, person_key()) + "\nhello\n") == "echo hello\n"
        assert [path for _, path in control.claims] == ["direct"]
        await client.leave()


async def test_a_ticket_for_somebody_else_is_not_taken(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        client = Client(rig, "")
        # The control plane answers with alice's ticket, as it would if it had been shown alice's certificate.
        certificate = control.person_certificate("mallory@example.com", person_key())
        assert await client.say(certificate + "\n") == "refused ticket_mismatch\n"
        assert control.claims == []
        await client.leave()


async def asked(rig: Rig, ticket: str, *, user: str = ALICE, target: str = "web", sid: str = "") -> str:
    """Return what a client is told that gives ``ticket`` as its password."""
    client = Client(rig, sid)
    told = await client.say(f"ticket {user} {target} {ticket}\nhello\n")
    await client.leave()
    return told


async def test_a_ticket_opens_its_session_once(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        made = rig.control.session()
        ticket = rig.control.ticket(made)
        rig.supervisor.offered(relay.Offer(made.sid, ticket))
        assert await asked(rig, ticket, sid=made.sid) == "echo hello\n"
        assert control.claims == [(made.sid, "direct")]
        assert await asked(rig, ticket) == "refused ticket_invalid\n"
        assert control.claims == [(made.sid, "direct")]


async def test_of_two_connections_with_one_ticket_one_gets_in(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        made = rig.control.session()
        ticket = rig.control.ticket(made)
        clients = [Client(rig, "") for _ in range(5)]
        told = [asyncio.ensure_future(each.say(f"ticket {ALICE} web {ticket}\nhello\n")) for each in clients]
        await asyncio.sleep(0)
        rig.supervisor.offered(relay.Offer(made.sid, ticket))
        assert sorted(await asyncio.gather(*told)) == ["echo hello\n"] + ["refused ticket_invalid\n"] * 4
        for each in clients:
            await each.leave()
        assert control.claims == [(made.sid, "direct")]


async def test_a_ticket_is_used_up_across_both_ways(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        relayed, direct = rig.control.session(), rig.control.session()
        for made in (relayed, direct):
            rig.supervisor.offered(relay.Offer(made.sid, rig.control.ticket(made)))
        (await rig.tunnel(relayed.sid)).present(rig.control.ticket(relayed))
        await until(lambda: control.claims)
        assert await asked(rig, rig.control.ticket(relayed)) == "refused ticket_invalid\n"
        assert await asked(rig, rig.control.ticket(direct)) == "echo hello\n"
        # Whoever waited in the tunnel for the same ticket waits no more.
        await until(lambda: rig.tunnels[direct.sid].closed)
        assert control.claims == [(relayed.sid, "relay"), (direct.sid, "direct")]
        rig.tunnels[relayed.sid].client.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "agt_01JD8QZ6T3N0V9C4K2M7X5B1HR"},
        {"iss": "https://elsewhere.example"},
        {"exp": 1_700_000_000},
        {"iat": 4_000_000_000},
        {"sub": "mallory@example.com"},
        {"target": "db"},
        {"deadline_ms": 1_700_000_000_000},
        {"typ": "sallyport-access+jwt"},
        {"sid": "../../etc"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_whatever_is_wrong_with_a_ticket_is_told_the_same(
    run_rig: RunRig, control: FakeControlPlane, changes: dict[str, Any]
) -> None:
    async with run_rig() as rig:
        made = rig.control.session()
        ticket = rig.control.ticket(made)
        rig.supervisor.offered(relay.Offer(made.sid, ticket))
        assert await asked(rig, rig.control.ticket(made, **changes)) == "refused ticket_invalid\n"
        assert await asked(rig, "garbage") == "refused ticket_invalid\n"
        assert rig.plugin.refusals[0].notice == rig.plugin.refusals[1].notice
        assert control.claims == []
        # None of that has used the ticket up.
        assert await asked(rig, ticket) == "echo hello\n"


@pytest.mark.parametrize("user", ["alice", "Alice@example.com", "alice@example.com\u200b", "mallory@example.com"])
async def test_a_ticket_is_for_exactly_its_person_and_target(run_rig: RunRig, control: FakeControlPlane, user: str) -> None:
    async with run_rig() as rig:
        made = rig.control.session()
        ticket = rig.control.ticket(made)
        rig.supervisor.offered(relay.Offer(made.sid, ticket))
        assert await asked(rig, ticket, user=user) == "refused ticket_invalid\n"
        assert await asked(rig, ticket, target="WEB") == "refused ticket_invalid\n"
        assert control.claims == []


async def test_a_ticket_for_another_session_than_was_named(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        named, meant = rig.control.session(), rig.control.session()
        for made in (named, meant):
            rig.supervisor.offered(relay.Offer(made.sid, rig.control.ticket(made)))
        assert await asked(rig, rig.control.ticket(meant), sid=named.sid) == "refused ticket_invalid\n"
        assert control.claims == []


async def test_who_named_the_session_need_not_say_it_again(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        named, other = rig.control.session(), rig.control.session()
        for made in (named, other):
            rig.supervisor.offered(relay.Offer(made.sid, rig.control.ticket(made)))
        ticket = rig.control.ticket(named)
        assert await asked(rig, ticket, user="", target="") == "refused ticket_invalid\n"
        assert await asked(rig, ticket, user="", target="", sid=other.sid) == "refused ticket_invalid\n"
        assert await asked(rig, ticket, user="", target="web", sid=named.sid) == "refused ticket_invalid\n"
        assert control.claims == []
        assert await asked(rig, ticket, user="", target="", sid=named.sid) == "echo hello\n"


async def test_a_killed_offer_opens_nothing(run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.door.OFFER_S", 0.01)
    async with run_rig() as rig:
        made = rig.control.session()
        ticket = rig.control.ticket(made)
        rig.supervisor.offered(relay.Offer(made.sid, ticket))
        await rig.tunnel(made.sid)
        rig.supervisor.killed(relay.Kill(made.sid, "session_killed", "Now."))
        assert await asked(rig, ticket) == "refused ticket_invalid\n"
        assert control.claims == []


async def test_a_client_gets_no_target_that_speaks_something_else(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid = await offered(rig)
        rig.supervisor._plugins = [EchoPlugin("other"), rig.plugin]
        rig.supervisor._silent = "other"
        # Everything is recognised by the first; the offer is for the second, and named, so that one serves it.
        assert await asked(rig, "x", sid="") == "refused ticket_invalid\n"
        other = rig.supervisor._plugins[0]
        assert isinstance(other, EchoPlugin)
        assert [fault.code for fault in other.refusals] == ["ticket_invalid"]
        client = Client(rig, "")
        assert await client.say(control.person_certificate(ALICE, person_key()) + "\n") == "refused not_supported\n"
        await client.leave()
        named = Client(rig, sid)
        assert await named.say(control.person_certificate(ALICE, person_key()) + "\nhello\n") == "echo hello\n"
        await named.leave()


async def test_a_denial_reaches_the_client(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        control.faults["open"] = [Fault("denied", "Not on Fridays.")]
        client = Client(rig, "")
        assert await client.say(control.person_certificate(ALICE, person_key()) + "\n") == "refused denied\n"
        assert rig.plugin.refusals[0].message == "Not on Fridays."
        await client.leave()


async def test_a_kill_reaches_a_direct_session(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid = await offered(rig)
        client = Client(rig, sid)
        assert await client.say(control.person_certificate(ALICE, person_key()) + "\nhello\n") == "echo hello\n"
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Now."))
        assert await client.say("") == "ended session_killed\n"
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, control.closes[sid].message) == ("killed", "Now.")
        await client.leave()


async def test_a_client_that_never_proves_itself_is_cut_off(run_rig: RunRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runtime.supervisor.HANDSHAKE_S", -4.98)
    async with run_rig() as rig:
        client = Client(rig, "")
        async with asyncio.timeout(HANG_S):
            await client.task
        client.end.close()


def certificate(**changes: Any) -> str:
    ca = ed25519.Ed25519PrivateKey.generate()
    kind = changes.get("kind", SSHCertificateType.USER)
    builder = SSHCertificateBuilder().public_key(ed25519.Ed25519PrivateKey.generate().public_key()).type(kind).serial(1)
    builder = builder.key_id(changes.get("key_id", b"alice")).valid_after(0).valid_before(2**40)
    names = changes.get("names", [b"alice"])
    builder = builder.valid_principals(names) if names else builder.valid_for_all_principals()
    return builder.sign(ca).public_bytes().decode()


def test_a_certificate_names_one_person() -> None:
    assert principal_of(certificate()) == "alice"


@pytest.mark.parametrize(
    "text",
    [
        certificate(names=[]),
        certificate(names=[b"alice", b"root"]),
        certificate(key_id=b"bob"),
        certificate(key_id=b"", names=[b""]),
        certificate(key_id=b"\xff", names=[b"\xff"]),
        certificate(kind=SSHCertificateType.HOST),
        person_key(),
        "",
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        certificate()[:-20],
    ],
    # The certificates are made anew in every process; their own text would be no name for a test.
    ids="no-name two-names another-key-id no-key-id not-text a-host a-plain-key nothing garbage cut-short".split(),
)
def test_any_other_certificate_is_nobodys(text: str) -> None:
    with pytest.raises(Fault) as caught:
        principal_of(text)
    assert caught.value.code == "certificate_invalid"
