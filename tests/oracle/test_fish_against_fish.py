"""What is read of fish's lines against real fish: whatever it tries to run must be in the list, or the line must be unknown.

As for bash (``test_shell_against_bash``): lines are grown from a grammar with planted names that no program has, half of them are
damaged, and fish runs each with an empty PATH and tells every name that it looks for.
"""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.core.shell.fish import classify_fish
from agent.core.shell.model import UNKNOWN_FLAGS
from tests.oracle.test_shell_against_bash import LINES, SEED, run

FISH = shutil.which("fish")
HANDLER = "function fish_command_not_found; printf '%s\\0' $argv[1] >> $ORACLE_LOG; end"
#: What damages a line of fish in interesting ways. No slash, no dot, no tilde: no paths.
DAMAGE = [
    *"'\"\\$(){}[]<>|&;!#*?=+-,:@^% \t\n", "zqa", "$(", "&&", "||", "\\\n", "2>", "2>|", "&|", "&>", ">&", ">?", ">|", "end",
    "; end", "begin;", "else", "case", "and", "or", "not ", "time ", "if ", "in", "x=", "{a,b}", "\\x7a", "\\172", "\\u007a",
    "$v[", "[1]", "[2 3]", "\\'", "\\\\", '\\"', "'if'", "'end'", "{a, b}", "a[b c]", "()", "command ", "builtin ", "%self", "^x",
]  # fmt: skip


class Grower:
    """Grows one random line of fish. Three in four are plain: nothing in them excuses a missing name."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.budget = 14
        self.plain = self.rng.random() < 0.75

    def more(self) -> bool:
        self.budget -= 1
        return self.budget > 0

    def name(self) -> str:
        letter = self.rng.choice("abcdef")
        name = f"zq{letter}"
        return self.rng.choice(
            [name, name, name, f"'{name}'", f'"{name}"', f"\\z{name[1:]}", f"z''q{letter}", f"\\x7aq{letter}", f"z\\161{letter}",
             f"\\u007aq{letter}", f"zq'{letter}'", f'z"q"{letter}']
        )  # fmt: skip

    def pipe(self) -> str:
        return self.rng.choice(["&|", "2>|", ">|"])

    def tick(self) -> str:
        return f"zq{self.rng.choice('abcdef')}{self.rng.choice(['', ' a', ' | zqa', '; zqb b', '; end'])}"

    def word(self) -> str:
        plain = [
            "a", "-x", "b1", "x=y", "'a b'", '"c d"', "\\;", "a#b", "{}", "'*q'", "[x]", "a[1]", "2", "do", "if", "end", "!",
            "''", "é", "\\$x", "@{1}", "'it\\'s'", "'a\\\\'", '"a\\"b"', '"a\\\\"', "a\\tb", "\\(", "\\)", "\\#", "a^b",
            '"(zqf)"', "`zqf`", "a\\ b", "$status", "%1", "'$(zqf)'", "'(zqf)'",
        ]  # fmt: skip
        if not self.more():
            return "a"
        return self.rng.choice(
            [
                lambda: self.rng.choice(plain), lambda: self.rng.choice(plain), lambda: f"({self.line()})",
                lambda: f"$({self.line()})", lambda: f'"a $({self.line()}) b"', lambda: f"({self.simple()})[1]",
                lambda: f"{{a,({self.simple()})}}", lambda: "$v[1]", lambda: f"$v[(count{self.words()})]", lambda: '"$v$u[1] x"',
                lambda: f"a({self.simple()})'x'", lambda: f"'$({self.tick()})'", lambda: f'"$({self.simple()})[1]"',
                lambda: f"{{x,'{self.tick()}',y}}", lambda: f'"$v[$({self.name()})]"', lambda: f"(\n{self.line()}\n)",
            ]
        )()  # fmt: skip

    def words(self, low: int = 0) -> str:
        return "".join(" " + self.word() for _ in range(self.rng.choice([low, 1, 1, 2, 3])))

    def simple(self) -> str:
        before = self.rng.choice(
            ("echo", "command", "builtin", "exec", "time", "not", "!", "string length", "set v", "test", "eval")
        )
        if not self.more():
            return self.name()
        return self.rng.choice(
            [
                lambda: self.name() + self.words(), lambda: self.name() + self.words(), lambda: self.name() + self.words(),
                lambda: f"x=1 {self.name()}{self.words()}", lambda: f"x=({self.simple()}) {self.name()}",
                lambda: f"{before} {self.name()}{self.words()}", lambda: f"{self.name()} >o{self.words()}",
                lambda: f"{self.name()} 2>&1{self.words()}", lambda: f"{self.name()}{self.words()} &> o",
                lambda: f"set {self.rng.choice(['', '-l ', '-gx '])}v{self.words()}",
                lambda: self.name() if self.plain else f"set v {self.name()}; $v",
                lambda: f"count{self.words()}", lambda: f"and {self.name()}",
            ]
        )()  # fmt: skip

    def block(self) -> str:
        end = self.rng.choice(["; end", "\nend", "\n  end", " ;\nend"])
        gap = self.rng.choice(["; ", "\n", "\n    ", " # c\n"])
        return self.rng.choice(
            [
                lambda: f"if {self.line()}{gap}{self.line()}{end}",
                lambda: f"if {self.simple()}{gap}{self.line()}{gap}else{gap}{self.line()}{end}",
                lambda: f"if {self.simple()}{gap}else if {self.simple()}{gap}{self.line()}{end}",
                lambda: f"for i in{self.words(1)}{gap}{self.line()}{end}",
                lambda: f"while {self.simple()}{gap}{self.line()}{gap}break{end}",
                lambda: f"begin{gap}{self.line()}{end}",
                lambda: f"begin {self.line()}{end}",
                lambda: f"switch {self.word()}{gap}case a {self.word()}{gap}{self.line()}{gap}case '*'{gap}{self.line()}{end}",
                lambda: f"begin{end}" if self.plain else f"function f{gap}{self.line()}{end}; f",
                lambda: f"while true; {self.line()}; break{end}",
            ]
        )()

    def line(self) -> str:
        if not self.more():
            return self.simple()
        return self.rng.choice(
            [
                self.simple, self.simple, self.block, self.block,
                lambda: f"{self.line()}; {self.line()}", lambda: f"{self.line()}\n{self.line()}",
                lambda: f"{self.simple()}; and {self.line()}", lambda: f"{self.simple()}; or {self.line()}",
                lambda: f"{self.simple()} && {self.line()}", lambda: f"{self.simple()} ||\n {self.line()}",
                lambda: f"{self.simple()} | {self.simple()}", lambda: f"{self.simple()} {self.pipe()} {self.name()}",
                lambda: f"{self.simple()} | {self.block()}", lambda: f"{self.block()} > o",
                lambda: f"{self.block()} | {self.name()}", lambda: f"{self.simple()} &", lambda: f"not {self.line()}",
                lambda: f"{self.line()} # {self.tick()}\n{self.line()}",
                lambda: f"{self.simple()} \\\n {self.word()}", lambda: f"x=1 {self.block()}", lambda: f"time {self.line()}",
            ]
        )()  # fmt: skip

    def damaged(self) -> str:
        line = self.line()
        for _ in range(self.rng.choice([0, 0, 0, 1, 1, 2, 4])):
            at = self.rng.randrange(len(line) + 1)
            cut = self.rng.choice([0, 0, 1, 1, 2, 5])
            line = line[:at] + self.rng.choice(["", *DAMAGE]) + line[at + cut :]
        return line


@pytest.mark.skipif(FISH is None, reason="needs fish")
def test_every_name_fish_looks_for_is_known_or_the_line_is_flagged(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    count = LINES // 2
    lines = [Grower(SEED * 1_000_003 + number).damaged() for number in range(count)]
    lines = [line for line in lines if not any(char in line for char in "/~.\0")]
    shell = [str(FISH), "--no-config", "--init-command", HANDLER, "-c"]
    environment = {"PATH": str(empty), "HOME": str(tmp_path)}
    with ThreadPoolExecutor(max_workers=4) as pool:
        tried = list(pool.map(lambda at: run(shell, lines[at], tmp_path / str(at), environment), range(len(lines))))
    ran, found_all, missed = 0, 0, []
    for line, names in zip(lines, tried, strict=True):
        found = classify_fish(line)
        complete = names <= found.verbs
        ran += bool(names)
        found_all += bool(names) and not found.flags & UNKNOWN_FLAGS
        # The planted names are unknown programs, so the effect says nothing here: only a flag excuses a missing name.
        if not complete and not found.flags & UNKNOWN_FLAGS:
            missed.append((line, names - found.verbs, sorted(found.flags)))
    assert not missed, (len(missed), missed[:8])
    # The comparison means something only if fish ran most lines, and most of them were read with certainty.
    assert ran > count * 0.4
    assert found_all > ran * 0.6
