"""A target's own patterns with real ssh, sshd and bash: they hide what they find wherever the built-in detectors do."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pexpect
import pytest

from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

RUN = 'permit(principal, action == Action::"run", resource);'
BADGE = 'permit(principal, action == Action::"reveal", resource) when { context.data_class == "badge" };'
NOT_BADGE = 'permit(principal, action == Action::"reveal", resource) unless { context.data_class == "badge" };'
PATTERNS = ["badge=EMP-[0-9]{4}", "project=(?i:blue ?moon) [a-z]{1,160}"]

Make = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def gateway_with(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a gateway under ``rules``, whose target has patterns of its own."""
    made: list[Gateway] = []

    async def make(*rules: str, patterns: object = PATTERNS, shell: str = "recorded") -> Gateway:
        gate = Gateway(identity, tmp_path)
        gate.serving = serving_for(sshd, RUN, *rules, shell=shell, patterns=patterns)
        await gate.listen()
        made.append(gate)
        return gate

    yield make
    for gate in made:
        await gate.close()


async def stored(gate: Gateway) -> bytes:
    await gate.idle()
    return b"".join(gate.serving.recorder.written.values())


async def test_both_streams_and_the_record_are_masked(gateway_with: Make, tmp_path: Path) -> None:
    gate = await gateway_with()
    path = tmp_path / "people.txt"
    path.write_bytes(b"EMP-4711 Blue Moon rising, EMP-471 ann@example.com\n")
    ran = await run(gate.ssh(f"cat {path}; cat {path} >&2"))
    want = b"[masked badge] [masked project], EMP-471 a***@***.com\n"
    assert (ran.out, ran.err) == (want, want)
    kept = await stored(gate)
    assert b"EMP-4711" not in kept
    assert b"rising" not in kept
    assert gate.serving.recorder.markers(1)[-1] == "masked: 2 badge, 2 email, 2 project"


async def test_a_value_far_into_a_line_without_end_is_found(gateway_with: Make) -> None:
    gate = await gateway_with()
    ran = await run(gate.ssh("head -c 300000 /dev/zero | tr '\\0' ' '; printf EMP-4711; head -c 9 /dev/zero | tr '\\0' ' '"))
    assert ran.out.strip() == b"[masked badge]"
    assert len(ran.out) == 300_000 + len("[masked badge]") + 9


async def test_commands_and_scripts_are_recorded_without_them(gateway_with: Make) -> None:
    gate = await gateway_with()
    assert (await run(gate.ssh("echo EMP-4711 | wc -c"))).out == b"9\n"
    ran = await run(gate.ssh("bash -s"), b"echo EMP-4712 | wc -c\n")
    assert ran.out == b"9\n"
    kept = await stored(gate)
    assert b"EMP-471" not in kept
    assert b"echo [masked badge] | wc -c" in kept


async def test_policy_reveals_a_class_of_its_own(gateway_with: Make) -> None:
    gate = await gateway_with(BADGE)
    ran = await run(gate.ssh("echo EMP-4711 blue moon rising"))
    assert ran.out == b"EMP-4711 [masked project]\n"


async def test_who_may_see_all_the_rest_does_not_see_it(gateway_with: Make) -> None:
    gate = await gateway_with(NOT_BADGE)
    ran = await run(gate.ssh("echo EMP-4711 ann@example.com"))
    assert ran.out == b"[masked badge] ann@example.com\n"


@pytest.mark.parametrize("shell", ["recorded", "guarded", "locked"])
async def test_on_a_screen_it_is_as_wide_and_escape_codes_do_not_hide_it(gateway_with: Make, shell: str) -> None:
    gate = await gateway_with(shell=shell)

    screen = io.BytesIO()

    def use(child: pexpect.spawn) -> None:
        child.logfile_read = screen
        child.sendline(b"printf 'A EMP-\\033[1m47\\033[0m11 B\\r\\nC EMP%s D\\r\\n' -4712; echo 'do''ne'")
        child.expect_exact(b"done")
        child.sendline(b"exit")

    await at_terminal(gate.ssh(), use)
    seen = screen.getvalue()
    assert b"EMP-4712" not in seen
    assert b"4711" not in seen.replace(b"\x1b[1m", b"").replace(b"\x1b[0m", b"")
    # Eight cells for eight: what stands behind it stays in its column.
    assert b"C ******** D" in seen
    kept = await stored(gate)
    assert b"EMP-4712" not in kept


@pytest.mark.parametrize("patterns", [["badge"], ["badge=("], ["badge=x*"], ["badge=EMP-[0-9]+"], ["badge=^EMP"], "badge=x", [7]])
async def test_what_cannot_be_looked_for_refuses_the_session(gateway_with: Make, patterns: object, tmp_path: Path) -> None:
    gate = await gateway_with(patterns=patterns)
    ran = await run(gate.ssh(f"touch {tmp_path}/ran; echo hello"))
    assert ran.status != 0
    assert b"hello" not in ran.out
    assert b"attern" in ran.err
    assert not (tmp_path / "ran").exists()
