"""The classifier against real shells: whatever bash tries to run must be in the list, or the line must be unknown.

Random lines are grown from a grammar with planted, non-existent commands, and half of them are damaged afterwards,
because a damaged line is where two parsers disagree. bash runs each with an empty PATH and reports every name it looks
for through `command_not_found_handle`. No line can name a path, so nothing but bash itself ever runs. Other
shells have no such hook; there the planted names are stubs that report themselves.
"""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.shell import UNKNOWN_FLAGS, classify

BASH = shutil.which("bash")
SEED = int(os.environ.get("SHELL_ORACLE_SEED", "20"))
LINES = int(os.environ.get("SHELL_ORACLE_LINES", "2000"))
HANDLER = '() { printf \'%s\\0\' "$1" >> "$ORACLE_LOG"; return 127; }'
# Characters and tokens that damage a line in interesting ways. No slash, no dot, no tilde: no paths.
DAMAGE = [
    *"'\"\\`$(){}[]<>|&;!#*?=+-,:@^% \t\n",
    "zqa",
    "$(",
    "${",
    "$((",
    "<<",
    "<<<",
    "&&",
    "||",
    ";;",
    "\\\n",
    "$'",
    '$"',
    "2>",
    "((",
    "[[",
    "}",
    "do",
    "done",
    "fi",
    "esac",
    "in",
    "x=",
    "{a,b}",
    "é",
    "<<E\n",
    "\nE\n",
    "|&",
    "&>",
    ">&",
    "<(",
    "}}",
    "#",
    "\t",
    "e",
    "c",
]


class Grower:
    """Grows one random line. Three in four are plain: made only of what the classifier claims to understand.

    In a plain line nothing excuses a missing name. The others hold constructs that it flags whole.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.budget = 14
        self.plain = self.rng.random() < 0.75

    def pick(self, plain: list[Callable[[], str]], flagged: list[Callable[[], str]]) -> str:
        self.budget -= 1
        choices = plain if self.plain else plain + flagged
        return self.rng.choice(choices[:1] if self.budget <= 0 else choices)()

    def name(self) -> str:
        name = "zq" + self.rng.choice("abcdef")
        disguises = [
            name,
            name,
            name,
            f"'{name}'",
            f'"{name}"',
            f"z\\{name[1:]}",
            f"z''{name[1:]}",
            f"$'{name}'",
            f'z$"{name[1:]}"',
        ]
        return self.rng.choice(disguises if self.plain else [*disguises, f"z\\\n{name[1:]}", f"${{u-{name}}}"])

    def word(self) -> str:
        atoms = [
            "a",
            "-x",
            "b1",
            "x=y",
            "'a b'",
            '"c d"',
            "\\;",
            "a#b",
            "{}",
            "*q",
            "[x]",
            "2",
            "do",
            "if",
            "!",
            "}",
            "''",
            "é",
            "\\$x",
            "a$",
        ]
        return self.pick(
            [
                lambda: self.rng.choice(atoms),
                lambda: f"$({self.line()})",
                lambda: f"`{self.tick()}`",
                lambda: f'"a $({self.line()}) b"',
                lambda: f"${{u:-$({self.simple()})}}",
                lambda: f"<({self.simple()})",
                lambda: "{a,b}",
                lambda: '$v"${v}"',
                lambda: f"'$({self.tick()})'" if self.rng.random() < 0.3 else "a",
                lambda: f"\"$({self.simple()})\"$(:)'x'",
            ],
            [lambda: f"$((1+$({self.simple()})))", lambda: f'"${{u:-`{self.simple()}`}}"', lambda: f'"`{self.simple()}`"'],
        )

    def tick(self) -> str:
        """A command that may stand between quotes of any kind."""
        return "zq" + self.rng.choice("abcdef") + self.rng.choice(["", " a", " | zqa", "; zqb b"])

    def words(self) -> str:
        return "".join(" " + self.word() for _ in range(self.rng.choice([0, 1, 1, 2, 3])))

    def simple(self) -> str:
        wrapper = self.rng.choice(("echo", ":", "printf", "command", "builtin", "true", "false", "exec", "time", "test"))
        return self.pick(
            [
                lambda: self.name() + self.words(),
                lambda: self.name() + self.words(),
                lambda: f"x=1 {self.name()}{self.words()}",
                lambda: f"{wrapper} {self.name()}{self.words()}",
                lambda: f"v=$({self.simple()})",
                lambda: f">o {self.name()}",
                lambda: f"{self.name()} <<< {self.word()}",
                lambda: f"{self.name()} 2>&1{self.words()}",
                lambda: f"export y={self.word()}",
                lambda: f"y=({self.word()} {self.word()})",
            ],
            [
                lambda: f"v={self.name()}; $v{self.words()}",
                lambda: f"eval '{self.name()}'",
                lambda: f"coproc {self.name()}",
                lambda: f"a[$({self.simple()})]=1",
            ],
        )

    def line(self) -> str:
        return self.pick(
            [
                self.simple,
                self.simple,
                lambda: f"{self.line()}; {self.line()}",
                lambda: f"{self.line()} && {self.line()}",
                lambda: f"{self.line()} || {self.line()}",
                lambda: f"{self.simple()} | {self.simple()}",
                lambda: f"( {self.line()} )",
                lambda: f"{{ {self.line()}; }}",
                lambda: f"! {self.simple()}",
                lambda: f"if {self.line()}; then {self.line()}; else {self.line()}; fi",
                lambda: f"for i in {self.word()} b; do {self.line()}; done",
                lambda: f"case {self.word()} in a|$({self.simple()})) {self.line()};; *) {self.line()};; esac",
                lambda: f"[[ -n $({self.simple()}) ]]",
                lambda: f"cat <<E\nx $({self.simple()}) y\nE\n{self.simple()}",
                lambda: f"echo <<'E'\n$({self.tick()})\nE\n{self.line()}",
                lambda: f"{self.line()} # c\n{self.line()}",
                lambda: f"while {self.simple()}; do {self.line()}; break; done",
                lambda: f"{self.simple()} &",
            ],
            [
                lambda: f"f() {{ {self.line()}; }}; f",
                lambda: f"(( 1 + $({self.simple()}) ))",
                lambda: f"trap '{self.name()}' EXIT; {self.line()}",
                lambda: f"! {self.line()}",
            ],
        )

    def damaged(self) -> str:
        line = self.line()
        for _ in range(self.rng.choice([0, 0, 0, 1, 1, 2, 4])):
            at = self.rng.randrange(len(line) + 1)
            cut = self.rng.choice([0, 0, 1, 1, 2, 5])
            line = line[:at] + self.rng.choice(["", *DAMAGE]) + line[at + cut :]
        return line


def run(shell: list[str], line: str, room: Path, environment: dict[str, str]) -> set[str]:
    """The names that a shell tried to run, in a room of its own."""
    log, cwd = room / "log", room / "cwd"
    cwd.mkdir(parents=True)
    with subprocess.Popen(
        [*shell, f"ulimit -t 1 -f 100\n{line}"],
        env={"ORACLE_LOG": str(log), "LC_ALL": "C.UTF-8", **environment},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    names = log.read_bytes().split(b"\0")[:-1] if log.exists() else []
    return {name.decode("utf-8", "replace") for name in names}


def compare(
    shell: list[str], count: int, tmp_path: Path, environment: dict[str, str], grower: type[Grower] = Grower
) -> tuple[int, int, list[object]]:
    """How many lines ran something, how many of those were wholly found, and those that hid a name unflagged."""
    lines = [grower(SEED * 1_000_003 + number).damaged() for number in range(count)]
    lines = [line for line in lines if not any(char in line for char in "/~.\0")]
    with ThreadPoolExecutor(max_workers=4) as pool:
        tried = list(pool.map(lambda at: run(shell, lines[at], tmp_path / str(at), environment), range(len(lines))))
    ran, found_all, missed = 0, 0, []
    for line, names in zip(lines, tried, strict=True):
        found = classify(line)
        complete = names <= found.verbs
        ran += bool(names)
        found_all += bool(names) and complete
        # The planted names are unknown programs, so the effect says nothing here: only a flag excuses a missing name.
        if not complete and not found.flags & UNKNOWN_FLAGS:
            missed.append((line, names - found.verbs, sorted(found.flags)))
    return ran, found_all, missed


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_every_name_bash_looks_for_is_known_or_the_line_is_flagged(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {"PATH": str(empty), "BASH_FUNC_command_not_found_handle%%": HANDLER}
    ran, found_all, missed = compare([str(BASH), "--norc", "--noprofile", "-c"], LINES, tmp_path, environment)
    assert not missed, (len(missed), missed[:8])
    # The comparison means something only if bash ran most lines and the classifier found most names by itself.
    assert ran > LINES * 0.5
    assert found_all > ran * 0.6


@pytest.mark.parametrize("shell", ["dash", "zsh", "busybox"])
def test_every_planted_program_another_shell_runs_is_known_or_the_line_is_flagged(shell: str, tmp_path: Path) -> None:
    binary = shutil.which(shell)
    if binary is None:
        pytest.skip(f"needs {shell}")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for letter in "abcdef":
        stub = stubs / f"zq{letter}"
        stub.write_text(f"#!{shutil.which('dash') or '/bin/sh'}\nprintf 'zq{letter}\\0' >> \"$ORACLE_LOG\"\nexit 127\n")
        stub.chmod(0o755)
    command = {"zsh": [binary, "-f", "-c"], "busybox": [binary, "sh", "-c"]}.get(shell, [binary, "-c"])
    ran, _, missed = compare(command, LINES // 6, tmp_path, {"PATH": str(stubs)})
    assert not missed, (len(missed), missed[:8])
    assert ran > LINES // 40
