"""Each line of a guarded or locked shell is an operation with all that belongs to it, and has one marker in its cast."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import ANY_PROMPT, at_terminal

pytestmark = pytest.mark.servers

NOT = '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("mkfifo") };'


def strictly(cast: bytes) -> list[list[Any]]:
    """Read an asciicast v3 as its specification has it, and nothing that it does not have."""
    head, *lines = cast.decode().splitlines()
    header = json.loads(head)
    assert header["version"] == 3
    assert {type(header["term"][each]) for each in ("cols", "rows")} == {int}
    assert isinstance(header["timestamp"], int)
    events = [json.loads(line) for line in lines]
    for interval, code, data in events:
        assert type(interval) in (int, float)
        assert interval >= 0
        assert code in ("o", "r", "m", "x"), "nobody's keys are recorded"
        assert isinstance(data, str)
    assert [code for _, code, _ in events].count("x") == 1
    assert events[-1][1] == "x"
    return events


@pytest.mark.parametrize("shell", ["guarded", "locked"])
async def test_a_line_is_an_operation_with_all_that_belongs_to_it(
    sshd: Sshd, identity: FakeIdentity, tmp_path: Path, shell: str
) -> None:
    gate = Gateway(identity, tmp_path)
    serving = gate.serving = serving_for(sshd, ALLOW, HOLD, NOT, shell=shell)
    await gate.listen()
    loop = asyncio.get_running_loop()
    fifo = f"mkfifo {tmp_path}/never"

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect(ANY_PROMPT)
        for line in (f"cd {tmp_path}", "echo $((6*7)); sh -c 'exit 3'", fifo, "touch there; echo to''uched"):
            child.send(f"{line}\r")
            if line.startswith("touch"):
                child.expect_exact("for dba to agree")
                loop.call_soon_threadsafe(serving.approvals.release.set)
                child.expect_exact("touched\r\n")
            child.expect(ANY_PROMPT)
        child.send("exit 5\r")

    try:
        assert await at_terminal(gate.ssh(), person) == 5
        await gate.idle()
    finally:
        await gate.close()
    cast = serving.recorder.written[1, "cast"]
    lines = [each for each in serving.recorder.lines(1, "jsonl") if each.get("event") in ("command", "denied")]
    here = str(tmp_path)
    assert sorted((each["text"], each["cwd"], each["exit"], each["verdict"]) for each in lines if each["text"][:2] != "cd") == [
        ("echo $((6*7)); sh -c 'exit 3'", here, 3, "allowed"),
        ("exit 5", here, 5, "allowed"),
        (fifo, here, None, "denied"),
        ("touch there; echo to''uched", here, 0, "allowed"),
    ]
    told = {each["text"]: each for each in lines}
    assert all(type(each["duration_ms"]) is int and len(each["digest"]) == 64 and each["rules"] for each in lines)
    assert [each["text"] for each in lines if "approvers" in each] == ["touch there; echo to''uched"]
    agreed = told["touch there; echo to''uched"]
    assert (agreed["approvers"], agreed["request"]) == (["carol@example.com"], "req_1")
    assert (told[fifo]["code"], told[fifo]["message"]) == ("denied", "Not that.")
    for text, shown in (("echo $((6*7)); sh -c 'exit 3'", "42\r\n"), (fifo, "Not that."), (agreed["text"], "touched\r\n")):
        begin, end = told[text]["cast"]
        part = [json.loads(line) for line in cast[begin:end].splitlines()]
        assert shown in "".join(data for _, code, data in part if code == "o")
        assert sum(code == "m" and text in data for _, code, data in part) == 1
    markers = [data for _, code, data in strictly(cast) if code == "m"]
    for each in lines:
        assert sum(marker.startswith(f"{each['verdict']}: {each['text']} (") for marker in markers) == 1
    assert len(markers) == 1 + len(lines), "one for each line, and one for the shell"
    held = [each for each in serving.recorder.lines(1, "jsonl") if each.get("event") == "held"]
    assert [(each["text"], each["digest"]) for each in held] == [(f"held: {agreed['text']}", agreed["digest"])]


@pytest.mark.parametrize("shell", ["guarded", "locked"])
async def test_a_secret_in_a_directorys_name_is_in_no_record(
    sshd: Sshd, identity: FakeIdentity, tmp_path: Path, shell: str
) -> None:
    gate = Gateway(identity, tmp_path)
    serving = gate.serving = serving_for(sshd, 'permit(principal, action == Action::"run", resource);', shell=shell)
    await gate.listen()
    (tmp_path / "4111111111111111").mkdir()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect(ANY_PROMPT)
        for line in (f"cd {tmp_path}/4111*", "echo he''re"):
            child.send(f"{line}\r")
            child.expect(ANY_PROMPT)
        # Names that are looked for there, where the gateway does that, are recorded with the directory.
        child.send("cat n\t")
        child.expect_exact("\x07")
        child.send("\x15exit\r")

    try:
        await at_terminal(gate.ssh(), person)
        await gate.idle()
    finally:
        await gate.close()
    assert (shell == "locked") == any(each.get("kind") == "complete" for each in serving.recorder.lines(1, "jsonl"))
    assert b"4111111111111111" not in b"".join(serving.recorder.written.values())
    told = [each["cwd"] for each in serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]
    assert told[-1].startswith(str(tmp_path))
    assert told[-1].endswith("1111")


@pytest.mark.parametrize(
    ("command", "options", "last"),
    [
        ("echo out; echo err >&2; exit 3", [], "3"),
        ("printf 'a\\0b\\377\\n'; printf '\\303'", [], "0"),
        ("tty; stty size; exit 7", ["-tt"], "7"),
        ("kill -TERM $$", [], "128"),
    ],
)
async def test_a_single_command_is_one_cast_with_one_verdict(
    gateway: Gateway, command: str, options: list[str], last: str
) -> None:
    await run(gateway.ssh(command, options=options))
    await gateway.idle()
    cast = gateway.serving.recorder.written[1, "cast"]
    events = strictly(cast)
    assert json.loads(cast.splitlines()[0])["command"] == command
    assert [data for _, code, data in events if code == "m" and "allowed" in data] == [f"allowed: {command} (rule-1)"]
    assert events[-1][1:] == ["x", last]
    assert sum(code == "m" and command in data for _, code, data in events) == 1
    heading, told = gateway.serving.recorder.lines(1, "jsonl")
    assert heading["protocol"] == "shell"
    assert (told["event"], told["text"], told["exit"]) == ("command", command, int(last))
    assert (told["verdict"], told["rules"], told.get("signal")) == ("allowed", ["rule-1"], "TERM" if last == "128" else None)
    assert type(told["duration_ms"]) is int
    begin, end = told["cast"]
    part = [json.loads(line) for line in cast[begin:end].splitlines()]
    assert part == events, "all but the heading"
    assert len(told["digest"]) == 64


async def test_a_single_command_is_an_operation_with_all_that_belongs_to_it(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    only = 'permit(principal, action in [Action::"connect", Action::"run"], resource);'
    serving = gateway.serving = serving_for(sshd, only, HOLD, NOT)
    fifo, agreed = f"mkfifo {tmp_path}/never", f"touch {tmp_path}/there; echo card 4111111111111111; exit 4"
    assert (await run(gateway.ssh(fifo))).status == 126
    serving.approvals.release.set()
    ran = await run(gateway.ssh(agreed))
    assert (ran.status, b"4111111111111111" in ran.out) == (4, False)
    await gateway.idle()
    denied, held, told = (each for channel in (1, 2) for each in serving.recorder.lines(channel, "jsonl") if "event" in each)
    assert (denied["event"], denied["text"], denied["verdict"], denied["exit"]) == ("denied", fifo, "denied", None)
    assert (denied["code"], denied["message"]) == ("denied", "Not that.")
    assert held["digest"] == told["digest"] == serving.approvals.used[0][1]
    assert (told["exit"], told["approvers"], told["request"]) == (4, ["carol@example.com"], "req_1")
    assert type(told["duration_ms"]) is int
    assert told["masked"] == {"card": 1}
    assert b"4111111111111111" not in b"".join(serving.recorder.written.values())


async def test_a_command_whose_client_leaves_has_no_status(gateway: Gateway) -> None:
    process = await asyncio.create_subprocess_exec(
        *gateway.ssh("echo on; exec sleep 1000"), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    process.kill()
    await process.wait()
    await gateway.idle()
    _, told = gateway.serving.recorder.lines(1, "jsonl")
    assert (told["event"], told["exit"], told["verdict"]) == ("command", None, "allowed")


async def test_a_recorded_shell_is_a_cast_with_a_marker_for_each_line_that_was_seen(gateway: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("this shell is recorded")
        child.send("exec env PS1='ready''> ' bash --norc\r")
        for line, answer in (("echo o''ne", "one\r\n"), ("nothing 2>&1 | wc -l", "1\r\n")):
            child.expect_exact("ready> ")
            child.send(f"{line}\r")
            child.expect_exact(answer)
        child.expect_exact("ready> ")
        child.send("exit 4\r")

    assert await at_terminal(gateway.ssh(), person) == 4
    await gateway.idle()
    events = strictly(gateway.serving.recorder.written[1, "cast"])
    markers = [data for _, code, data in events if code == "m"]
    assert markers[0] == "allowed: interactive shell (rule-1)"
    assert markers[-3:] == ["seen: echo o''ne", "seen: nothing 2>&1 | wc -l", "seen: exit 4"]
    assert events[-1][1:] == ["x", "4"]
