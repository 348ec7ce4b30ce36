"""What people do at a prompt, and the exact lines that are decided for it: line editing, history, pastes and programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many
from tests.integration.ssh.scenarios import (
    BACKSPACE,
    DELETE,
    DOWN,
    END,
    HOME,
    LEFT,
    RIGHT,
    UP,
    Scenario,
    exact,
    started,
    type_out,
)

pytestmark = pytest.mark.servers

PERMIT = "permit(principal, action, resource);"
GREETING = "every line is decided before it runs"
#: What shells say when their line editor takes keys.
READY = r"2004h(?!.*2004l)"

INTERRUPT = Scenario("interrupt", ["echo gone\x03", "echo x\r"], ["echo x"])
#: What every shell does alike.
COMMON = [
    Scenario("plain", "echo one\r", ["echo one"]),
    Scenario("two", "echo one\recho two\r", ["echo one", "echo two"]),
    Scenario("empty", "\r\r   \recho x\r", ["echo x"]),
    Scenario("semicolons", "echo a; echo b && echo c\r", ["echo a; echo b && echo c"]),
    Scenario("unicode", "echo grüße 日本 🙂\r", ["echo grüße 日本 🙂"]),
    Scenario("left", f"echo ac{LEFT}b\r", ["echo abc"]),
    Scenario("home", f"cho x{HOME}e\r", ["echo x"]),
    Scenario("end", f"echo{HOME}{END} x\r", ["echo x"]),
    Scenario("backspace", f"ecjo{BACKSPACE * 2}ho x\r", ["echo x"]),
    Scenario("delete", f"eccho x{HOME}{RIGHT}{DELETE}\r", ["echo x"]),
    Scenario("kill line", "touch /x\x15echo x\r", ["echo x"]),
    Scenario("kill word", "echo one two\x17\r", ["echo one "]),
    Scenario("history edit", ["echo one\r", f"{UP}{BACKSPACE * 3}two\r"], ["echo one", "echo two"]),
    Scenario("open quote", "echo 'a\rb'\r", ["echo 'a\nb'"]),
    Scenario("long", "echo " + "x" * 3000 + "\r", ["echo " + "x" * 3000]),
    Scenario("bracketed paste", "\x1b[200~echo pasted\x1b[201~\r", ["echo pasted"]),
    INTERRUPT,
    Scenario(
        "cat",
        ["echo in''side; cat\r", ("inside\r\n", "to cat\r"), ("to cat\r\nto cat\r\n", "\x04"), "echo x\r"],
        ["echo in''side; cat", "echo x"],
    ),
    # Before its prompt, Python has the terminal read lines, which makes a NUL of a Ctrl-D that Python reads as a key later.
    Scenario(
        "python",
        ["python3 -q\r", (">>> ", "print(6*7)\r"), ("42\r\n", ""), (">>> ", "\x04"), "echo x\r"],
        ["python3 -q", "echo x"],
    ),
    Scenario(
        "python block",
        [
            "python3 -q\r",
            (">>> ", "for i in [6]:\r"),
            ("... ", "  print(i*7)\r"),
            ("... ", "\r"),
            ("42\r\n", ""),
            (">>> ", "\x04"),
            "echo x\r",
        ],
        ["python3 -q", "echo x"],
    ),
    Scenario("wrap edit", f"echo {'w' * 150}{HOME}{RIGHT * 5}a\r", [f"echo a{'w' * 150}"]),
    Scenario("wrap erase", f"echo {'w' * 110}{BACKSPACE * 40}x\r", [f"echo {'w' * 70}x"]),
    Scenario("paste edit", f"\x1b[200~echo pasetd\x1b[201~{BACKSPACE * 3}ted\r", ["echo pasted"]),
    Scenario(
        "output while typing",
        ["sh -c \"sleep 0.5; echo la''te\" &\r", ("", "echo al"), ("late\r\n", "so\r")],
        ["sh -c \"sleep 0.5; echo la''te\" &", "echo also"],
    ),
    Scenario("not found", "nosuchcommand1\recho x\r", ["nosuchcommand1", "echo x"]),
]
#: What would have a shell say nothing, keep no line, or not be stopped.
HOSTILE_SETTINGS = """trap '' INT
trap 'true' DEBUG
PS0='x$(true)'
PROMPT_COMMAND='PS0=; trap - DEBUG; trap "" INT'
HISTCONTROL=ignoreboth HISTIGNORE='*'
set +o history
shopt -u promptvars cmdhist lithist expand_aliases
set -f -u -b
IFS=e
"""
HOSTILE_FUNCTIONS = """kill() { :; }
trap() { :; }
read() { :; }
printf() { :; }
history() { :; }
command() { :; }
stty() { :; }
"""
#: In the way of starship: PS0 takes the time, and a program's words become PS1 before each prompt.
STARSHIP = """own_preexec() { OWN_START=$(date +%s%N); }
own_precmd() {
  local status=$? took=$(( $(date +%s%N) - ${OWN_START:-$(date +%s%N)} ))
  PS1="$(printf \\
    '\\n\\[\\033[1;36m\\]%s\\[\\033[0m\\] %d via 🐍\\n\\[\\033[1;32m\\]❯\\[\\033[0m\\] ' '~/src' $((took * 0 + status)))"
  return $status
}
PS0='${OWN_START:$((OWN_START=$(date +%s%N),0)):0}'
PS2='\\[\\033[90m\\]∙\\[\\033[0m\\] '
PROMPT_COMMAND=own_precmd
"""
SCENARIOS = [
    *COMMON,
    Scenario("comment", "# a comment\recho x\r", ["echo x"]),
    Scenario("quotes", "echo 'a;b' \"c d\" \\$x\r", ["echo 'a;b' \"c d\" \\$x"]),
    Scenario("pipe", "echo abc | tr a-c A-C\r", ["echo abc | tr a-c A-C"]),
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("tab inside", "echo 'a\x16\tb'\r", ["echo 'a\tb'"]),
    Scenario("kill end", f"echo xyz{LEFT * 2}\x0b\r", ["echo x"]),
    Scenario("yank", "one\x15echo \x19\r", ["echo one"]),
    Scenario("transpose", "ehco x\x01\x1b[C\x1b[C\x14\r", ["echo x"]),
    Scenario("undo", "echo xq\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1fecho y\r", ["echo y"]),
    Scenario("history up", f"echo one\r{UP}\r", ["echo one", "echo one"]),
    Scenario("history down", f"echo one\recho two\r{UP}{UP}{DOWN}\r", ["echo one", "echo two", "echo two"]),
    Scenario("search", ["echo needle\r", "echo hay\r", "\x12need\r"], ["echo needle", "echo hay", "echo needle"]),
    Scenario("search edit", ["echo needle\r", "\x12need\x05 x\r"], ["echo needle", "echo needle x"]),
    Scenario("bang bang", "echo one\r!!\r", ["echo one", "echo one"]),
    Scenario("bang word", "echo one\recho two !$\r", ["echo one", "echo two one"]),
    Scenario("operate and next", f"echo one\recho two\r{UP}{UP}\x0f\r", ["echo one", "echo two", "echo one", "echo two"]),
    Scenario("caret", "echo one\r^one^two^\r", ["echo one", "echo two"]),
    Scenario("fc list off", "echo a\rfc -l -1 >/dev/null\r", ["echo a", "fc -l -1 >/dev/null"]),
    Scenario("completion", "ech\tcomp\r", ["echo comp"]),
    Scenario("path completion", "echo /etc/passw\t\r", ["echo /etc/passwd"]),
    Scenario("for", "for i in 1 2\rdo echo $i\rdone\r", ["for i in 1 2\ndo echo $i\ndone"]),
    Scenario("if", "if true\rthen\recho y\rfi\r", ["if true\nthen\necho y\nfi"]),
    Scenario("backslash", "echo a \\\rb\r", ["echo a b"]),
    Scenario("here document", "cat <<X\rone\rtwo $((1+1))\rX\r", ["cat <<X\none\ntwo $((1+1))\nX"]),
    Scenario("function", "f() {\recho in f\r}\rf\r", ["f() {\necho in f\n}", "f"]),
    Scenario("case", "case x in\rx) echo m;;\resac\r", ["case x in\nx) echo m;;\nesac"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1", "echo p2"]),
    Scenario("raw paste", "echo r1\necho r2\n", ["echo r1", "echo r2"]),
    Scenario("alias", "alias hi='echo hello'\rhi there\r", ["alias hi='echo hello'", "hi there"]),
    Scenario(
        "read visible", ["read -p 'wo''rd? ' p\r", ("word? ", "typed text\r"), "echo x\r"], ["read -p 'wo''rd? ' p", "echo x"]
    ),
    Scenario(
        "read secret",
        ["read -sp 'wo''rd? ' p\r", ("word? ", "hunter2\r"), "echo ${#p}\r"],
        ["read -sp 'wo''rd? ' p", "echo ${#p}"],
    ),
    Scenario(
        "hidden word",
        ["stty -echo; printf 'wo''rd? '; read p; stty echo\r", ("word? ", "hunter2\r"), "echo ${#p}\r"],
        ["stty -echo; printf 'wo''rd? '; read p; stty echo", "echo ${#p}"],
    ),
    Scenario("choices", "echo /etc/hos\t\ts\r", ["echo /etc/hosts"]),
    Scenario("quoted here document", "cat <<'X'\r$HOME `id`\rX\r", ["cat <<'X'\n$HOME `id`\nX"]),
    Scenario("job", "sleep 100 &\rkill %1\rwait\r", ["sleep 100 &", "kill %1", "wait"]),
    Scenario("edit and execute", ["echo one\x18\x05\r"], ["echo two"], start="export VISUAL='sed -i s/one/two/'\n"),
    Scenario(
        "vi history",
        ["set -o vi\r", "echo one\r", "\x1bkA x\r", "set -o emacs\r"],
        ["set -o vi", "echo one", "echo one x", "set -o emacs"],
    ),
    Scenario("hostile settings", "echo x\recho y\r", ["echo x", "echo y"], start=HOSTILE_SETTINGS),
    Scenario("hostile functions", "echo x\recho y\r", ["echo x", "echo y"], start=HOSTILE_FUNCTIONS),
    Scenario("errexit", "echo x\recho y\r", ["echo x", "echo y"], start="set -e\n"),
    Scenario("starship", ["echo x\r", f"{UP}\r", "false\r"], ["echo x", "echo x", "false"], start=STARSHIP),
    # Once it has said so: before that, the terminal may have made a NUL of the Ctrl-D, in bash without a guard as well.
    Scenario(
        "type ahead", ["echo in''side; cat\r", ("inside\r\n", "into cat\r\x04echo after\r")], ["echo in''side; cat", "echo after"]
    ),
    Scenario("background", "(sleep 0.1; echo late) &\recho x\rwait\r", ["(sleep 0.1; echo late) &", "echo x", "wait"]),
    Scenario("subshell", "(cd /; pwd)\rpwd >/dev/null\r", ["(cd /; pwd)", "pwd >/dev/null"]),
    Scenario("vi mode", ["set -o vi\r", "echo abd\x1brcA x\r", "set -o emacs\r"], ["set -o vi", "echo abc x", "set -o emacs"]),
    Scenario("macro", ['bind \'"\\eq":"echo macro\\r"\'\r', "\x1bq"], ['bind \'"\\eq":"echo macro\\r"\'', "echo macro"]),
    Scenario("syntax error", "echo )\recho x\r", ["echo x"]),
    Scenario("prompt that talks", "PS1='$(echo dyn)> '\recho x\r", ["PS1='$(echo dyn)> '", "echo x"]),
    Scenario(
        "prompt command", "PROMPT_COMMAND='true;true'\recho x\recho y\r", ["PROMPT_COMMAND='true;true'", "echo x", "echo y"]
    ),
    Scenario("errexit off", "set -u\recho x\rset +u\r", ["set -u", "echo x", "set +u"]),
    Scenario(
        "history control",
        "HISTCONTROL=ignoreboth\r echo s\recho s\recho s\r",
        ["HISTCONTROL=ignoreboth", " echo s", "echo s", "echo s"],
    ),
    Scenario("history ignore", "HISTIGNORE='*'\recho s\r", ["HISTIGNORE='*'", "echo s"]),
    Scenario("own trap", "trap 'x=1' DEBUG\recho s\r", ["trap 'x=1' DEBUG", "echo s"]),
    Scenario("own PS0", "PS0='running '\recho s\r", ["PS0='running '", "echo s"]),
]


@pytest.fixture(scope="module")
def many(sshd: Sshd) -> Iterator[Many]:
    shells = Many(sshd, PERMIT, shell="guarded")
    yield shells
    shells.close()


@pytest.mark.parametrize("human", [False, True], ids=["burst", "human"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_the_lines_are_exact(many: Many, sshd: Sshd, scenario: Scenario, human: bool) -> None:
    with started(sshd.home / ".bash_profile", scenario.start), many.row(greeting=GREETING, ready=READY) as row:
        type_out(row, scenario, READY, human=human)
        assert row.leave() == 0
    exact(row, scenario)
