"""Guarded zsh and fish: the exact lines, and nothing that was denied."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.many import Many, crowds_of
from tests.integration.ssh.scenarios import DOWN, LEFT, RIGHT, UP, Scenario, exact, started, type_out
from tests.integration.ssh.test_guarded import NOT, PERMIT, victims
from tests.integration.ssh.test_guarded_corpus import COMMON, GREETING, INTERRUPT, READY
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

PROMPTS = {"zsh": "PS1='ready''> '", "fish": "function fish_prompt; echo -n 'ready''> '; end"}

#: What would have zsh say nothing, keep no line, or not be stopped.
HOSTILE_ZSH = """trap '' INT
precmd() { preexec_functions=(); }
unset HISTFILE
HISTSIZE=1 SAVEHIST=0
setopt nounset histignorespace histignorealldups noglob shwordsplit
zshaddhistory() { return 1; }
IFS=e
"""
BOTH = [
    *COMMON,
    Scenario("quotes", "echo 'a;b' \"c d\"\r", ["echo 'a;b' \"c d\""]),
    Scenario("history up", ["echo one\r", f"{UP}\r"], ["echo one", "echo one"]),
    Scenario(
        "hidden word",
        ["sh -c \"stty -echo; printf 'wo''rd? '; read p; stty echo\"\r", ("word? ", "hunter2\r"), "echo x\r"],
        ["sh -c \"stty -echo; printf 'wo''rd? '; read p; stty echo\"", "echo x"],
    ),
    Scenario("choices", "echo /etc/hos\ts\r", ["echo /etc/hosts"]),
    Scenario("pipe", "echo abc | tr a-c A-C\r", ["echo abc | tr a-c A-C"]),
    Scenario("kill end", f"echo xyz{LEFT * 2}\x0b\r", ["echo x"]),
    Scenario("yank", "one\x15echo \x19\r", ["echo one"]),
    Scenario("transpose", "echo ab\x14\r", ["echo ba"]),
    Scenario("undo", "echo x y\x17\x1f\r", ["echo x y"]),
    Scenario("history down", ["echo one\r", "echo two\r", f"{UP}{UP}{DOWN}\r"], ["echo one", "echo two", "echo two"]),
    Scenario("backslash", "echo a \\\rb\r", ["echo a \\\nb"]),
    Scenario("raw paste", "echo r1\necho r2\n", ["echo r1", "echo r2"]),
    Scenario("alias", "alias hi='echo hello'\rhi there\r", ["alias hi='echo hello'", "hi there"]),
    Scenario("background", "sleep 0.1 &\recho x\rwait\r", ["sleep 0.1 &", "echo x", "wait"]),
]
ZSH = [
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("for", "for i in 1 2\rdo echo $i\rdone\r", ["for i in 1 2\ndo echo $i\ndone"]),
    Scenario("here document", "cat <<X\rone\rX\r", ["cat <<X\none\nX"]),
    Scenario("bang bang", "echo one\r!!\r", ["echo one", "echo one"]),
    Scenario("search", ["echo needle\r", "echo hay\r", "\x12need\r"], ["echo needle", "echo hay", "echo needle"]),
    Scenario(
        "type ahead", ["echo in''side; cat\r", ("inside\r\n", "into cat\r\x04echo after\r")], ["echo in''side; cat", "echo after"]
    ),
    Scenario("read visible", ["read 'p?wo''rd? '\r", ("word? ", "typed text\r"), "echo x\r"], ["read 'p?wo''rd? '", "echo x"]),
    Scenario(
        "read secret", ["read -s 'p?wo''rd? '\r", ("word? ", "hunter2\r"), "echo ${#p}\r"], ["read -s 'p?wo''rd? '", "echo ${#p}"]
    ),
    Scenario("completion", "prin\tf comp\r", ["printf comp"]),
    Scenario("quoted here document", "cat <<'X'\r$HOME `id`\rX\r", ["cat <<'X'\n$HOME `id`\nX"]),
    Scenario("job", "sleep 100 &\rkill %1\rwait\r", ["sleep 100 &", "kill %1", "wait"]),
    Scenario(
        "edit and execute",
        ["echo one\x18\x05", ("two", "\r")],
        ["echo two"],
        start="export VISUAL='sed -i s/one/two/'; autoload edit-command-line; zle -N edit-command-line\n"
        "bindkey '^x^e' edit-command-line\n",
    ),
    Scenario("vi history", ["bindkey -v\r", "echo one\r", "\x1bkA x\r"], ["bindkey -v", "echo one", "echo one x"]),
    Scenario("hostile settings", "echo x\recho y\r", ["echo x", "echo y"], start=HOSTILE_ZSH),
    Scenario(
        "hostile functions",
        "echo x\recho y\r",
        ["echo x", "echo y"],
        start="kill() { :; }; trap() { :; }; read() { :; }; printf() { :; }; print() { :; }; fc() { :; }; stty() { :; }\n",
    ),
    Scenario("errexit", "echo x\recho y\r", ["echo x", "echo y"], start="setopt errexit\n"),
    Scenario(
        "prompt command",
        "echo x\recho y\r",
        ["echo x", "echo y"],
        start="one() { true; }; two() { PS1='%~> '; }; precmd_functions=(one two)\n",
    ),
    Scenario(
        "starship",
        ["echo x\r", f"{UP}\r", "false\r"],
        ["echo x", "echo x", "false"],
        start="setopt promptsubst; zmodload zsh/datetime; own() { OWN=$EPOCHREALTIME; }; preexec_functions+=(own)\n"
        "PROMPT=$'\\n%F{cyan}%~%f $(printf \"took %d\" 0) via 🐍\\n%(?.%F{green}.%F{red})❯%f '\n"
        "RPROMPT='$(date +%T)'\n"
        "PROMPT2='%F{8}∙%f '\n",
    ),
    Scenario("own hooks", "preexec() { true; }\recho x\r", ["preexec() { true; }", "echo x"]),
    Scenario("vi mode", ["bindkey -v\r", "echo abd\x1brcA x\r"], ["bindkey -v", "echo abc x"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1\necho p2"]),
    Scenario("comment", "# a comment\recho x\r", ["echo x"]),
    Scenario("path completion", "echo /etc/hostn\t\r", ["echo /etc/hostname"]),
    Scenario("tab inside", "echo 'a\x16\tb'\r", ["echo 'a\tb'"]),
    Scenario("search edit", ["echo needle\r", "\x12need\x05 x\r"], ["echo needle", "echo needle x"]),
    Scenario("bang word", "echo one\recho two !$\r", ["echo one", "echo two one"]),
    Scenario("caret", "echo one\r^one^two^\r", ["echo one", "echo two"]),
    Scenario(
        "operate and next",
        ["echo one\r", "echo two\r", f"{UP}{UP}\x0f", "\r"],
        ["echo one", "echo two", "echo one", "echo two"],
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
    Scenario("buffer stack", ["print -z echo pushed\r", "\r"], ["print -z echo pushed", "echo pushed"]),
    Scenario("push line", ["echo later\x1bqecho now\r", "\r"], ["echo now", "echo later"]),
]
FISH = [
    # Its Enter ends no line of a program that was not there yet: its line editor has the terminal send what the key sends.
    Scenario(
        "type ahead", ["echo in''side; cat\r", ("inside\r\n", "into cat\r\x04echo after\r")], ["echo in''side; cat", "echo after"]
    ),
    # It does not leave its line editor, and says that it was interrupted only where a line stood there.
    Scenario("interrupt", ["echo gone!", ("!", "\x03"), ("^C", "echo x\r")], ["echo x"]),
    Scenario("for", "for i in 1 2\recho $i\rend\r", ["for i in 1 2\necho $i\nend"]),
    Scenario("vi mode", ["fish_vi_key_bindings\r", "echo abd\x1brcA x\r"], ["fish_vi_key_bindings", "echo abc x"]),
    Scenario(
        "other key",
        ["bind \\ct 'commandline -f execute'\r", "echo g\x14", "echo x\r"],
        ["bind \\ct 'commandline -f execute'", "echo g", "echo x"],
    ),
    Scenario("comment", "# a comment\recho x\r", ["# a comment", "echo x"]),
    Scenario("path completion", "echo /etc/hostn\t\r", ["echo /etc/hostname "]),
    Scenario("completion", "printe\t comp\r", ["printenv  comp"]),
    Scenario(
        "read visible", ["read -P 'wo''rd? ' p\r", ("word? ", "typed text\r"), "echo x\r"], ["read -P 'wo''rd? ' p", "echo x"]
    ),
    Scenario(
        "read secret", ["read -s -P 'wo''rd? ' p\r", ("word? ", "hunter2\r"), "echo x\r"], ["read -s -P 'wo''rd? ' p", "echo x"]
    ),
    Scenario("job", "sleep 100 &\rkill (jobs -p)\rwait\r", ["sleep 100 &", "kill (jobs -p)", "wait"]),
    Scenario(
        "edit and execute",
        ["echo one\x1be", ("two", "\r")],
        ["edit_command_buffer", "echo two"],
        start="set -gx VISUAL sed -i s/one/two/\n",
    ),
    Scenario(
        "vi history", ["fish_vi_key_bindings\r", "echo one\r", "\x1bkA x\r"], ["fish_vi_key_bindings", "echo one", "echo one x"]
    ),
    Scenario("search edit", ["echo needle\r", f"need{UP} x\r"], ["echo needle", "echo needle x"]),
    Scenario(
        "hostile settings",
        "echo x\recho y\r",
        ["echo x", "echo y"],
        start="trap '' INT; set -g fish_history ''; set -g fish_autosuggestion_enabled 0; bind \\r execute; set -g IFS e\n",
    ),
    Scenario(
        "hostile functions",
        "echo x\recho y\r",
        ["echo x", "echo y"],
        start="function kill; end; function trap; end; function stty; end; function bind; end\n",
    ),
    Scenario(
        "prompt command",
        "echo x\recho y\r",
        ["echo x", "echo y"],
        start="function one --on-event fish_prompt; true; end\nfunction two --on-event fish_postexec; true; end\n",
    ),
    Scenario(
        "starship",
        ["echo x\r", f"{UP}\r", "false\r"],
        ["echo x", "echo x", "false"],
        start="function fish_prompt\nprintf '\\n\\e[36m~/src\\e[0m took %d via 🐍\\n\\e[32m❯\\e[0m ' 0; end\n"
        "function fish_right_prompt; date +%T; end\n",
    ),
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("if", "if true\recho y\rend\r", ["if true\necho y\nend"]),
    Scenario("function", "function f\recho in f\rend\rf\r", ["function f\necho in f\nend", "f"]),
    Scenario("case", "switch x\rcase x\recho m\rend\r", ["switch x\ncase x\necho m\nend"]),
    Scenario("subshell", "begin; cd /; pwd; end\rpwd >/dev/null\r", ["begin; cd /; pwd; end", "pwd >/dev/null"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1\necho p2"]),
    Scenario("search", ["echo needle\r", "echo hay\r", f"need{UP}\r"], ["echo needle", "echo hay", "echo needle"]),
    Scenario(
        "suggestion",
        ["echo a long suggestion\r", "echo a lo", ("ng suggestion", f"{RIGHT}\r")],
        ["echo a long suggestion", "echo a long suggestion"],
    ),
    Scenario("abbreviation", "abbr -a hi echo hello\rhi there\r", ["abbr -a hi echo hello", "echo hello there"]),
    Scenario(
        "macro",
        ["bind \\eq 'commandline -i \"echo macro\"'\r", "\x1bq", ("macro", "\r")],
        ["bind \\eq 'commandline -i \"echo macro\"'", "echo macro"],
    ),
    Scenario("syntax error", ["echo )\r", ("fish:", "\x15echo x\r")], ["echo x"]),
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
CASES = [("zsh", each) for each in BOTH + ZSH] + [("fish", each) for each in BOTH + FISH if each is not INTERRUPT]


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


START = {"zsh": ".zshrc", "fish": ".config/fish/config.fish"}


@pytest.fixture(scope="module")
def crowds(servers: dict[str, Sshd]) -> Iterator[dict[str, Many]]:
    with crowds_of(servers, PERMIT, NOT) as crowds:
        yield crowds


@pytest.mark.parametrize("human", [False, True], ids=["burst", "human"])
@pytest.mark.parametrize(("shell", "scenario"), CASES, ids=[f"{shell} {each.name}" for shell, each in CASES])
def test_the_lines_are_exact(
    crowds: dict[str, Many], servers: dict[str, Sshd], shell: str, scenario: Scenario, human: bool
) -> None:
    home = servers[shell].home
    if shell == "fish":
        # It keeps which key bindings somebody chose, for every session after it, and the lines of all of them.
        servers[shell].forget()
    with started(home / START[shell], scenario.start), crowds[shell].row(greeting=GREETING, ready=READY) as row:
        type_out(row, scenario, READY, human=human)
        assert row.leave() == 0
    exact(row, scenario)


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
