"""Somebody stands where an unpinned host should be: at the second connection, with another kind of key, at another address.

What is wanted is a log-in, or anything that the agent holds or a person types. Beside each: the host that was learned, which must
go on to work.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest
from asyncssh.packet import String

from agent.runtime.host_keys import FILE, HostKeys
from tests.bypass.raw import ask
from tests.bypass.world import World
from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import Gateway, Sshd, patient
from tests.integration.ssh.first_use import RUN, TRUST, Crossroads, aim, behind, impostor, unpinned
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers
__all__ = ["patient"]


def forget(world: World) -> None:
    """Have the agent know nothing of ``unpinned``, as its administrator does while it runs."""
    config = world.stack.folder / "agent" / "agent.toml"
    done = subprocess.run(
        [sys.executable, "-m", "agent", "host-keys", "--config", str(config), "--forget", "unpinned"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0 or "No host key of unpinned was learned" in done.stderr, done


def logged(world: World, sid: str) -> dict[str, Any]:
    """Return what the transparency log holds of the key that was learned in ``sid``; nothing before it does."""
    rows = world.rows()
    held = {row["pk"]["S"].removeprefix("LOGGED#") for row in rows if row["pk"]["S"].startswith("LOGGED#")}
    events = [json.loads(row["body"]["S"]) for row in rows if row["pk"]["S"].startswith("EVENT#")]
    found = [each for each in events if each["type"] == "target.host_key_trusted" and each["sid"] == sid and each["id"] in held]
    return found[0] if found else {}


async def test_the_whole_way_from_apply_to_the_evidence(world: World) -> None:
    """Who is not named by the rule is not the first; who is, is told, and so is whoever reads the log. After that, everybody."""
    planned = world.run("sallyport", "plan", str(world.gateway), who="pat")
    assert "target unpinned, trust_first_host_key: whoever answers first" in planned.stderr
    forget(world)
    async with await world.connect("unpinned", who="bob") as conn:
        status, said = await ask(conn, b"exec", String("echo it is"))
    assert (status, b"target_host_key" in said) == (255, True), said
    async with await world.connect("unpinned") as conn:
        status, said = await ask(conn, b"exec", String("echo it is"))
    assert (status, b"it is\n" in said) == (0, True), said
    assert b"Trusted the host key of unpinned because it came first: ssh-ed25519 SHA256:" in said
    sid = world.sessions(target="unpinned")[0]["sid"]
    await world.over(sid)
    recorded = [json.loads(line) for line in world.recorded(sid) if "host_key.trusted" in line]
    told = await asyncio.to_thread(until, lambda: logged(world, sid), "the log holds it")
    facts = ("alice@example.com", "edge-1", "unpinned", "ssh-ed25519", recorded[0]["fingerprint"])
    assert tuple(told[name] for name in ("actor", "agent", "target", "key_type", "fingerprint")) == facts
    async with await world.connect("unpinned", who="bob") as conn:
        assert await ask(conn, b"exec", String("echo it is")) == (0, b"it is\n")


async def works(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("echo", "it is"))
    assert (ran.status, ran.out) == (0, b"it is\n"), ran


async def gets_nothing(gateway: Gateway, given: list[str]) -> str:
    """Ask for every kind of channel; return the words of the first refusal."""
    said = []
    for command, fed in (
        (gateway.ssh("cat"), b"typed"),
        (gateway.ssh("-tt"), b"typed\n"),
        (gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), b"ls\n"),
    ):
        ran = await run(command, fed)
        assert ran.status == 255, ran
        assert b"(target_host_key, " in ran.err.replace(b"\r", b""), ran
        said.append(ran.err.decode())
    await gateway.idle()
    assert given == []
    return said[0]


@pytest.mark.parametrize(
    "kinds", [["ssh-ed25519"], ["ssh-rsa"], ["ecdsa-sha2-nistp256"], ["ssh-rsa", "ecdsa-sha2-nistp521", "ssh-ed25519"]], ids=str
)
async def test_somebody_in_between_at_the_second_connection(
    gateway: Gateway, sshd: Sshd, tmp_path: Path, kinds: list[str]
) -> None:
    """With a key of the kind that was learned, or of kinds that were not: there is no second first time."""
    async with impostor(*map(asyncssh.generate_private_key, kinds)) as (port, given), Crossroads().open() as way:
        keys = behind(gateway, way.port, tmp_path)
        way.leads_to = sshd.port
        await works(gateway)
        learned = keys.all()
        way.leads_to = port
        said = await gets_nothing(gateway, given)
        assert f"is not the learned one, ssh-ed25519 {sshd.host_key.get_fingerprint()}" in said
        assert keys.all() == learned
        way.leads_to = sshd.port
        await works(gateway)


async def test_a_host_certificate_of_his_own(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    ca, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = ca.generate_host_certificate(key, "web", principals=["127.0.0.1", "web"])
    async with impostor((key, certificate)) as (port, given), Crossroads().open() as way:
        behind(gateway, way.port, tmp_path)
        way.leads_to = sshd.port
        await works(gateway)
        way.leads_to = port
        await gets_nothing(gateway, given)


async def test_the_twin_a_relay_that_only_passes_on(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    async with Crossroads().open() as way:
        keys = behind(gateway, way.port, tmp_path)
        way.leads_to = sshd.port
        await works(gateway)
        assert [each.fingerprint for each in keys.all()] == [sshd.host_key.get_fingerprint()]


async def test_a_key_that_its_host_does_not_hold_is_not_learned(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    (own,) = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])
    # What is shown is the true host's public key; what signs is another.
    own.public_data = sshd.host_key.public_data
    async with impostor(own) as (port, given):
        keys = behind(gateway, port, tmp_path)
        ran = await run(gateway.ssh("true"))
        assert (ran.status, b"key exchange" in ran.err.lower() or b"target_closed" in ran.err) == (255, True), ran
        assert (keys.all(), given) == ([], [])


@pytest.mark.parametrize("elsewhere", ["port", "host"])
async def test_a_target_that_moved_is_not_a_first_time(gateway: Gateway, sshd: Sshd, tmp_path: Path, elsewhere: str) -> None:
    keys = unpinned(gateway, sshd, tmp_path)
    await works(gateway)
    was = gateway.serving.target
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given):
        address = f"127.0.0.1:{port}" if elsewhere == "port" else f"localhost:{sshd.port}"
        aim(gateway, msgspec.structs.replace(was, address=address))
        assert f"was learned at {was.address}" in await gets_nothing(gateway, given)
    aim(gateway, was)
    await works(gateway)
    keys.forget("web")
    aim(gateway, msgspec.structs.replace(was, address=f"localhost:{sshd.port}"))
    await works(gateway)


async def test_another_target_at_an_address_that_is_known(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    """A new name for an old address is no way to have another key of it believed."""
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given), Crossroads().open() as way:
        behind(gateway, way.port, tmp_path)
        way.leads_to = sshd.port
        await works(gateway)
        was = gateway.serving.target
        rule = TRUST.replace('"web"', '"web-2"')
        aim(gateway, msgspec.structs.replace(was, name="web-2"), RUN, rule)
        gateway.serving.claims = msgspec.structs.replace(gateway.serving.claims, target="web-2")
        way.leads_to = port
        await gets_nothing(gateway, given)
        way.leads_to = sshd.port
        await works(gateway)


@pytest.mark.parametrize("how", ["deleted", "emptied", "garbage", "another version", "open to others", "a link"])
async def test_a_state_that_somebody_touched(gateway: Gateway, sshd: Sshd, tmp_path: Path, how: str) -> None:
    """Row ``host-keys-unreadable`` of docs/reference/when-parts-fail.md."""
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given), Crossroads().open() as way:
        behind(gateway, way.port, tmp_path)
        way.leads_to = sshd.port
        await works(gateway)
        path = tmp_path / FILE
        good = path.read_bytes()
        match how:
            case "deleted":
                path.unlink()
            case "emptied":
                path.write_bytes(b"")
            case "garbage":
                path.write_bytes(good[:-9])
            case "another version":
                path.write_bytes(good.replace(b'"version": 1', b'"version": 2'))
            case "open to others":
                path.chmod(0o666)
            case _:
                path.rename(tmp_path / "elsewhere")
                path.symlink_to(tmp_path / "elsewhere")
        for leads_to in (port, sshd.port):
            way.leads_to = leads_to
            assert "cannot tell which host keys it has learned" in await gets_nothing(gateway, given)
        # A pinned host is served meanwhile.
        aim(gateway, sshd.target())
        await works(gateway)


async def test_a_file_that_was_deleted_while_no_agent_ran_is_a_first_time_that_policy_decides(
    gateway: Gateway, sshd: Sshd, tmp_path: Path
) -> None:
    """The agent cannot know better; whoever is not permitted to trust does not, and whoever is, does so on record."""
    unpinned(gateway, sshd, tmp_path)
    await works(gateway)
    (tmp_path / FILE).unlink()
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given):
        aim(gateway, msgspec.structs.replace(gateway.serving.target, address=f"127.0.0.1:{port}"), RUN)
        gateway.serving.host_keys = HostKeys(tmp_path)
        await gets_nothing(gateway, given)
    unpinned(gateway, sshd, tmp_path)
    await works(gateway)
    events = [line for line in gateway.serving.recorder.lines(0, "jsonl") if line.get("event") == "host_key.trusted"]
    assert len(events) == 2


@pytest.mark.parametrize(
    ("option", "rule"), [(True, False), (False, True), (False, False)], ids=["rule absent", "option absent", "both absent"]
)
async def test_one_of_the_two_keys_is_not_enough(gateway: Gateway, tmp_path: Path, option: bool, rule: bool) -> None:
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given):
        keys = behind(gateway, port, tmp_path)
        target = (
            gateway.serving.target if option else msgspec.structs.replace(gateway.serving.target, options={"shell": "recorded"})
        )
        aim(gateway, target, RUN, *([TRUST] if rule else []))
        await gets_nothing(gateway, given)
        assert keys.all() == []


async def test_the_twin_with_both(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    unpinned(gateway, sshd, tmp_path, RUN, TRUST)
    await works(gateway)


async def test_a_rule_of_every_action_written_before_opens_nothing_by_itself(gateway: Gateway, tmp_path: Path) -> None:
    async with impostor(asyncssh.generate_private_key("ssh-ed25519")) as (port, given):
        behind(gateway, port, tmp_path)
        for options in ({"shell": "recorded"}, {"shell": "recorded", "host_keys": []}):
            target = msgspec.structs.replace(gateway.serving.target, options=options)
            aim(gateway, target, "permit(principal, action, resource);")
            await gets_nothing(gateway, given)
