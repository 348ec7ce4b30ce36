"""Bad input, and what it gets: a short, true message with a stable code on the right side, never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as open_websocket

from agent.runtime.tunnel import Tunnel, TunnelError
from tests.e2e.conftest import World
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


def run(world: World, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as alice."""
    return subprocess.run(
        world.alice.command(list(words)),
        env=world.alice.environment | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def token(world: World) -> str:
    saved = json.loads((Path(world.alice.environment["SALLYPORT_HOME"]) / "session.json").read_text())
    return str(saved["token"])


def ask(world: World, method: str, path: str, body: Any = None, authorization: str = "") -> tuple[int, dict[str, Any]]:
    """Call the HTTP API; return status and body."""
    request = urllib.request.Request(f"{world.stack.url}{path}", method=method)
    request.add_header("Content-Type", "application/json")
    if authorization:
        request.add_header("Authorization", authorization)
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=HANG_S) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def open_session(world: World, target: str = "prod-web", **more: str) -> dict[str, Any]:
    status, offer = ask(world, "POST", "/sessions", {"target": target, **more}, f"Bearer {token(world)}")
    assert status == 200, offer
    return offer


def through_the_tunnel(world: World, offer: dict[str, Any], opening: str) -> str:
    """Open the relay for ``offer``, present ``opening`` as the ticket; return the code that it ends with, or what was read."""
    relay = next(way["address"] for way in offer["ways"] if way["kind"] == "relay")

    async def credentials(resume: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {offer['ticket']}" if resume is None else f"Resume {resume}"}

    async def attempt() -> str:
        async with asyncio.timeout(HANG_S):
            try:
                async with Tunnel.connect(relay, credentials, opening=opening.encode()) as tunnel:
                    return (await tunnel.read()).decode(errors="replace")
            except TunnelError as error:
                return error.reason or error.code

    return asyncio.run(attempt())


def clean(text: str) -> bool:
    return "Traceback" not in text and "Error:" not in text


# --- what people get wrong


@pytest.mark.parametrize("way", ["relay", "direct"])
@pytest.mark.parametrize(
    ("target", "code"), [("down", "target_unreachable"), ("other-key", "target_host_key"), ("no-key", "credential_missing")]
)
def test_a_target_that_cannot_be_used_says_why(world: World, way: str, target: str, code: str) -> None:
    answer = run(world, "ssh", target, "true", SALLYPORT_WAY=way)
    assert code in answer.stderr, answer.stderr
    assert answer.returncode not in (0, 1)
    assert "sallyport:" in answer.stderr
    assert clean(answer.stderr)


@pytest.mark.parametrize(("target", "code", "status"), [("no-such-target", "unknown_target", 4), ("nobody", "denied", 126)])
def test_a_target_that_is_not_hers(world: World, target: str, code: str, status: int) -> None:
    answer = run(world, "sallyport", "connect", "--stdio", target)
    assert (answer.returncode, code in answer.stderr) == (status, True), answer.stderr
    assert clean(answer.stderr)


def test_a_target_that_allows_no_shell_still_runs_commands(world: World) -> None:
    assert run(world, "ssh", "no-shell", "echo hello").stdout == "hello\n"
    shell = run(world, "ssh", "-tt", "no-shell")
    assert shell.returncode != 0
    assert "shell" in (shell.stdout + shell.stderr)


def test_ten_megabytes_of_reason(world: World) -> None:
    status, body = ask(world, "POST", "/sessions", {"target": "prod-web", "reason": "x" * 10_000_000}, f"Bearer {token(world)}")
    assert status == 413
    assert body.get("error", {}).get("code", "too_large") == "too_large"
    status, body = ask(world, "POST", "/sessions", {"target": "prod-web", "reason": "x" * 2_001}, f"Bearer {token(world)}")
    assert (status, body["error"]["code"]) == (413, "too_large")
    # The twin: a long but reasonable one.
    assert open_session(world, reason="x" * 2_000)["sid"]


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "login_required"),
        ("Bearer nonsense", "token_invalid"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", "token_invalid"),
        ("Basic YWxpY2U6YWxpY2U=", "login_required"),
    ],
)
def test_a_caller_who_proves_nothing(world: World, authorization: str, code: str) -> None:
    status, body = ask(world, "POST", "/sessions", {"target": "prod-web"}, authorization)
    assert (status, body["error"]["code"]) == (401, code)


def test_an_expired_token_on_this_machine_is_not_even_sent(world: World, tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "home"
    shutil.copytree(world.alice.environment["SALLYPORT_HOME"], home)
    saved = json.loads((home / "session.json").read_text()) | {"expires_ms": 1}
    (home / "session.json").write_text(json.dumps(saved))
    answer = run(world, "sallyport", "ls", SALLYPORT_HOME=str(home))
    assert (answer.returncode, "token_expired" in answer.stderr) == (3, True), answer.stderr
    assert "sallyport login" in answer.stderr


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"target": 7}', b'{"target": null}', b"\xff\xfe", b"{}" * 1000])
def test_a_body_that_is_not_a_request(world: World, body: bytes) -> None:
    status, answer = ask(world, "POST", "/sessions", body, f"Bearer {token(world)}")
    assert (status, answer["error"]["code"]) == (400, "bad_request"), answer


# --- tickets


def test_a_ticket_opens_its_session_once(world: World) -> None:
    offer = open_session(world)
    assert through_the_tunnel(world, offer, offer["ticket"]).startswith("SSH-2.0-")
    assert through_the_tunnel(world, offer, offer["ticket"]) in {
        "ticket_used",
        "session_ended",
        "tunnel_refused",
        "ticket_invalid",
    }


def test_a_ticket_for_another_target_is_refused(world: World) -> None:
    mine, other = open_session(world), open_session(world, target="no-shell")
    assert through_the_tunnel(world, mine, other["ticket"]) == "ticket_mismatch"


@pytest.mark.parametrize("opening", ["", "nonsense", "a.b.c"])
def test_a_ticket_that_is_none(world: World, opening: str) -> None:
    assert through_the_tunnel(world, open_session(world), opening) == "ticket_invalid"


def test_an_access_token_is_not_a_ticket(world: World) -> None:
    offer = open_session(world)
    assert through_the_tunnel(world, offer, token(world)) == "ticket_invalid"
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(world.cloud.ws_url, additional_headers={"Authorization": f"Bearer {token(world)}"})
    assert refused.value.response.status_code == 401


def test_a_ticket_is_not_an_access_token(world: World) -> None:
    status, body = ask(world, "GET", "/whoami", authorization=f"Bearer {open_session(world)['ticket']}")
    assert (status, body["error"]["code"]) == (401, "token_invalid")


# --- agents


@pytest.mark.parametrize("proof", ["nonsense", "eyJhbGciOiJub25lIn0.e30.", ""])
def test_a_wrong_agent_key(world: World, proof: str) -> None:
    status, body = ask(world, "POST", "/agent/announce", {"protocols": [], "credentials": []}, f"Agent {proof}")
    assert status == 401
    assert body["error"]["code"] in {"agent_proof_invalid", "agent_unknown", "login_required"}


def test_an_enrolment_token_that_nobody_issued(world: World) -> None:
    body = {"token": "x" * 40, "public_key": "A" * 43, "ssh_host_key": "ssh-ed25519 AAAA"}
    status, answer = ask(world, "POST", "/agents/enrol", body)
    assert status in {400, 401}
    assert answer["error"]["code"] in {"enrolment_invalid", "bad_request"}


# --- the relay


def session_socket(world: World) -> Any:
    offer = open_session(world)
    return open_websocket(
        world.cloud.ws_url, additional_headers={"Authorization": f"Bearer {offer['ticket']}"}, compression=None, max_size=2**21
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"t":"d"}', '{"t":"d","r":"x","f":"AAAA"}', '{"t":"d","r":1,"f":2}', "\0"])
def test_malformed_messages_are_answered_or_ignored_and_the_socket_lives(world: World, text: str) -> None:
    with session_socket(world) as ws:
        ws.send(text)
        ws.send('{"t":"hello"}')
        said = [json.loads(ws.recv(timeout=HANG_S))]
        while said[-1].get("t") != "route":
            said.append(json.loads(ws.recv(timeout=HANG_S)))
        # The agent's own first frames may overtake the route; everything else says what was wrong.
        for message in said[:-1]:
            assert message["t"] == "f" or (message["t"] in {"refused", "lost"} and message["code"])


def test_a_route_is_of_no_use_to_another_connection(world: World) -> None:
    with session_socket(world) as mine, session_socket(world) as other:
        mine.send('{"t":"hello"}')
        route = json.loads(mine.recv(timeout=HANG_S))
        while route["t"] != "route":
            route = json.loads(mine.recv(timeout=HANG_S))
        other.send(json.dumps({"t": "d", "r": route["r"], "f": "AAAA"}))
        answer = json.loads(other.recv(timeout=HANG_S))
        while answer["t"] == "f":  # the agent's own first frames may come before it
            answer = json.loads(other.recv(timeout=HANG_S))
        assert (answer["t"], answer["code"]) == ("refused", "route_invalid")


def send_and_listen(ws: Any, message: bytes | str) -> None:
    ws.send(message)
    while True:  # the agent's own first frames may come before the end
        ws.recv(timeout=HANG_S)


@pytest.mark.parametrize(("message", "code"), [(b"binary", 1003), ("x" * (128 * 1024 + 1), 1009), ("y" * (33 * 1024), 1009)])
def test_what_api_gateway_does_not_carry(world: World, message: bytes | str, code: int) -> None:
    with session_socket(world) as ws:
        with pytest.raises(ConnectionClosed) as closed:
            send_and_listen(ws, message)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code


def test_garbage_inside_the_tunnel_ends_it_with_a_code(world: World) -> None:
    offer = open_session(world)
    relay = next(way["address"] for way in offer["ways"] if way["kind"] == "relay")
    with open_websocket(relay, additional_headers={"Authorization": f"Bearer {offer['ticket']}"}, compression=None) as ws:
        ws.send('{"t":"hello"}')
        route = json.loads(ws.recv(timeout=HANG_S))
        while route["t"] != "route":
            route = json.loads(ws.recv(timeout=HANG_S))
        for frame in ("AAAA", "/////w==", "not base64!"):
            ws.send(json.dumps({"t": "d", "r": route["r"], "f": frame}))
    assert "internal_fault" not in world.log()
    assert run(world, "ssh", "prod-web", "echo alive").stdout == "alive\n"


# --- the agent's own listener


def listener(world: World) -> tuple[str, int]:
    offer = open_session(world)
    host, _, port = next(way["address"] for way in offer["ways"] if way["kind"] == "direct").rpartition(":")
    return host, int(port)


def test_a_client_that_stalls_in_the_handshake_blocks_nobody(world: World) -> None:
    where = listener(world)
    with socket.create_connection(where) as silent, socket.create_connection(where) as half:
        half.sendall(b"SALLYPORT/1 ses_")
        assert run(world, "ssh", "prod-web", "echo alive", SALLYPORT_WAY="direct").stdout == "alive\n"
        silent.settimeout(HANG_S)
        # Its deadline comes, and with it the end of the connection.
        while silent.recv(1024):
            pass


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SALLYPORT/1 ../../etc\n",
        b"SALLYPORT/9 x\n",
        b"\0" * 200,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    ],
)
def test_a_preamble_that_is_none(world: World, line: bytes) -> None:
    with socket.create_connection(listener(world)) as connection:
        connection.settimeout(HANG_S)
        connection.sendall(line)
        said = b""
        with suppress(ConnectionResetError):
            while data := connection.recv(4096):
                said += data
        assert b"Traceback" not in said
    assert run(world, "ssh", "prod-web", "echo alive", SALLYPORT_WAY="direct").stdout == "alive\n"


def test_no_certificate_no_session(world: World, tmp_path: Path) -> None:
    host, port = listener(world)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    options += ["-o", "IdentitiesOnly=yes", "-i", str(key), "-p", str(port)]
    answer = subprocess.run(
        ["ssh", *options, f"{world.stack.target.account}+prod-web@{host}", "true"], capture_output=True, text=True, timeout=HANG_S
    )
    assert answer.returncode == 255
    assert "Permission denied" in answer.stderr


def test_a_native_client_with_its_certificate_needs_no_command_line(world: World) -> None:
    host, port = listener(world)
    home = Path(world.alice.environment["SALLYPORT_HOME"])
    options = ["-F", "none", "-o", f"UserKnownHostsFile={home / 'known_hosts'}", "-o", "HostKeyAlias=prod-web.sallyport"]
    options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-i", str(home / "id_ed25519"), "-p", str(port)]
    answer = subprocess.run(
        ["ssh", *options, f"{world.stack.target.account}+prod-web@{host}", "echo native"],
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (answer.returncode, answer.stdout) == (0, "native\n"), answer.stderr


# --- configuration


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("policies.cedar", '@id("a")\npermit(principal, action, resource);\n\n@id("b")\npermit(principal;\n', "policies.cedar:4"),
        ("policies.cedar", 'forbid(principal, action == Action::"run", resource) when { context.nonsense };', "policies.cedar:1"),
        (
            "policies.cedar",
            '@id("held")\n@approval("somebody")\nforbid(principal, action == Action::"run", resource)\n'
            'unless { context.approvals.contains("dba") };',
            "policies.cedar:1",
        ),
        ("gateway.yaml", "version: 1\ntargets:\n  web:\n    protocol: telnet\n", "gateway.yaml:"),
        ("gateway.yaml", "version: 1\ntargets: {a: [", "gateway.yaml:"),
    ],
)
def test_a_bad_file_changes_nothing(world: World, tmp_path: Path, name: str, text: str, expected: str) -> None:
    import shutil

    pat = world.stack.person("pat")
    before = json.loads(pat.run(["sallyport", "plan", str(world.stack.folder / "gateway"), "--json"]).stdout)["version"]
    folder = tmp_path / "gateway"
    shutil.copytree(world.stack.folder / "gateway", folder)
    (folder / name).write_text(text)
    answer = pat.run(["sallyport", "apply", "--yes", str(folder)])
    assert answer.returncode == 6, answer.stdout + answer.stderr
    assert expected in answer.stdout + answer.stderr
    assert clean(answer.stderr)
    after = json.loads(pat.run(["sallyport", "plan", str(world.stack.folder / "gateway"), "--json"]).stdout)["version"]
    assert before == after


def test_a_control_that_the_protocol_cannot_enforce_is_refused(world: World, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "gateway"
    shutil.copytree(world.stack.folder / "gateway", folder)
    file = folder / "gateway.yaml"
    # A target whose shells are only recorded cannot promise to block.
    text = file.read_text().replace("shell: guarded", "shell: recorded")
    file.write_text(text.replace("require: [record]", "require: [record, block]"))
    answer = world.stack.person("pat").run(["sallyport", "apply", "--yes", str(folder)])
    said = answer.stdout + answer.stderr
    assert answer.returncode == 6, said
    assert "block" in said
    assert "config_unenforceable" in said


def test_nobody_but_an_administrator_applies(world: World) -> None:
    answer = run(world, "sallyport", "apply", "--yes", str(world.stack.folder / "gateway"))
    assert (answer.returncode, "denied" in answer.stderr) == (126, True), answer.stderr


# --- how ssh gets its connection


@pytest.mark.parametrize("way", ["relay", "direct"])
@pytest.mark.parametrize("manner", ["yes", "no"])
def test_ssh_is_handed_a_socket_or_has_its_bytes_carried(world: World, way: str, manner: str) -> None:
    # With "no" the very same ProxyCommand finds a pipe or socket that ssh reads from, as other clients do.
    command = "connect --stdio" if manner == "no" else "connect --fdpass"
    proxy = f"{world.alice.command(['sallyport'])[0]} {command} --way {way} prod-web"
    options = ["-o", f"ProxyCommand={proxy}", "-o", f"ProxyUseFdpass={manner}"]
    answer = run(world, "ssh", *options, "prod-web", "echo out; echo err >&2; exit 7")
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize("way", ["relay", "direct"])
def test_a_megabyte_goes_in_and_comes_back(world: World, way: str) -> None:
    sent = os.urandom(1_000_000)
    command = world.alice.command(["ssh", "prod-web", "cat"])
    environment = world.alice.environment | {"SALLYPORT_WAY": way}
    back = subprocess.run(command, input=sent, env=environment, capture_output=True, timeout=HANG_S)
    assert back.stdout == sent
