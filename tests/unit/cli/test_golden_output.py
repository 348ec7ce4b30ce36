"""What the commands print, whole, as files to read and review: ``SALLYPORT_REGEN=1`` writes them again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import State
from chalicelib.contracts.translog import notes
from cli.__main__ import _COMMANDS
from tests.fakes.http_control_plane import FakeControlPlane, Reply
from tests.fakes.note_keys import NoteKey
from tests.unit.cli.conftest import NOW_MS, Run, session, target

GOLDEN = Path(__file__).parents[2] / "golden/cli"
CAST = (
    b'{"version":3,"term":{"cols":80,"rows":24},"timestamp":1795168980,"command":"","title":"shell"}\n'
    b'[0.1,"o","$ unmae\\b\\b\\b\\b\\u001b[Kname -a"]\n[0.5,"m","allowed: uname -a (sre-may-run)"]\n'
    b'[0.1,"o","\\r\\nLinux web 6.18\\r\\n$ rm -rf /srv"]\n[9.0,"m","denied: rm -rf /srv (no-recursive-delete)"]\n'
    b'[0.1,"o","\\r\\nsallyport: Needs a change ticket.\\u001b]52;c;ZXZpbA==\\u0007\\r\\n"]\n[1.0,"x","126"]\n'
)
SFTP = (
    b'{"format":"sallyport-transcript","version":1,"protocol":"sftp","sid":"x","target":"prod-web","principal":"alice@example.com",'
    b'"login":"deploy","channel":2,"opened_ms":1795168981000,"command":"","title":""}\n'
    b'{"t":5,"event":"operation","kind":"sftp.read","text":"get /etc/hosts","effects":["read"],"objects":[],"flags":[],'
    b'"verdict":"allowed","rules":["sre-may-read"],"policy":3,"digest":"00"}\n'
    b'{"t":19,"event":"operation","kind":"sftp.write","text":"put /etc/passwd","effects":["write"],"objects":[],"flags":[],'
    b'"verdict":"denied","rules":["no-etc"],"policy":3,"digest":"01","code":"denied","message":"/etc is managed by Ansible."}\n'
    b'{"t":40,"event":"exit","status":0}\n'
)
RECORDED = session(1, age_ms=600_000, denied=1)


@pytest.fixture
def world(logged_in: FakeControlPlane) -> FakeControlPlane:
    """A small company on a Friday morning."""
    plane = logged_in
    plane.targets = [
        target(),
        target(
            "db-1",
            protocol="postgres",
            logins=["app"],
            tags=["prod", "pci"],
            hint="sallyport connect {target}",
            description="Billing",
        ),
        target("build-7", online=False, tags=[], description="Baut \u202eDinge\x1b]0;x\x07 \u6570\u636e"),
    ]
    plane.agents = [
        api.AgentView(
            name="edge-1",
            agent_id="agt_1",
            online=True,
            seen_ms=NOW_MS - 12_000,
            protocols=["ssh"],
            direct="10.0.0.9:2222",
            witness_key=str(NoteKey.ed25519("edge-1", notes.COSIGNATURE).key),
            witnessed=20_852,
            witnessed_ms=NOW_MS - 40_000,
        ),
        api.AgentView(
            name="edge-2",
            agent_id="agt_2",
            online=False,
            seen_ms=0,
            protocols=[],
            direct="",
            alarm="fork: two logs.\x1b[2J",
        ),
        api.AgentView(
            name="edge-3",
            agent_id="agt_3",
            online=True,
            seen_ms=NOW_MS,
            protocols=["ssh"],
            direct="",
            refuses="spool_full\x1b[2J",
        ),
    ]
    plane.record(RECORDED, [("ch01.cast", NOW_MS - 600_000, CAST), ("ch02.jsonl", NOW_MS - 599_000, SFTP)])
    plane.sessions += [
        session(2, age_ms=60_000, state=State.LIVE, ended_ms=0, operations=12),
        session(
            3,
            age_ms=3_600_000,
            state=State.DENIED,
            started_ms=0,
            ended_ms=NOW_MS - 3_600_000,
            operations=0,
            principal="bob@example.com",
            message="Production is for the sre team.\x1b[2J",
            verdict="",
            login="",
        ),
        session(4, age_ms=90_000_000, state=State.KILLED, message="Revoked by carol@example.com."),
    ]
    plane.plan = api.ConfigPlan(
        version=3,
        changes=[
            api.Change(sign="+", what="target prod-web", detail="ssh, 2 logins"),
            api.Change(sign="~", what="rule no-recursive-delete", detail="message"),
            api.Change(sign="-", what="target old"),
        ],
        warnings=[api.Problem("gateway.yaml", 12, "tag pci is used by no rule")],
    )
    return plane


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    gateway = tmp_path / "gateway"
    gateway.mkdir()
    (gateway / "gateway.yaml").write_text("version: 1\n")
    (gateway / "a.cedar").write_text("permit(principal, action, resource);\n")
    return gateway


class Golden:
    """Compares a command's whole output with a file."""

    def __init__(self, run: Run, plane: FakeControlPlane, tmp_path: Path) -> None:
        self._run = run
        self._plane = plane
        self._tmp = tmp_path

    def check(self, name: str, *words: str) -> None:
        ran = self._run(*words)
        text = f"$ sallyport {' '.join(words)}\n{ran.out}"
        text += f"--- stderr\n{ran.err}" if ran.err else ""
        text += f"--- exit {ran.status}\n"
        text = text.replace(self._plane.url, "http://127.0.0.1:PORT").replace(str(self._tmp), "~")
        text = re.sub(r"(ecdsa|ssh)-[a-z0-9-]+ AAAA[\w+/=]+", "KEY", text)
        text = re.sub(r"'[^']*/sallyport' connect", "'/usr/bin/sallyport' connect", text)
        file = GOLDEN / f"{name}.txt"
        if os.environ.get("SALLYPORT_REGEN"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        assert file.read_text() == text


@pytest.fixture
def golden(run: Run, world: FakeControlPlane, tmp_path: Path) -> Golden:
    return Golden(run, world, tmp_path)


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_help(golden: Golden, command: str) -> None:
    golden.check(f"help_{command or 'sallyport'}", *([command] if command else []), "--help")


def test_people(golden: Golden) -> None:
    golden.check("whoami", "whoami")
    golden.check("whoami_json", "whoami", "--json")
    golden.check("status", "status")
    golden.check("ls", "ls")
    golden.check("ssh_config", "ssh-config")
    golden.check("ssh_config_write", "ssh-config", "--write")
    golden.check("ssh_config_write_again", "ssh-config", "--write")
    golden.check("status_with_ssh_config", "status")
    golden.check("logout", "logout")
    golden.check("logout_again", "logout")
    golden.check("status_logged_out", "status")
    golden.check("ls_logged_out", "ls")


def test_evidence(golden: Golden) -> None:
    sid = RECORDED.sid
    golden.check("sessions", "sessions")
    golden.check("sessions_since", "sessions", "--since", "30m", "-n", "1")
    golden.check("sessions_denied_json", "sessions", "--state", "denied", "--json")
    golden.check("sessions_none", "sessions", "--day", "2020-01-01")
    golden.check("session", "session", sid)
    golden.check("replay", "replay", sid)
    golden.check("replay_list", "replay", sid, "--list")
    golden.check("replay_list_json", "replay", sid, "--list", "--json", "--channel", "2")
    golden.check("replay_no_channel", "replay", sid, "--channel", "9")
    golden.check("replay_to_two_channels", "replay", sid, "--to", "x.cast")


def test_altered_evidence(golden: Golden, world: FakeControlPlane) -> None:
    world.blobs[f"{RECORDED.sid}/1"] += b"x"
    golden.check("replay_altered", "replay", RECORDED.sid, "--channel", "1")


def test_gateway(golden: Golden, world: FakeControlPlane, folder: Path) -> None:
    golden.check("agents", "agents")
    golden.check("agents_witness_keys", "agents", "--witness-keys")
    golden.check("agent_token", "agent-token", "edge-3")
    golden.check("plan", "plan", str(folder))
    golden.check("apply", "apply", "--yes", str(folder))
    golden.check("apply_unasked", "apply", str(folder))
    assert [files.expected_version for files in world.applied] == [3]
    assert world.applied[0].files == {"gateway.yaml": "version: 1\n", "a.cedar": "permit(principal, action, resource);\n"}


def test_a_plan_with_problems(golden: Golden, world: FakeControlPlane, folder: Path) -> None:
    world.problems = [
        api.Problem("gateway.yaml", 7, "no agent is called edge-9"),
        api.Problem("a.cedar", 0, "no rule permits connect\x1b[1A"),
        api.Problem("a.cedar", 4, "rule no-rm looks for the flag 'recursiv', which no agent knows, so that is never true"),
    ]
    golden.check("plan_problems", "plan", str(folder))
    golden.check("plan_problems_json", "plan", "--json", str(folder))
    golden.check("apply_problems_json", "apply", "--yes", "--json", str(folder))


def test_a_plan_without_changes(golden: Golden, world: FakeControlPlane, folder: Path) -> None:
    world.plan = api.ConfigPlan(version=3, changes=[], warnings=[])
    golden.check("apply_nothing", "apply", "--yes", str(folder))
    assert world.applied == []


def test_a_ticket_to_paste(golden: Golden, world: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    roots: list[bytes | None] = [b"", None, b"a root"]
    monkeypatch.setattr("cli.commands.ticket.fetch_root", lambda *_: roots.pop(0))
    monkeypatch.setattr("cli.home.Home.keep_root", lambda *_: Path("/home/alice/.config/sallyport/roots/db-1.pem"))
    direct = api.Way(kind="direct", address="10.0.0.9:2222")
    offer = api.SessionOffer(
        sid="ses_01JD8QZ6T3N0V9C4K2M7X5B1HR",
        ticket="e30.eyJzaWQiOiJzZXMifQ.c2ln",
        expires_ms=NOW_MS + 60_000,
        deadline_ms=NOW_MS + 3_600_000,
        ways=[direct, api.Way(kind="relay", address="wss://relay.example.com/api")],
        host_alias="db-1.sallyport",
    )
    world.offer = offer
    golden.check("ticket", "ticket", "db-1", "--reason", "INC-7")
    golden.check("ticket_json", "ticket", "db-1", "--json")
    golden.check("ticket_known", "ticket", "db-1")
    world.offer = msgspec.structs.replace(offer, ways=offer.ways[1:])
    golden.check("ticket_no_listener", "ticket", "db-1")
    golden.check("ticket_for_ssh", "ticket", "prod-web")


def test_refusals(golden: Golden, world: FakeControlPlane) -> None:
    world.overrides["GET", "/targets"] = Reply(500, b"oops")
    golden.check("ls_failed", "ls")
    golden.check("connect_unknown_option", "connect", "--sdtio", "x")
    golden.check("unknown_command", "conect")
    golden.check("plan_no_folder", "plan", "nowhere")
    golden.check("login_no_url_scheme", "login", "--url", "gateway.example.com")
    golden.check("login_plain_http", "login", "--url", "http://gateway.example.com")


def test_a_denied_session(golden: Golden, world: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    world.offer = Fault("denied", "Production is for the sre team.", hint="Ask in #platform.")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115
    golden.check("connect_denied", "connect", "not-listed")
    world.offer = Fault("unknown_target", "There is no target of this name.", hint="Run: sallyport ls")
    golden.check("connect_unknown_target", "connect", "no-such")
    golden.check("connect_without_terminal", "connect", "db-1")
    golden.check("connect_port_for_ssh", "connect", "prod-web", "--port", "0")
    golden.check("connect_unknown_login", "connect", "prod-web", "--login", "nobody")
