"""The classifier against real bash, with constructs that people seldom type: arrays, coprocesses, patterns, many loops."""

import shutil
from pathlib import Path

import pytest

from tests.oracle.test_shell_against_bash import BASH, HANDLER, LINES, Grower, compare


class WiderGrower(Grower):
    """Adds to every kind of production; whatever is not understood has to be flagged."""

    def word(self) -> str:
        if self.rng.random() < 0.7:
            return super().word()
        return self.pick(
            [
                lambda: self.rng.choice(
                    ["{1..3}", "{a..c}x", "$'a\\tb'", "$'\\x7a'", "${#v}", "${v%x*}", "a{b,c}d", "[a-c]", "?", "a\\ b"]
                )
            ],
            [
                lambda: f"${{v/a/$({self.simple()})}}",
                lambda: f'"${{v:+$({self.simple()})}}"',
                lambda: f"${{v:=$({self.simple()})}}",
                lambda: f">({self.simple()})",
                lambda: f'"${{a[@]}}$({self.simple()})"',
                lambda: f"$(<o){self.tick()}",
                lambda: f"@({self.tick()}|b)",
                lambda: f"!({self.tick()})",
                lambda: "${v@Q}",
                lambda: "${!v*}",
            ],
        )

    def simple(self) -> str:
        if self.rng.random() < 0.6:
            return super().simple()
        name = self.name
        return self.pick(
            [
                lambda: f"{name()} <<< $({name()} a)",
                lambda: f"time -p {name()}",
                lambda: f"command -p {name()}{self.words()}",
                lambda: f"builtin command {name()}",
                lambda: f"exec -a x {name()}",
                lambda: f"y+=({self.word()})",
                lambda: f"declare -a y=({self.word()} $({name()}))",
                lambda: f"read -r x < <({name()})",
                lambda: f"mapfile -t y < <({name()} a)",
                lambda: f"{name()} &>o",
                lambda: f"{name()} >&2 |& {name()}",
                lambda: f"[ x = $({name()}) ]",
                lambda: f"test -n $({name()})",
            ],
            [
                lambda: f"env -S '{name()} a'",
                lambda: f"xargs -I{{}} {name()} {{}} <<< a",
                lambda: f"{{fd}}>o {name()}",
                lambda: f"exec {{fd}}< <({name()})",
                lambda: f"coproc N {{ {name()}; }}",
                lambda: f"printf -v y %s $({name()})",
                lambda: f"let 'y=1' 'z=$({name()})'",
                lambda: f"unset 'a[$({name()})]'",
                lambda: f"alias q={name()}; q",
                lambda: f"y=([$({name()})]=1)",
                lambda: f"local y=$({name()})",
            ],
        )

    def line(self) -> str:
        if self.rng.random() < 0.6:
            return super().line()
        return self.pick(
            [
                self.simple,
                lambda: f"until {self.simple()}; do {self.line()}; break; done",
                lambda: f"for i; do {self.line()}; done; {self.simple()}",
                lambda: f"for ((i=0; i<1; i++)); do {self.line()}; done",
                lambda: f"if {self.simple()}; then :; elif {self.simple()}; then {self.line()}; fi",
                lambda: f"case x in (a|x) {self.line()};& b) {self.simple()};;& *) {self.simple()};; esac",
                lambda: f"time {{ {self.line()}; }}",
                lambda: f"time ! {self.simple()}",
                lambda: f"! ! {self.simple()}",
                lambda: f"{{ {self.line()}; }} > o 2>&1",
                lambda: f"( {self.line()} ) < o | {self.simple()}",
                lambda: f"[[ a == $({self.simple()}) && -n x ]]",
                lambda: f"[[ a =~ $({self.simple()}) ]]",
                lambda: f"cat <<-E\n\t$({self.simple()})\n\tE\n{self.line()}",
                lambda: f"cat <<A <<B\n$({self.simple()})\nA\n`{self.tick()}`\nB\n{self.simple()}",
            ],
            [
                lambda: f"select i in a b; do {self.line()}; break; done <<< 1",
                lambda: f"function f {{ {self.line()}; }}; f a",
                lambda: f"f() ( {self.line()} ); f",
                lambda: f"echo() {{ {self.line()}; }}; echo a",
                lambda: f"f() {{ {self.line()}; }} > o; f",
                lambda: f"coproc {{ {self.line()}; }}",
                lambda: f"while read -r x; do {self.line()}; done < <({self.simple()})",
                lambda: f"eval '{self.tick()}' ; {self.line()}",
                lambda: f"(( $({self.simple()}) ? 1 : 2 ))",
                lambda: f"for ((i=$({self.simple()}); i<1; i++)); do break; done",
            ],
        )


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_every_name_bash_looks_for_is_known_or_the_line_is_flagged(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {"PATH": str(empty), "BASH_FUNC_command_not_found_handle%%": HANDLER}
    ran, _, missed = compare([str(BASH), "--norc", "--noprofile", "-c"], LINES // 2, tmp_path, environment, WiderGrower)
    assert not missed, (len(missed), missed[:8])
    assert ran > LINES // 8


@pytest.mark.parametrize("shell", ["zsh", "dash"])
def test_other_shells_run_no_planted_program_unseen(shell: str, tmp_path: Path) -> None:
    binary = shutil.which(shell)
    if binary is None:
        pytest.skip(f"needs {shell}")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for letter in "abcdef":
        stub = stubs / f"zq{letter}"
        stub.write_text(f"#!{shutil.which('dash') or '/bin/sh'}\nprintf 'zq{letter}\\0' >> \"$ORACLE_LOG\"\nexit 127\n")
        stub.chmod(0o755)
    command = [binary, "-f", "-c"] if shell == "zsh" else [binary, "-c"]
    _, _, missed = compare(command, LINES // 6, tmp_path, {"PATH": str(stubs)}, WiderGrower)
    assert not missed, (len(missed), missed[:8])
