"""Guarded zsh and fish: the exact lines, and nothing that was denied."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, PERMIT, victims
from tests.integration.ssh.test_guarded_corpus import COMMON, DOWN, ENTERS, LEFT, RIGHT, UP, Scenario
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

PROMPTS = {"zsh": "PS1='ready''> '", "fish": "function fish_prompt; echo -n 'ready''> '; end"}

BOTH = [
    *COMMON,
    Scenario("quotes", "echo 'a;b' \"c d\"\r", ["echo 'a;b' \"c d\""]),
    Scenario("history up", f"echo one\r{UP}\r", ["echo one", "echo one"], burst=False),
    Scenario("read secret", ["read -s p\r", "hunter2\r", "echo x\r"], ["read -s p", "echo x"]),
    Scenario("pipe", "echo abc | tr a-c A-C\r", ["echo abc | tr a-c A-C"]),
    Scenario("kill end", f"echo xyz{LEFT * 2}\x0b\r", ["echo x"]),
    Scenario("yank", "one\x15echo \x19\r", ["echo one"]),
    Scenario("transpose", "echo ab\x14\r", ["echo ba"]),
    Scenario("undo", "echo x y\x17\x1f\r", ["echo x y"]),
    Scenario("history down", f"echo one\recho two\r{UP}{UP}{DOWN}\r", ["echo one", "echo two", "echo two"], burst=False),
    Scenario("backslash", "echo a \\\rb\r", ["echo a \\\nb"]),
    Scenario("raw paste", "echo r1\necho r2\n", ["echo r1", "echo r2"]),
    Scenario("alias", "alias hi='echo hello'\rhi there\r", ["alias hi='echo hello'", "hi there"]),
    Scenario("type ahead", ["cat\rinto cat\r", "\x04", "echo after\r"], ["cat", "echo after"]),
    Scenario("background", "sleep 0.1 &\recho x\rwait\r", ["sleep 0.1 &", "echo x", "wait"]),
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
    Scenario("comment", "# a comment\recho x\r", ["echo x"]),
    Scenario("path completion", "echo /etc/hostn\t\r", ["echo /etc/hostname"], burst=False),
    Scenario("tab inside", "echo 'a\x16\tb'\r", ["echo 'a\tb'"]),
    Scenario("search edit", "echo needle\r\x12need\x05 x\r", ["echo needle", "echo needle x"], burst=False),
    Scenario("bang word", "echo one\recho two !$\r", ["echo one", "echo two one"]),
    Scenario("caret", "echo one\r^one^two^\r", ["echo one", "echo two"]),
    Scenario(
        "operate and next", f"echo one\recho two\r{UP}{UP}\x0f\r", ["echo one", "echo two", "echo one", "echo two"], burst=False
    ),
    Scenario("fc list off", "echo a\rfc -l -1 >/dev/null\r", ["echo a", "fc -l -1 >/dev/null"]),
    Scenario("if", "if true\rthen\recho y\rfi\r", ["if true\nthen\necho y\nfi"]),
    Scenario("function", "f() {\recho in f\r}\rf\r", ["f() {\necho in f\n}", "f"]),
    Scenario("case", "case x in\rx) echo m;;\resac\r", ["case x in\nx) echo m;;\nesac"]),
    Scenario("subshell", "(cd /; pwd)\rpwd >/dev/null\r", ["(cd /; pwd)", "pwd >/dev/null"]),
    Scenario("macro", ["bindkey -s '\\eq' 'echo macro\\n'\r", "\x1bq"], ["bindkey -s '\\eq' 'echo macro\\n'", "echo macro"]),
    Scenario("syntax error", "echo )\recho x\r", ["echo x"]),
    Scenario(
        "prompt that talks",
        "setopt promptsubst; PS1='$(echo dyn)> '\recho x\r",
        ["setopt promptsubst; PS1='$(echo dyn)> '", "echo x"],
    ),
    Scenario("right prompt", "RPROMPT='%T'\recho x\recho y\r", ["RPROMPT='%T'", "echo x", "echo y"]),
    Scenario("own precmd", "precmd() { true; }\recho x\r", ["precmd() { true; }", "echo x"]),
    Scenario("errexit off", "set -u\recho x\rset +u\r", ["set -u", "echo x", "set +u"]),
    Scenario("history control", "setopt histignorespace\r echo s\recho s\r", ["setopt histignorespace", " echo s", "echo s"]),
    Scenario("own trap", "trap 'x=1' DEBUG\recho s\r", ["trap 'x=1' DEBUG", "echo s"]),
    Scenario("global alias", "alias -g L='| wc -l'\recho x L\r", ["alias -g L='| wc -l'", "echo x L"]),
    Scenario("buffer stack", "print -z echo pushed\r\r", ["print -z echo pushed", "echo pushed"], burst=False),
    Scenario("push line", "echo later\x1bqecho now\r\r", ["echo now", "echo later"], burst=False),
]
FISH = [
    Scenario("for", "for i in 1 2\recho $i\rend\r", ["for i in 1 2\necho $i\nend"]),
    Scenario("vi mode", ["fish_vi_key_bindings\r", "echo abd\x1brcA x\r"], ["fish_vi_key_bindings", "echo abc x"]),
    Scenario(
        "other key", ["bind \\ct 'commandline -f execute'\r", "echo g\x14"], ["bind \\ct 'commandline -f execute'", "echo g"]
    ),
    Scenario("comment", "# a comment\recho x\r", ["# a comment", "echo x"]),
    Scenario("path completion", "echo /etc/hostn\t\r", ["echo /etc/hostname "], burst=False),
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("if", "if true\recho y\rend\r", ["if true\necho y\nend"]),
    Scenario("function", "function f\recho in f\rend\rf\r", ["function f\necho in f\nend", "f"]),
    Scenario("switch", "switch x\rcase x\recho m\rend\r", ["switch x\ncase x\necho m\nend"]),
    Scenario("subshell", "begin; cd /; pwd; end\rpwd >/dev/null\r", ["begin; cd /; pwd; end", "pwd >/dev/null"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1\necho p2"]),
    Scenario("search", f"echo needle\recho hay\rneed{UP}\r", ["echo needle", "echo hay", "echo needle"], burst=False),
    Scenario(
        "suggestion",
        ["echo a long suggestion\r", f"echo a lo{RIGHT}\r"],
        ["echo a long suggestion", "echo a long suggestion"],
        burst=False,
    ),
    Scenario("abbreviation", "abbr -a hi echo hello\rhi there\r", ["abbr -a hi echo hello", "echo hello there"]),
    Scenario(
        "macro",
        ["bind \\eq 'commandline -i \"echo macro\"'\r", "\x1bq\r"],
        ["bind \\eq 'commandline -i \"echo macro\"'", "echo macro"],
    ),
    Scenario("syntax error", ["echo )\r", "\x03", "echo x\r"], ["echo x"], burst=False),
    Scenario(
        "prompt that talks",
        "function fish_prompt; echo -n (date +%S)'> '; end\recho x\r",
        ["function fish_prompt; echo -n (date +%S)'> '; end", "echo x"],
    ),
    Scenario(
        "right prompt",
        "function fish_right_prompt; date +%T; end\recho x\r",
        ["function fish_right_prompt; date +%T; end", "echo x"],
    ),
    Scenario(
        "own event",
        "function e --on-event fish_prompt; true; end\recho x\r",
        ["function e --on-event fish_prompt; true; end", "echo x"],
    ),
    Scenario(
        "own preexec",
        "function e --on-event fish_preexec; true; end\recho x\r",
        ["function e --on-event fish_preexec; true; end", "echo x"],
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
    servers["fish"].forget()
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
