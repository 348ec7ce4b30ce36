"""Scripts on standard input: decided whole, recorded whole, and only then anything reaches the target."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import asyncssh
import pytest

from agent.protocols.ssh import feed
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for

pytestmark = pytest.mark.servers

CAREFUL = (
    'permit(principal, action == Action::"run", resource) unless { context.effects.contains("unknown") };',
    '@message("No deleting.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("rm") };',
)


@pytest.fixture
async def careful(gateway: Gateway, sshd: Sshd) -> Gateway:
    """A gateway that runs what it understands, and deletes nothing."""
    gateway.serving = serving_for(sshd, *CAREFUL)
    return gateway


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


COMMANDS = [
    "bash -s",
    "bash",
    "sh -e",
    "/bin/dash",
    "env A=1 bash -eu -o pipefail -s one two",
    "cd /tmp && sh",
    "exec bash -",
    None,
]


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_script_runs_where_every_command_of_it_may(careful: Gateway, command: str | None, tmp_path: Path) -> None:
    script = f"""#!/bin/bash
# it's a comment with a quote
echo 'one' "two" > {tmp_path}/made
for word in a 'b c'; do
  echo "-$word-"
done
cat <<'END'
it's \\ $HOME
END
exit 7
"""
    ran = await run(careful.ssh(*([command] if command else []), options=["-T"]), script.encode())
    assert (ran.status, ran.out) == (7, b"-a-\n-b c-\nit's \\ $HOME\n"), ran.err
    assert (tmp_path / "made").read_text() == "one two\n"
    assert careful.serving.operations == 1
    heading, recorded, ended = careful.serving.recorder.lines(1, "jsonl")
    assert (heading["protocol"], recorded["text"]) == ("script", script)
    assert recorded["sha256"] == hashlib.sha256(script.encode()).hexdigest()
    assert (ended["event"], ended["exit"], ended["verdict"]) == ("command", 7, "allowed")
    assert script.startswith("#!")
    assert "made" not in ended["text"], "it was told before"
    (marker,) = careful.serving.recorder.markers(1)
    assert script in marker


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_script_with_one_forbidden_command_does_nothing(careful: Gateway, command: str | None, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    script = f"touch {tmp_path}/touched\nif true; then\n  sudo -n rm -rf {tmp_path}/kept\nfi\n"
    ran = await run(careful.ssh(*([command] if command else []), options=["-T"]), script.encode())
    assert ran.status == 126
    assert b"No deleting. (denied, " in ran.err
    assert names(tmp_path) == {"kept", "known_hosts"}
    _, recorded, denied = careful.serving.recorder.lines(1, "jsonl")
    assert recorded["text"] == script
    assert (denied["event"], denied["exit"], denied["message"]) == ("denied", None, "No deleting.")
    assert careful.serving.denied == 1


async def test_a_script_cannot_read_itself(careful: Gateway, tmp_path: Path) -> None:
    """What is text to us stays text to the shell, whatever the script eats of its input."""
    (tmp_path / "kept").write_text("")
    script = f"head -c 6 >/dev/null\necho '\nrm -f {tmp_path}/kept\necho '\nread -r line\ncat\n"
    ran = await run(careful.ssh("bash -s"), script.encode())
    assert b"rm -f" in ran.out
    assert (tmp_path / "kept").exists()


async def test_the_same_without_the_gateway_would_delete(tmp_path: Path) -> None:
    """The trick works where nobody is in between: that is what the test above would miss."""
    (tmp_path / "kept").write_text("")
    script = f"head -c 6 >/dev/null\necho '\nrm -f {tmp_path}/kept\necho '\n"
    await run(["bash", "-s"], script.encode())
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("bash -s", 'x=rm; "$x" -rf /nowhere'),
        ("bash -s", "curl http://x | sh"),
        ("bash -s", "echo 'unclosed"),
        ("sh", "echo ok\r\nrm x"),
        ("python3 -", "print(1)"),
        ("python3", "print(1)"),
        ("PATH=/tmp sh -s", "echo hi"),
        ("BASH_ENV=/tmp/x bash -s", "echo hi"),
        ("bash -c id | bash -s", "echo hi"),
        ("bash -i", "echo hi"),
        ("sudo -S bash -s", "echo hi"),
        ("sudo -i", "echo hi"),
    ],
)
async def test_what_is_not_understood_is_unknown(careful: Gateway, command: str, script: str) -> None:
    ran = await run(careful.ssh(command), script.encode())
    assert ran.status == 126, ran
    assert b"denied" in ran.err


async def test_other_languages_run_as_they_are_where_policy_says_so(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("python3 - a"), b"import sys\nprint(sys.argv, sys.stdin.read())\n")
    assert (ran.status, ran.out) == (0, b"['-', 'a'] \n")
    assert gateway.serving.recorder.lines(1, "jsonl")[1]["text"].startswith("import sys")


async def test_an_approval_is_of_command_and_script(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    gateway.serving = serving_for(
        sshd,
        "permit(principal, action, resource);",
        '@approval("group:dba") forbid(principal, action == Action::"run", resource) when { context.kind == "script" } '
        'unless { context.approvals.contains("dba") };',
    )
    running = asyncio.ensure_future(run(gateway.ssh("bash -s"), f"touch {tmp_path}/made\n".encode()))
    await gateway.serving.approvals.waiting.wait()
    assert not (tmp_path / "made").exists()
    ((operation, _),) = gateway.serving.approvals.asked
    assert operation.text == f"bash -s\ntouch {tmp_path}/made\n"
    gateway.serving.approvals.release.set()
    assert (await running).status == 0
    assert (tmp_path / "made").exists()


async def test_a_script_that_is_too_long_is_refused(careful: Gateway) -> None:
    ran = await run(careful.ssh("bash -s"), b"#" * (1024 * 1024 + 1))
    assert ran.status == 126
    assert b"longer than 1024 KiB. Copy it to the target with sftp" in ran.err


@pytest.mark.parametrize(("script", "words"), [(b"\xff\xfe", b"not valid UTF-8"), (b"echo \0", b"NUL")])
async def test_what_is_no_text_is_refused_and_recorded(careful: Gateway, script: bytes, words: bytes) -> None:
    ran = await run(careful.ssh("bash -s"), script)
    assert ran.status == 126
    assert words in ran.err
    assert careful.serving.denied == 1
    assert careful.serving.recorder.lines(1, "jsonl")[1]["sha256"] == hashlib.sha256(script).hexdigest()


async def test_an_empty_script_does_nothing(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("bash -s"), b"")
    assert (ran.status, ran.out, ran.err) == (0, b"", b"")


async def test_somebody_who_types_is_told_and_then_refused(careful: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ADVICE_S", 0.05)
    monkeypatch.setattr(feed, "PATIENCE_S", 0.05)
    process = await asyncio.create_subprocess_exec(
        *careful.ssh("bash"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(b"echo hi\n")
    assert process.stderr is not None
    said = await process.stderr.read()
    await process.wait()
    assert process.returncode == 126
    assert b"use ssh -t" in said.splitlines()[0]
    assert b"had no end within" in said
    assert careful.serving.denied == 1


async def test_a_client_that_leaves_in_the_middle_of_a_script(careful: Gateway) -> None:
    process = await asyncio.create_subprocess_exec(*careful.ssh("bash"), stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"echo hi\n")
    await process.stdin.drain()
    await eventually(lambda: careful.serving.tell)
    process.kill()
    await process.wait()
    await careful.idle()
    assert careful.serving.operations == 0


async def test_many_scripts_on_one_connection_take_their_turns(gateway: Gateway) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        fed = [await conn.create_process("sh -s") for _ in range(20)]
        for number, process in enumerate(fed):
            process.stdin.write(f"echo {number}\n")
        for process in reversed(fed[:8]):
            process.stdin.write_eof()
        for process in fed[8:]:
            process.stdin.write_eof()
        said = [(await process.wait()).stdout for process in fed]
    assert said == [f"{number}\n" for number in range(20)]
