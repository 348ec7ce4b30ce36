"""Guarded zsh and fish: the exact lines, and nothing that was denied."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, PERMIT, victims
from tests.integration.ssh.test_guarded_corpus import COMMON, ENTERS, UP, Scenario
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

PROMPTS = {"zsh": "PS1='ready''> '", "fish": "function fish_prompt; echo -n 'ready''> '; end"}

BOTH = [
    *COMMON,
    Scenario("quotes", "echo 'a;b' \"c d\"\r", ["echo 'a;b' \"c d\""]),
    Scenario("history up", f"echo one\r{UP}\r", ["echo one", "echo one"], burst=False),
    Scenario("read secret", ["read -s p\r", "hunter2\r", "echo x\r"], ["read -s p", "echo x"]),
]
ZSH = [
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("for", "for i in 1 2\rdo echo $i\rdone\r", ["for i in 1 2\ndo echo $i\ndone"]),
    Scenario("here document", "cat <<X\rone\rX\r", ["cat <<X\none\nX"]),
    Scenario("bang bang", "echo one\r!!\r", ["echo one", "echo one"]),
    Scenario("search", "echo needle\recho hay\r\x12need\r", ["echo needle", "echo hay", "echo needle"], burst=False),
    Scenario("own hooks", "preexec() { true; }\recho x\r", ["preexec() { true; }", "echo x"]),
    Scenario("vi mode", ["bindkey -v\r", "echo abd\x1brcA x\r"], ["bindkey -v", "echo abc x"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1\necho p2"]),
]
FISH = [
    Scenario("for", "for i in 1 2\recho $i\rend\r", ["for i in 1 2\necho $i\nend"]),
    Scenario("vi mode", ["fish_vi_key_bindings\r", "echo abd\x1brcA x\r"], ["fish_vi_key_bindings", "echo abc x"]),
    Scenario(
        "other key", ["bind \\ct 'commandline -f execute'\r", "echo g\x14"], ["bind \\ct 'commandline -f execute'", "echo g"]
    ),
]
CASES = [("zsh", each) for each in BOTH + ZSH] + [("fish", each) for each in BOTH + FISH]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    """A server for each shell, which every account of it has."""
    found = {shell: shutil.which(shell) for shell in PROMPTS}
    missing = [shell for shell, path in found.items() if path is None]
    if missing:
        pytest.fail(f"missing: apt-get install {' '.join(missing)} (make setup does)")
    running = {shell: Sshd(tmp_path_factory.mktemp(shell), shell=path) for shell, path in found.items()}
    (running["zsh"].home / ".zshrc").write_text("")
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture
async def gateways(servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[dict[str, Gateway]]:
    gates = {}
    # fish keeps which key bindings somebody chose, for every session after it.
    for name in (".config", ".local"):
        shutil.rmtree(servers["fish"].home / name, ignore_errors=True)
    for shell, sshd in servers.items():
        (tmp_path / shell).mkdir()
        gates[shell] = Gateway(identity, tmp_path / shell)
        gates[shell].serving = serving_for(sshd, PERMIT, NOT, shell="guarded")
        await gates[shell].listen()
    yield gates
    for gate in gates.values():
        await gate.close()


def begin(child: pexpect.spawn, shell: str) -> None:
    child.delaybeforesend = None
    child.expect_exact("every line is decided before it runs")
    child.send(PROMPTS[shell] + "\r")
    child.expect("ready> ")
    child.expect(pexpect.TIMEOUT, timeout=0.3)


@pytest.mark.parametrize(("shell", "scenario"), CASES, ids=[f"{shell} {each.name}" for shell, each in CASES])
async def test_the_lines_are_exact(gateways: dict[str, Gateway], shell: str, scenario: Scenario) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child, shell)
        for number, piece in enumerate([scenario.keys] if isinstance(scenario.keys, str) else scenario.keys):
            if number:
                # The line before it is over, or reads by itself and says nothing.
                child.expect(["ready> ", pexpect.TIMEOUT], timeout=1)
            if scenario.burst:
                child.send(piece)
            else:
                for key in piece:
                    if key == "\x03":
                        # A signal that comes while fish still reads keys may be lost on it; people are not as fast.
                        child.expect(pexpect.TIMEOUT, timeout=0.25)
                    child.send(key)
                    child.expect(pexpect.TIMEOUT, timeout=0.25 if key in ENTERS else 0.002)
            child.expect(pexpect.TIMEOUT, timeout=0.3)
        child.send("echo th''e-end\r")
        child.expect_exact("the-end")
        child.send("exit\r")

    gateway = gateways[shell]
    await at_terminal(gateway.ssh(options=["-o", "SendEnv=LANG"]), person)
    await gateway.idle()
    recorder = gateway.serving.recorder
    ran = [entry["text"] for entry in recorder.lines(1, "jsonl") if entry.get("event") == "command"]
    first, *lines, last = ran[:-1] if ran[-1].startswith("exit") else ran
    assert first == PROMPTS[shell]
    assert last == "echo th''e-end"
    assert lines == scenario.lines
    assert "7701" not in recorder.text(1)
    assert b"hunter2" not in b"".join(recorder.written.values())


@pytest.mark.parametrize("shell", PROMPTS)
async def test_a_denied_line_is_never_run_however_often(gateways: dict[str, Gateway], shell: str, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child, shell)
        for number in range(60):
            child.send(f"touch {tmp_path}/victim-{number}\r")
            if number % 10 == 9:
                for _ in range(10):
                    child.expect_exact("sallyport: Not that.")
        child.expect("ready> ")
        child.send("exit\r")

    gateway = gateways[shell]
    await at_terminal(gateway.ssh(), person)
    await gateway.idle()
    assert not victims(tmp_path)
    assert gateway.serving.denied == 60
