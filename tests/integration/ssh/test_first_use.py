"""Trust on first use: what has to happen, in which order, before a host that nobody has pinned is logged in to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import msgspec
import pytest

from agent.protocols.ssh import target as target_leg
from agent.runtime.host_keys import FILE
from agent.runtime.serving import Credential
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import make_policy
from tests.integration.plugin_listener import Ran, eventually, run
from tests.integration.ssh.conftest import USER, Gateway, Sshd
from tests.integration.ssh.first_use import RUN, TRUST, Crossroads, aim, behind, impostor, key_line, unpinned
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

HELD = (
    RUN,
    TRUST,
    '@message("The owners look at the fingerprint.") @approval("group:dba") '
    'forbid(principal, action == Action::"trust_host_key", resource) unless { context.approvals.contains("dba") };',
)


def refused(ran: Ran[bytes], code: bytes = b"target_host_key") -> bytes:
    assert ran.status == 255, ran
    assert b"(" + code + b", " in ran.err, ran
    return ran.err


def operations(gateway: Gateway) -> list[dict[str, object]]:
    """What is recorded beside programs."""
    return gateway.serving.recorder.lines(0, "jsonl")[1:]


async def test_the_first_key_is_learned_said_and_recorded(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    keys = unpinned(gateway, sshd, tmp_path)
    ran = await run(gateway.ssh("echo", "done"))
    assert (ran.status, ran.out) == (0, b"done\n"), ran
    (line,) = [line for line in ran.err.decode().splitlines() if "sallyport" in line]
    print_of = sshd.host_key.get_fingerprint()
    assert f"Trusted the host key of web because it came first: ssh-ed25519 {print_of}." in line
    assert f'host_keys: ["{key_line(sshd.host_key)}"]' in line
    (learned,) = keys.all()
    claims = gateway.serving.claims
    assert (learned.target, learned.address, learned.key) == ("web", f"127.0.0.1:{sshd.port}", key_line(sshd.host_key))
    assert (learned.principal, learned.sid, learned.time_ms) == (claims.sub, claims.sid, gateway.serving.clock_ms)
    asked, fact = operations(gateway)
    assert asked["text"] == f"trust ssh-ed25519 {print_of} at 127.0.0.1:{sshd.port}"
    assert asked["verdict"] == "allowed"
    assert (fact["event"], fact["fingerprint"], fact["key"]) == ("host_key.trusted", print_of, key_line(sshd.host_key))


async def test_it_is_on_disk_before_anything_of_the_user_or_the_credential(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is looked at on a connection that asks for nothing, and logged in to on another."""
    order: list[str] = []
    host = asyncssh.generate_private_key("ssh-ed25519")
    async with impostor(host) as (port, given):
        behind(gateway, port, tmp_path)
        learn = gateway.serving.learn_host_key

        async def noted(line: str) -> bool:
            order.extend([*given, *(["recorded"] if operations(gateway) else [])])
            new = await learn(line)
            order.append("kept")
            return new

        monkeypatch.setattr(gateway.serving, "learn_host_key", noted)
        assert (await run(gateway.ssh("true"))).status == 0
        assert order == ["recorded", "kept"]
        assert given[0] == f"user {USER}"
        assert {each.partition(" ")[0] for each in given} == {"user", "key"}


async def test_from_then_on_it_is_known_and_nobody_is_asked(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    unpinned(gateway, sshd, tmp_path)
    assert (await run(gateway.ssh("true"))).status == 0
    before = len(operations(gateway))
    # Another person, whom no rule lets trust anything.
    aim(gateway, gateway.serving.target, RUN)
    ran = await run(gateway.ssh("echo", "again"))
    assert (ran.status, ran.out, ran.err) == (0, b"again\n", b""), ran
    assert len(operations(gateway)) == before


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ((RUN,), {}),
        ((RUN, TRUST), {"trust_first_host_key": None}),
        ((RUN,), {"trust_first_host_key": None}),
        ((RUN, TRUST), {"trust_first_host_key": False}),
        ((RUN, TRUST), {"trust_first_host_key": "true"}),
        ((RUN, TRUST), {"host_keys": []}),
        (("permit(principal, action, resource);",), {"trust_first_host_key": None}),
        ((RUN, TRUST, 'forbid(principal, action == Action::"trust_host_key", resource);'), {}),
    ],
    ids=["no rule", "no option", "neither", "false", "a text", "a list of none", "every action, no option", "forbidden"],
)
async def test_without_the_rule_and_the_option_nothing_is_learned(
    gateway: Gateway, sshd: Sshd, tmp_path: Path, rules: tuple[str, ...], options: dict[str, object]
) -> None:
    keys = unpinned(gateway, sshd, tmp_path, *rules, **options)
    log = (sshd.folder / "sshd.log").read_text().count("Accepted publickey")
    refused(await run(gateway.ssh("true")))
    await gateway.idle()
    assert keys.all() == []
    assert {notice.code for notice in gateway.serving.target_notices} == {"target_host_key"}
    assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == log


async def test_a_refusal_says_which_key_it_was(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    unpinned(gateway, sshd, tmp_path, RUN)
    said = refused(await run(gateway.ssh("true"))).decode()
    assert f"you may not trust its first one (ssh-ed25519 {sshd.host_key.get_fingerprint()})" in said
    ((operation, _), *_) = gateway.serving.denials
    assert (operation.action, sshd.host_key.get_fingerprint() in operation.objects) == ("trust_host_key", True)


@pytest.mark.parametrize("right", [True, False])
async def test_a_rule_may_name_the_key(gateway: Gateway, sshd: Sshd, tmp_path: Path, right: bool) -> None:
    """A machine that is not there yet, whose key somebody knows already."""
    wanted = sshd.host_key.get_fingerprint() if right else asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    only = f'{TRUST[:-1]} when {{ context.objects.contains("{wanted}") }};'
    keys = unpinned(gateway, sshd, tmp_path, RUN, only)
    ran = await run(gateway.ssh("true"))
    assert (ran.status == 0, len(keys.all())) == (right, int(right)), ran


async def test_a_pinned_key_is_the_only_one_whatever_was_learned(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    keys = unpinned(gateway, sshd, tmp_path)
    assert (await run(gateway.ssh("true"))).status == 0
    pinned = msgspec.structs.replace(sshd.target(), options={"host_keys": [key_line(other)], "trust_first_host_key": True})
    aim(gateway, pinned)
    assert b"is not the pinned one" in refused(await run(gateway.ssh("true")))
    aim(gateway, sshd.target())
    assert (await run(gateway.ssh("true"))).status == 0
    assert len(keys.all()) == 1


async def test_others_may_be_asked_and_see_the_fingerprint(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    keys = unpinned(gateway, sshd, tmp_path, *HELD)
    running = asyncio.ensure_future(run(gateway.ssh("echo", "done")))
    approvals = gateway.serving.approvals
    await approvals.waiting.wait()
    ((operation, _),) = approvals.asked
    assert operation.text.startswith(f"trust ssh-ed25519 {sshd.host_key.get_fingerprint()} at ")
    assert keys.all() == []
    approvals.release.set()
    ran = await running
    assert (ran.status, ran.out) == (0, b"done\n"), ran
    assert approvals.used == [("req_1", operation.digest())]
    assert len(keys.all()) == 1


async def test_a_no_of_others_is_one(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    keys = unpinned(gateway, sshd, tmp_path, *HELD)
    approvals = gateway.serving.approvals
    approvals.no = Fault("approval_denied", "carol said no.")
    approvals.release.set()
    assert b"carol said no." in refused(await run(gateway.ssh("true")))
    assert keys.all() == []


async def test_what_is_taken_back_while_others_are_asked(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    keys = unpinned(gateway, sshd, tmp_path, *HELD)
    running = asyncio.ensure_future(run(gateway.ssh("true")))
    approvals = gateway.serving.approvals
    await approvals.waiting.wait()
    gateway.serving.in_force = make_policy(*HELD, target=sshd.target(), version=2)
    approvals.release.set()
    assert b"its configuration has changed" in refused(await running)
    assert keys.all() == []


@pytest.mark.parametrize("failing", ["disk", "recording"])
async def test_what_cannot_be_kept_is_not_trusted(gateway: Gateway, tmp_path: Path, failing: str) -> None:
    host = asyncssh.generate_private_key("ssh-ed25519")
    async with impostor(host) as (port, given):
        behind(gateway, port, tmp_path)
        if failing == "disk":
            (tmp_path / f"{FILE}.tmp").mkdir()  # what is written before it is renamed
        else:
            gateway.serving.recorder.failing = True
        ran = await run(gateway.ssh("true"))
        assert ran.status == 255, ran
        await gateway.idle()
        assert given == []
        assert gateway.serving.host_keys.all() == []


async def test_two_first_connections_at_once_to_one_host(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    keys = unpinned(gateway, sshd, tmp_path)
    ran = await asyncio.gather(*(run(gateway.ssh("echo", str(number))) for number in range(4)))
    assert [(each.status, each.out) for each in ran] == [(0, b"%d\n" % number) for number in range(4)]
    assert len(keys.all()) == 1
    assert sum(b"Trusted the host key" in each.err for each in ran) == 1


async def test_two_first_connections_at_once_to_two_hosts(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    """Both have been looked at and permitted before either is kept."""
    other = asyncssh.generate_private_key("ssh-ed25519")
    async with impostor(other) as (port, given), Crossroads().open() as crossroads:
        crossroads.leads_to = sshd.port
        keys = behind(gateway, crossroads.port, tmp_path)
        learn, both = gateway.serving.learn_host_key, asyncio.Barrier(2)

        async def together(line: str) -> bool:
            await both.wait()
            return await learn(line)

        gateway.serving.learn_host_key = together
        first = asyncio.ensure_future(run(gateway.ssh("echo", "one")))
        await eventually(lambda: both.n_waiting == 1)
        crossroads.leads_to = port
        second = asyncio.ensure_future(run(gateway.ssh("echo", "two")))
        ran = await asyncio.gather(first, second)
        await gateway.idle()
        (kept,) = keys.all()
        assert kept.key in (key_line(sshd.host_key), key_line(other))
        # The address leads to the second host by now: whoever learned the first one's key does not speak to it either.
        if kept.key == key_line(sshd.host_key):
            assert given == []
            assert [each.status for each in ran] == [255, 255]
        else:
            # Who lost may have tried again by the time that its program began. Nobody has spoken to the host that was not kept.
            assert 0 in [each.status for each in ran]
            assert {each.status for each in ran} <= {0, 255}
            assert [each.out for each in ran] == [b"", b""]


async def test_a_password_is_not_sent_and_no_key_learned_for_one(gateway: Gateway, tmp_path: Path) -> None:
    host = asyncssh.generate_private_key("ssh-ed25519")
    async with impostor(host) as (port, given):
        keys = behind(gateway, port, tmp_path)
        gateway.serving._credential = Credential("password", b"hunter2")
        said = refused(await run(gateway.ssh("true")))
        assert b"no password is sent to it" in said
        assert (keys.all(), given) == ([], [])
        # Neither later, when the key was learned by somebody with an SSH key.
        gateway.serving._credential = Credential("ssh-key", asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        assert (await run(gateway.ssh("true"))).status == 0
        given.clear()
        gateway.serving._credential = Credential("password", b"hunter2")
        assert b"no password is sent to it" in refused(await run(gateway.ssh("true")))
        assert given == []
        # The twin: pinned by a person, it is.
        aim(gateway, msgspec.structs.replace(gateway.serving.target, options={"host_keys": [key_line(host)]}))
        assert (await run(gateway.ssh("true"))).status == 0
        assert given == [f"user {USER}", "password hunter2"]


@pytest.mark.parametrize(
    ("kind", "bits", "trusted"),
    [("ssh-rsa", 1024, False), ("ssh-rsa", 2048, True), ("ecdsa-sha2-nistp256", 0, True), ("ssh-ed25519", 0, True)],
)
async def test_kinds_of_keys(gateway: Gateway, tmp_path: Path, kind: str, bits: int, trusted: bool) -> None:
    host = asyncssh.generate_private_key(kind, **({"key_size": bits} if bits else {}))
    async with impostor(host) as (port, given):
        behind(gateway, port, tmp_path)
        ran = await run(gateway.ssh("true"))
        assert (ran.status == 0, bool(given)) == (trusted, trusted), ran
        if not trusted:
            assert b"of a kind that is not trusted unseen" in refused(ran)


async def test_a_host_that_stalls(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_leg, "HANDSHAKE_S", 0.3)
    held = []
    server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    behind(gateway, server.sockets[0].getsockname()[1], tmp_path)
    refused(await run(gateway.ssh("true")), b"target_timeout")
    server.close()
    for writer in held:
        writer.close()


# -- who waits for others, and leaves --------------------------------------------------------------------------------------------


@asynccontextmanager
async def waiting(gateway: Gateway, sshd: Sshd, state: Path) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A client's connection whose target waits for others to trust its first host key."""
    unpinned(gateway, sshd, state, *HELD)
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        yield conn


@pytest.mark.parametrize("before", ["", "yes", "yes\r"])
async def test_ctrl_c_at_a_terminal_withdraws_it(gateway: Gateway, sshd: Sshd, tmp_path: Path, before: str) -> None:
    async with waiting(gateway, sshd, tmp_path) as conn:
        process = await conn.create_process("true", term_type="xterm")
        await asyncio.wait_for(gateway.serving.approvals.waiting.wait(), HANG_S)
        if before:
            process.stdin.write(before)
            await asyncio.sleep(0)
        process.stdin.write("\x03")
        done = await asyncio.wait_for(process.wait(), HANG_S)
        await eventually(lambda: gateway.serving.approvals.withdrawn == 1)
    assert done.exit_status == 126
    assert "You withdrew the request, so nothing ran. (approval_withdrawn, " in str(done.stdout) + str(done.stderr)
    assert gateway.serving.host_keys.all() == []


async def test_a_channel_that_is_closed_withdraws_it(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    """Of several on one connection (ControlMaster), the last one that waited."""
    async with waiting(gateway, sshd, tmp_path) as conn:
        one, other = [await conn.create_process("true") for _ in range(2)]
        await asyncio.wait_for(gateway.serving.approvals.waiting.wait(), HANG_S)
        one.close()
        await asyncio.wait_for(one.wait_closed(), HANG_S)
        assert gateway.serving.approvals.withdrawn == 0
        other.close()
        await eventually(lambda: gateway.serving.approvals.withdrawn == 1)
    assert gateway.serving.host_keys.all() == []


async def test_ctrl_c_of_one_leaves_the_other_waiting(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    async with waiting(gateway, sshd, tmp_path) as conn:
        one = await conn.create_process("true", term_type="xterm")
        other = await conn.create_process("echo done")
        await asyncio.wait_for(gateway.serving.approvals.waiting.wait(), HANG_S)
        one.stdin.write("\x03")
        assert (await asyncio.wait_for(one.wait(), HANG_S)).exit_status == 126
        gateway.serving.approvals.release.set()
        done = await asyncio.wait_for(other.wait(), HANG_S)
        assert (done.exit_status, done.stdout) == (0, "done\n")
    assert gateway.serving.approvals.withdrawn == 0
    assert len(gateway.serving.host_keys.all()) == 1


async def test_a_client_that_leaves_withdraws_it(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    unpinned(gateway, sshd, tmp_path, *HELD)
    process = await asyncio.create_subprocess_exec(*gateway.ssh("true"), stdin=asyncio.subprocess.DEVNULL)
    await asyncio.wait_for(gateway.serving.approvals.waiting.wait(), HANG_S)
    process.send_signal(signal.SIGINT)
    await process.wait()
    await eventually(lambda: gateway.serving.approvals.withdrawn == 1)
    await gateway.idle()
    assert gateway.serving.host_keys.all() == []
