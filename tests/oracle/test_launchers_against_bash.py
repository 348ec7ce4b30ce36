"""The classifier against the programs that start other programs: whatever they run must be in the list, or the line unknown.

As in ``test_shell_against_bash``, but the lines are full of launchers, nested and with their options, and these are the real ones
of this machine (a stand-in for those that would ask for a password). What they are to start are stubs that report themselves.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.oracle.test_shell_against_bash import BASH, HANDLER, LINES, Grower, compare

#: Run as they are. None of them can be given a path: the lines hold no slash, no dot and no tilde.
LAUNCHERS = (
    "env xargs find timeout nohup nice setsid stdbuf ionice flock taskset chrt setpriv prlimit choom linux64 "
    "bash dash busybox awk sed perl split make tee"
).split()
#: Options that take a value, and then the command; or a shell for ``-c``.
SUDO = """#!{dash}
while [ $# -gt 0 ]; do
  case $1 in
    -u|-g|-p|-h|-C) shift 2 ;;
    -s|-i) shift; exec dash -c "$*" ;;
    --) shift; break ;;
    -*) shift ;;
    *=*) shift ;;
    *) break ;;
  esac
done
[ $# -eq 0 ] || exec "$@"
"""
SU = """#!{dash}
while [ $# -gt 0 ]; do
  case $1 in
    -c) exec dash -c "$2" ;;
    *) shift ;;
  esac
done
"""


#: How commands are started: ``COMMAND``, ``CODE`` (quoted, for a shell), ``NAME`` and ``BARE`` (a name without quotes) grow;
#: ``@[a|b]@`` is one of them, and ``@[a|b]@*`` none, one or two; ``::`` is a pipe. The classifier claims to understand all these.
PLAIN = [
    "env @[-u X|--unset=X|X=1|Y=a|--|-v]@* COMMAND",
    "env @[|-S |X=1 -S|-vS]@CODE",
    "echo a b | xargs @[-n1|-n 1|-r|-t|-P2|-d x|-0|-L 1|--]@* COMMAND",
    "echo a | xargs -I@[{}| {}|%|a]@ COMMAND @[{}|%|a]@",
    "echo a | xargs -i COMMAND {}",
    "find @[-maxdepth 0|-name x -o|-type d|!]@* -exec COMMAND {} \\;",
    "find -maxdepth 0 @[-exec|-execdir]@ COMMAND {} @[+|';']@",
    "find -maxdepth 0 -exec COMMAND \\; -exec COMMAND \\;",
    "timeout @[-k 1|-s KILL|--signal=KILL|--foreground|-v]@* 2 COMMAND",
    "nohup @[|--]@ COMMAND",
    "nice @[|-n 5|-n5|-5|--adjustment=3|--]@ COMMAND",
    "setsid @[-w|-f|-c]@* COMMAND",
    "stdbuf @[-oL|-o L|-i0 -o0|--output=L]@ COMMAND",
    "ionice @[-c3|-c 2 -n 1|-t]@ COMMAND",
    "flock @[-n|-w 1|-x]@* lock COMMAND",
    "flock lock -c CODE",
    "sudo @[-n|-E|-H|-u root|-uroot|X=1|--]@* COMMAND",
    "sudo @[-s|-i]@ COMMAND",
    "su @[|root|-|- root|-l]@ -c CODE",
    "@[sh|bash|dash]@ @[-e|-u|-x|-eu]@* -c CODE @[|_|_ a]@",
    "@[bash|dash]@ @[-ec|-cx|-xc|-o errexit -c|+x -c|-c -e|-c --]@ CODE",
    "bash @[--norc -c|--posix -c|-O extglob -c|--noprofile -ec]@ CODE",
    "busybox @[sh|ash]@ -c CODE",
    "busybox @[env|nice|nohup|timeout 2|setsid|env X=1]@ COMMAND",
    "busybox find -maxdepth 0 -exec COMMAND \\;",
    "echo a | busybox xargs @[-n1|-r]@* COMMAND",
    "@[command|command --|exec|exec -a x|exec -c|builtin command|time|time -p]@ COMMAND",
]

PLAIN += [
    "taskset @[1|-a 1|-c 0]@ COMMAND",
    "chrt @[-o|-b|--other]@ 0 COMMAND",
    "setpriv @[--nnp|--no-new-privs|-d --nnp]@ COMMAND",
    "prlimit --nofile=100 COMMAND",
    "choom -n 5 @[|--]@ COMMAND",
    "linux64 COMMAND",
]

#: And these it knows not to understand.
FLAGGED = [
    "echo NAME | xargs @[|env|nice|timeout 2|sudo]@",
    "echo NAME | xargs -I{} @[{}|env {}|sh -c {}]@",
    "echo NAME | @[sh|bash|dash -s|busybox sh|env sh|sudo bash -s a]@",
    "@[sh|bash]@ <<< CODE",
    "@[sh|bash -s]@ <<E\nCOMMAND\nE\n",
    "@[bash|source]@ <(echo NAME)",
    "bash -c '\"$0\"' NAME",
    "bash -c '$1 a' _ NAME",
    "find -maxdepth 0 -exec sh -c '$0' NAME \\;",
    "@[|env ]@x=NAME sh -c '$x'",
    "eval CODE",
    "alias x=NAME; eval x",
    "BASH_ENV=<(echo NAME) bash -c :",
    "coproc COMMAND",
    "f() { COMMAND; }; f",
    "trap CODE EXIT",
    "mapfile -C NAME -c 1 <<< a",
    'awk \'BEGIN { @[system("BARE")|"BARE" :: getline|print :: "BARE"]@ }\'',
    "busybox awk 'BEGIN { system(\"BARE\") }'",
    "sed @['1e BARE'|1eBARE|-n 's,x,BARE,e'|-e p -e '1e BARE']@ <<< x",
    "perl @[-e 'system q(BARE)'|-e 'exec q(BARE)'|-ne 'print qx(BARE)']@ <<< x",
    "split @[--filter=BARE|--filter BARE|--filt=BARE]@ <<< x",
    "make -f <(echo 'a:;BARE')",
    "@[echo 'a:;BARE' :: |]@make @[-f -|--file=-]@ <<< 'a:;BARE'",
    "bash @[--rcfile|--init-file]@ <(echo BARE) -i <<< :",
    "bash -i <<< @[BARE|'BARE a']@",
    "@[PROMPT_COMMAND=BARE|PS1='$(BARE)'|PS0='$(BARE)']@ bash --norc -i <<< :",
    "@[|env ]@SHELLOPTS=xtrace PS4='$(BARE)' bash -c :",
    "env 'BASH_FUNC_echo%%=() { BARE; }' bash -c echo",
    "env @[BASH_ENV=<(echo BARE) bash|ENV=<(echo BARE) dash -i]@ -c :",
    "xargs -I{} bash -c {} <<< BARE",
    "printf BARE :: xargs -0 sh -c",
    "@[timeout 2|nice|flock lock|command|exec|stdbuf -oL|sudo|setsid -w|env X=1|busybox]@ sh <<< BARE",
    "sudo @[-s|-i|-n -s]@ <<< BARE",
    "exec <<< BARE; @[sh|bash -s|x=1; busybox sh]@",
    "@[{ sh; }|( sh )|( exec -a x sh )|if sh; then :; fi]@ <<< BARE",
    "@[command|builtin]@ @[eval BARE|source <(echo BARE)]@",
    "while read -r x; do $x; done <<< BARE",
    "tee >(sh) <<< BARE",
    "sh @[<(cat)|3<<< BARE <&3|0<&0]@ <<< BARE",
    "coproc sh; echo BARE >&${COPROC[1]}; wait",
]

#: Roads on which bash comes to a command without one standing there: arithmetic, subscripts, prompts, names by reference.
TRICKS = [
    "@[echo|:]@ $((a[$(NAME)]))",
    "@[x|y]@='a[$(NAME)]'; @[echo $((x))|(( y ))|let x|[[ x -eq 0 ]]|[[ $y -eq 0 ]]|[ -v y ]|a=(); echo ${a[y]}|echo ${b:x}]@",
    "@[test -v|unset|printf -v|declare|export|typeset|readonly|let|wait -n -p]@ 'a[$(NAME)]'@[|=1| x]@",
    "[[ @[-v a[$(NAME)]|a[\\$(NAME)] -eq 0|'a[$(NAME)]' -gt 1|-n ${a[$(NAME)]}|x =~ $(NAME)]@ ]]",
    "read @[|-r |-a |-n1 ]@'a[$(NAME)]' <<< x",
    "@[a|b]@[$(NAME)]=1",
    "a=([$(NAME)]=1)",
    "echo ${a[$(NAME)]} ${#a[$(NAME)]} ${x:$(NAME)} ${x/$(NAME)/y} ${x:=$(NAME)}",
    "x='$(NAME)'; echo @[${x@P}|\"${x@P}\"|${y:-${x@P}}|$x]@",
    "x='a[$(NAME)]'; echo @[${!x}|\"${!x}\"|${!x@Q}]@",
    "declare -n @[r]@='a[$(NAME)]'; @[echo $r|r=1|: ${r}]@",
    "PS4='$(NAME)'; set -x; :",
    "trap @[NAME|CODE]@ @[DEBUG|ERR|EXIT|RETURN|0]@; false",
    "compgen -C NAME a",
    "@[x=NAME;|: ${x:=NAME};|read x <<< NAME;|printf -v x NAME;|for x in NAME; do :; done;|declare x=NAME;]@ $x@[| a]@",
    'set -- NAME a; @["$@"|$1|$*|"${@:1}"|"${1}"]@',
    'a=(NAME b); @["${a[@]}"|$a|${a[0]}|"${a[*]}"]@',
    "{NAME,a}",
    "@[exec|command]@ 3> >(NAME); :",
    "cat <(NAME) >(NAME) < <(NAME)",
    'f() { "$@"; }; f NAME',
    "select x in a; do NAME; done <<< 1",
    "if ! { NAME; } 2>&1 | cat; then :; fi",
    "while NAME && false; do :; done; until NAME || true; do :; done",
    "cat <<E\n@[$(NAME)|`NAME`|${x:-$(NAME)}|$((a[$(NAME)]))]@\nE",
    "cat <<-'E'\n$(zqa)\nE\nNAME",
    "case $(NAME) in $(NAME)) :;; *) NAME;& b) NAME;;& c) :;; esac",
    "for ((i=$(NAME); i<1; i++)); do NAME; done",
    "time ! NAME | NAME |& NAME &",
    "time @[X=1|! X=1|-p ! |X=$(NAME) Y=2|a[0]=1]@ NAME",
    "v=NAME; @[time|time !|command|builtin export|readonly|local]@ v=NAME; $v",
    "(NAME; (NAME)) | { NAME; }",
    'echo "${x:-"$(NAME)"}" \'$(zqf)\' \\$(NAME)',
    "echo $'\\'$(zqf)\\'' $\"$(NAME)\"",
    "function g { NAME; }; g",
    "shopt -s expand_aliases\nalias q=NAME\nq",
    "enable -n echo; echo NAME; hash -r; type NAME",
    'exec 4<<< "$(NAME)"; read x <&4; $x',
    "[ -z $(NAME) ] && NAME || NAME",
    "@[v|w]@+=$(NAME) NAME",
    "NAME=1 NAME",
]

_HOLE = re.compile(r"COMMAND|CODE|NAME|BARE|@\[(.*?)\]@(\*?)")


class Launching(Grower):
    """Grows lines in which half of all commands are started by something else."""

    def simple(self) -> str:
        if self.budget > 0 and self.rng.random() < 0.5:
            return self.launched()
        return super().simple()

    def launched(self) -> str:
        self.budget -= 1
        return _HOLE.sub(self.fill, self.rng.choice(self.rows())).replace("::", "|")

    def rows(self) -> list[str]:
        return PLAIN if self.plain else PLAIN + FLAGGED

    def fill(self, hole: re.Match[str]) -> str:
        if hole[0] == "COMMAND":
            return self.command()
        if hole[0] == "CODE":
            return self.code()
        if hole[0] == "NAME":
            return self.name()
        if hole[0] == "BARE":
            return "zq" + self.rng.choice("abcdef")
        count = self.rng.choice([0, 1, 1, 2]) if hole[2] else 1
        return " ".join(_HOLE.sub(self.fill, self.rng.choice(hole[1].split("|"))) for _ in range(count))

    def command(self) -> str:
        """A command without redirections or assignments, as it may stand behind a launcher."""
        if self.budget > 0 and self.rng.random() < 0.35:
            return self.launched()
        self.budget -= 1
        return self.name() + self.rng.choice(["", " a", " -x b1", " 'a b'", " x=y"])

    def code(self) -> str:
        """Code for a shell, quoted for the line."""
        self.budget -= 2
        inner = self.line() if self.budget > 0 and self.rng.random() < 0.5 else self.command()
        return shlex.quote(inner) if self.rng.random() < 0.8 or any(letter in inner for letter in '"$`\\') else f'"{inner}"'


class Tricking(Launching):
    """Grows lines that come to a command sideways."""

    def rows(self) -> list[str]:
        return TRICKS if self.rng.random() < 0.8 else super().rows()


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """A folder with everything that a line can start."""
    folder, dash = tmp_path / "stubs", shutil.which("dash")
    if BASH is None or dash is None:
        pytest.skip("needs bash and dash")
    folder.mkdir()
    for name in (*LAUNCHERS, "cat"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    (folder / "sh").symlink_to(dash)
    scripts = {f"zq{letter}": f"#!{dash}\nprintf 'zq{letter}\\0' >> \"$ORACLE_LOG\"\nexit 127\n" for letter in "abcdef"}
    for name, text in (scripts | {"sudo": SUDO, "su": SU}).items():
        (folder / name).write_text(text.replace("{dash}", dash))
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(("grower", "wholly"), [(Launching, 0.5), (Tricking, 0.1)])
def test_every_program_that_is_started_is_known_or_the_line_is_flagged(
    stubs: Path, tmp_path: Path, grower: type[Grower], wholly: float
) -> None:
    environment = {"PATH": str(stubs), "BASH_FUNC_command_not_found_handle%%": HANDLER}
    count = LINES // 4
    ran, found_all, missed = compare([str(BASH), "--norc", "--noprofile", "-c"], count, tmp_path, environment, grower)
    assert not missed, (len(missed), missed[:8])
    assert ran > count * 0.4
    assert found_all > ran * wholly
