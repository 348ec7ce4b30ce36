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
from tests.fakes.control_plane import FakeControlPlane
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
        async with asyncio.timeout(10):
            return (await loop.sock_recv(self.end, 1000)).decode()

    async def leave(self) -> None:
        self.end.close()
        async with asyncio.timeout(10):
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


async def test_an_offer_that_is_over_is_none(run_rig: RunRig, control: FakeControlPlane) -> None:
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
        async with asyncio.timeout(10):
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
