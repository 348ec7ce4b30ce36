"""Commands that wait for other people: real ssh, a real sshd, and approvers of our own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import asyncssh
import pytest

from chalicelib.contracts.faults import Fault, Notice
from tests.fakes.agent_runtime import NOW_MS, FakeServing
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

HOLD = (
    '@approval("group:dba") @message("Ask the DBAs.") forbid(principal, action == Action::"run", resource) '
    'when { context.verbs.contains("touch") } unless { context.approvals.contains("dba") };'
)
ALLOW = "permit(principal, action, resource);"


@pytest.fixture
async def serving(gateway: Gateway, sshd: Sshd) -> FakeServing:
    gateway.serving = serving_for(sshd, ALLOW, HOLD)
    return gateway.serving


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def there(evidence: Path) -> bool:
    return evidence.exists()


async def start(gateway: Gateway, evidence: Path, *options: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    words = gateway.ssh(f"touch {evidence}; echo done", options=[*options])
    process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert gateway.serving is not None
    await asyncio.wait_for(gateway.serving.approvals.waiting.wait(), HANG_S)
    return process


async def test_it_runs_by_itself_after_the_yes(gateway: Gateway, serving: FakeServing, evidence: Path) -> None:
    process = await start(gateway, evidence)
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    assert "sallyport: Ask the DBAs. Waiting until" in line
    assert "for dba to agree: https://gw.example/approvals/req_1" in line
    assert not there(evidence)
    serving.approvals.release.set()
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"done\n", b"")
    assert there(evidence)
    await gateway.idle()
    (operation, _), *others = serving.approvals.asked
    assert not others
    assert operation.text == f"touch {evidence}; echo done"
    assert serving.approvals.used == [("req_1", operation.digest())]
    (allowed,) = serving.recorder.markers(1)
    assert allowed.startswith(f"allowed: {operation.text} (")
    assert allowed.endswith("approved by carol@example.com (req_1)")
    assert "for dba to agree" in serving.recorder.text(1)
    _, held, ended = serving.recorder.lines(1, "jsonl")
    assert (held["event"], held["text"], held["digest"]) == ("held", f"held: {operation.text}", operation.digest())
    assert (ended["event"], ended["text"], ended["exit"]) == ("command", operation.text, 0)
    assert (ended["approvers"], ended["request"]) == (["carol@example.com"], "req_1")
    assert serving.recorder.lines(1, "cast")[-1][1:] == ["x", "0"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("denied", "bob said no: \x1b[2Jnot today\u202e."), "sallyport: bob said no:  [2Jnot today . (denied, "),
        (Fault("approval_expired", "Nobody answered in time."), "sallyport: Nobody answered in time. (approval_expired, "),
        (Fault("control_plane_unreachable", "Away."), "sallyport: Away. (control_plane_unreachable, "),
    ],
)
async def test_every_no_is_said_and_nothing_runs(
    gateway: Gateway, serving: FakeServing, evidence: Path, fault: Fault, words: str
) -> None:
    process = await start(gateway, evidence)
    serving.approvals.no = fault
    serving.approvals.release.set()
    out, err = await process.communicate()
    assert (process.returncode, out) == (126, b"")
    assert words in err.decode()
    assert not there(evidence)
    await gateway.idle()
    assert serving.denied == 1
    assert serving.approvals.used == []


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "0" * 64},
        {"sid": "ses_other"},
        {"sub": "mallory@example.com"},
        {"target": "other"},
        {"login": "somebody"},
        {"aud": "agt_other"},
        {"iss": "https://elsewhere.example"},
        {"exp": NOW_MS // 1000},
        {"asks": []},
    ],
)
async def test_a_yes_to_something_else_covers_nothing(
    gateway: Gateway, serving: FakeServing, evidence: Path, changed: dict[str, object]
) -> None:
    serving.approvals.changed = changed
    process = await start(gateway, evidence)
    serving.approvals.release.set()
    await process.communicate()
    assert process.returncode == 126
    assert not there(evidence)
    assert serving.approvals.used == []


async def test_a_use_that_is_not_counted_runs_nothing(gateway: Gateway, serving: FakeServing, evidence: Path) -> None:
    serving.approvals.no_use = Fault("approval_used", "The approval has been used already.")
    process = await start(gateway, evidence)
    serving.approvals.release.set()
    _, err = await process.communicate()
    assert (process.returncode, b"approval_used" in err) == (126, True)
    assert not there(evidence)


async def test_a_newer_policy_asks_for_more(gateway: Gateway, serving: FakeServing, sshd: Sshd, evidence: Path) -> None:
    process = await start(gateway, evidence)
    serving.in_force = serving_for(sshd, ALLOW, HOLD.replace("group:dba", "group:dba quorum:2")).in_force
    serving.approvals.release.set()
    _, err = await process.communicate()
    assert (process.returncode, b"approval_mismatch" in err) == (126, True)
    assert not there(evidence)


async def test_ctrl_c_of_a_client_withdraws(gateway: Gateway, serving: FakeServing, evidence: Path) -> None:
    process = await start(gateway, evidence)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    await eventually(lambda: serving.approvals.withdrawn == 1)
    await gateway.idle()
    assert not there(evidence)
    assert serving.recorder.markers(1) == [f"withdrawn: touch {evidence}; echo done (the client left)"]
    withdrawn = serving.recorder.lines(1, "jsonl")[-1]
    assert (withdrawn["event"], withdrawn["code"], withdrawn["exit"]) == ("denied", "approval_withdrawn", None)
    assert withdrawn["text"] == f"touch {evidence}; echo done"


async def test_ctrl_c_in_a_terminal_withdraws_also_behind_what_was_typed(
    gateway: Gateway, serving: FakeServing, evidence: Path
) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        process = await conn.create_process(f"touch {evidence}", term_type="xterm")
        await asyncio.wait_for(serving.approvals.waiting.wait(), HANG_S)
        process.stdin.write("yes")
        process.stdin.write("\r\x03")
        done = await asyncio.wait_for(process.wait(), HANG_S)
        assert done.exit_status == 126
    assert serving.approvals.withdrawn == 1
    assert "approval_withdrawn" in serving.recorder.text(1)
    assert not there(evidence)


async def test_the_end_of_the_session_withdraws(gateway: Gateway, serving: FakeServing, evidence: Path) -> None:
    process = await start(gateway, evidence)
    serving.ended.set_result(Notice("session_killed", "It was ended by an administrator."))
    _, err = await process.communicate()
    assert b"ended by an administrator" in err
    await eventually(lambda: serving.approvals.withdrawn == 1)
    assert not there(evidence)


async def test_other_channels_go_on(gateway: Gateway, serving: FakeServing, evidence: Path) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        waiting = await conn.create_process(f"touch {evidence}")
        await asyncio.wait_for(serving.approvals.waiting.wait(), HANG_S)
        assert (await conn.run("echo on")).stdout == "on\n"
        serving.approvals.release.set()
        assert (await asyncio.wait_for(waiting.wait(), HANG_S)).exit_status == 0
    assert there(evidence)


# -- inside an open file transfer ------------------------------------------------------------------------------------------------

HOLD_FILES = (
    '@approval("group:dba") @message("Ask the DBAs.") forbid(principal, action == Action::"transfer", resource) '
    'when { context.verbs.containsAny(["remove", "put"]) } unless { context.approvals.contains("dba") };'
)


class Transfer:
    """A real sftp whose ``rm`` waits, between two commands that do not."""

    def __init__(self, gateway: Gateway, sshd: Sshd, folder: Path) -> None:
        gateway.serving = self.serving = serving_for(sshd, ALLOW, HOLD_FILES)
        self.gateway = gateway
        self.folder = folder / "files"
        self.folder.mkdir()
        self.doomed = self.folder / "doomed"
        self.doomed.write_text("content")

    async def start(self, *lines: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        words = self.gateway.batch("sftp", "-b", "-", "web@127.0.0.1")
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        assert process.stdin is not None
        process.stdin.write("\n".join(lines).encode() + b"\n")
        process.stdin.write_eof()
        await asyncio.wait_for(self.serving.approvals.waiting.wait(), HANG_S)
        return process

    def verdicts(self) -> list[tuple[str, str]]:
        lines = self.serving.recorder.lines(1, "jsonl")
        operations = [line for line in lines if line.get("event") == "operation"]
        return [(line["text"], line["verdict"]) for line in operations if line["text"].split()[0] in {"remove", "mkdir", "put"}]


@pytest.fixture
async def transfer(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> Transfer:
    return Transfer(gateway, sshd, tmp_path)


async def test_a_removal_inside_sftp_goes_on_by_itself_after_the_yes(transfer: Transfer) -> None:
    first, second = transfer.folder / "first", transfer.folder / "second"
    process = await transfer.start(f"mkdir {first}", f"rm {transfer.doomed}", f"mkdir {second}")
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    assert "sallyport: Ask the DBAs. Waiting until" in line
    assert " - Ctrl-\\ withdraws." in line
    assert (first.is_dir(), transfer.doomed.exists(), second.exists()) == (True, True, False)
    transfer.serving.approvals.release.set()
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b""), out
    assert (transfer.doomed.exists(), second.is_dir()) == (False, True)
    await transfer.gateway.idle()
    ((operation, _),) = transfer.serving.approvals.asked
    assert (operation.text, operation.kind) == (f"remove {transfer.doomed}", "sftp.remove")
    assert transfer.serving.approvals.used == [("req_1", operation.digest())]
    made = [f"mkdir {first} mode=0777", operation.text, f"mkdir {second} mode=0777"]
    assert transfer.verdicts() == [(text, "allowed") for text in made]
    lines = transfer.serving.recorder.lines(1, "jsonl")
    assert [line["text"] for line in lines if line.get("event") == "held"] == [f"held: {operation.text}"]
    assert sum("req_1" in str(line) and "carol@example.com" in str(line) for line in lines) == 1


async def test_an_upload_that_waits_arrives_whole(transfer: Transfer, tmp_path: Path) -> None:
    data = os.urandom(700_000)
    (tmp_path / "up").write_bytes(data)
    process = await transfer.start(f"put {tmp_path}/up {transfer.folder}/up")
    assert not (transfer.folder / "up").exists()
    transfer.serving.approvals.release.set()
    await process.communicate()
    assert process.returncode == 0
    assert (transfer.folder / "up").read_bytes() == data


@pytest.mark.parametrize("late", [False, True])
async def test_a_no_inside_sftp_fails_that_request_alone(transfer: Transfer, late: bool) -> None:
    fault = Fault("approval_denied", "bob said no: not \x1b[2Jtoday.")
    if late:
        transfer.serving.approvals.no_use = fault
    else:
        transfer.serving.approvals.no = fault
    process = await transfer.start(f"-rm {transfer.doomed}", f"mkdir {transfer.folder}/next")
    transfer.serving.approvals.release.set()
    _, err = await process.communicate()
    assert process.returncode == 0
    assert "bob said no: not" in err.decode()
    assert "ermission denied" in err.decode()
    assert b"\x1b" not in err
    assert (transfer.doomed.exists(), (transfer.folder / "next").is_dir()) == (True, True)
    await transfer.gateway.idle()
    assert transfer.verdicts()[0] == (f"remove {transfer.doomed}", "denied")
    assert transfer.serving.denied == 1


async def test_a_yes_inside_sftp_covers_one_path(transfer: Transfer) -> None:
    transfer.serving.approvals.changed = {"digest": "0" * 64}
    process = await transfer.start(f"-rm {transfer.doomed}")
    transfer.serving.approvals.release.set()
    _, err = await process.communicate()
    assert b"something in it has changed" in err
    assert transfer.doomed.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
async def test_an_sftp_that_ends_while_it_waits_withdraws(transfer: Transfer, how: signal.Signals) -> None:
    process = await transfer.start(f"rm {transfer.doomed}")
    process.send_signal(how)
    await process.wait()
    await eventually(lambda: transfer.serving.approvals.withdrawn == 1)
    await transfer.gateway.idle()
    assert transfer.doomed.exists()


async def test_ctrl_c_in_scp_while_it_waits_withdraws(transfer: Transfer, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"content")
    words = transfer.gateway.batch("scp", "-s", f"{tmp_path}/up", f"web@127.0.0.1:{transfer.folder}/up")
    process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
    await asyncio.wait_for(transfer.serving.approvals.waiting.wait(), HANG_S)
    os.killpg(process.pid, signal.SIGINT)
    await process.wait()
    await eventually(lambda: transfer.serving.approvals.withdrawn == 1)
    await transfer.gateway.idle()
    assert not (transfer.folder / "up").exists()


async def test_other_channels_go_on_beside_an_sftp_that_waits(transfer: Transfer) -> None:
    async with (
        asyncssh.connect(
            "127.0.0.1", transfer.gateway.port, config=None, known_hosts=None, username="web", client_keys=None
        ) as conn,
        conn.start_sftp_client() as waiting,
        conn.start_sftp_client() as other,
    ):
        removing = asyncio.ensure_future(waiting.remove(str(transfer.doomed)))
        await asyncio.wait_for(transfer.serving.approvals.waiting.wait(), HANG_S)
        assert (await conn.run("echo on")).stdout == "on\n"
        assert await other.exists(str(transfer.doomed))
        # What the same client asks behind it is answered behind it.
        behind = asyncio.ensure_future(waiting.exists(str(transfer.doomed)))
        assert await other.listdir(str(transfer.folder))
        assert not behind.done()
        transfer.serving.approvals.release.set()
        await asyncio.wait_for(removing, HANG_S)
        assert await asyncio.wait_for(behind, HANG_S) is False


async def test_the_end_of_the_session_ends_an_sftp_that_waits(transfer: Transfer) -> None:
    process = await transfer.start(f"rm {transfer.doomed}")
    transfer.serving.ended.set_result(Notice("session_killed", "It was ended by an administrator."))
    _, err = await process.communicate()
    assert b"ended by an administrator" in err
    await eventually(lambda: transfer.serving.approvals.withdrawn == 1)
    assert transfer.doomed.exists()
