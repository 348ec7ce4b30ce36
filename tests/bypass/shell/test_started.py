"""Start-up files that would take the guard out of a shell, or what it is made of; and innocent ones beside them.

Everything but a name is permitted, so that nothing but the guard stops a line. Each row is the account's start-up file, and the
line behind it must be denied: it is asked about, or the shell has been ended before anybody could type. (A start-up file can
imitate the guard, or bind a key to a program of its own: what is tried here are the settings and hooks that shells have.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bypass.shell.guarded import FORBID, GREETING
from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many, crowds_of, one_each
from tests.integration.ssh.scenarios import started
from tests.integration.ssh.test_guarded_corpus import READY

pytestmark = pytest.mark.servers

EVERYTHING = "permit(principal, action, resource);"
START = {"bash": ".bash_profile", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}

#: A shell, a start-up file that would disarm the guard, and an innocent one that has ``true`` say "twin" or nothing at all.
ROWS = [
    ("zsh", "preexec() { unset preexec_functions }", "preexec() { [[ $1 != true ]] || print tw''in }"),
    ("zsh", "preexec() { preexec_functions=() }", "preexec() { typeset -g SEEN=$1 }"),
    ("zsh", "preexec() { unfunction preexec }", "preexec() { unfunction preexec; print tw''in }"),
    ("zsh", "preexec() { disable -f preexec }", "one() { print tw''in }; preexec_functions=(one)"),
    ("zsh", "preexec() { trap '' INT }", "preexec() { trap 'true' INT }"),
    ("zsh", "precmd() { precmd_functions=(); preexec_functions=() }", "precmd() { SEEN=$#precmd_functions }"),
    ("zsh", "zle-line-init() { preexec_functions=() }; zle -N zle-line-init", "zle-line-init() { :; }; zle -N zle-line-init"),
    (
        "zsh",
        "zle-line-finish() { unfunction preexec; preexec() { : }; preexec_functions=() }; zle -N zle-line-finish",
        "zle-line-finish() { preexec_functions=(one) }; one() { print tw''in }; zle -N zle-line-finish",
    ),
    (
        "zsh",
        "accept-line() { preexec_functions=(); zle .accept-line }; zle -N accept-line",
        "accept-line() { LAST=$BUFFER; zle .accept-line }; zle -N accept-line",
    ),
    ("zsh", "setopt promptsubst; PS1='${preexec_functions::=} %# '", "setopt promptsubst; PS1='${#preexec_functions} %# '"),
    ("zsh", "TRAPDEBUG() { preexec_functions=() }", "TRAPDEBUG() { SEEN=1 }"),
    ("zsh", "trap 'unfunction preexec; preexec_functions=()' DEBUG", "trap 'SEEN=1' DEBUG"),
    ("zsh", "setopt nodebugbeforecmd; trap 'preexec_functions=()' DEBUG", "setopt nodebugbeforecmd; trap 'SEEN=1' DEBUG"),
    ("zsh", "TRAPDEBUG() { trap '' INT }", "TRAPZERR() { SEEN=1 }"),
    ("zsh", "zshaddhistory() { preexec_functions=() }", "zshaddhistory() { [[ $1 != secret* ]] }"),
    (
        "zsh",
        "zshaddhistory() { unfunction preexec; preexec_functions=(); zshaddhistory_functions=() }",
        "two() { return 0 }; zshaddhistory_functions=(two)",
    ),
    # Another line is the last in the history then, and `$1` is empty.
    ("zsh", "zshaddhistory() { print -s -- echo harmless }", "zshaddhistory() { print -s -- echo harmless; return 1 }"),
    (
        "zsh",
        "zshaddhistory() { print -sr -- ${1%%$'\\n'}; fc -p ~/.zsh_local }",
        "zshaddhistory() { print -sr -- ${1%%$'\\n'}; fc -p ~/.zsh_local }",
    ),
    ("zsh", "precmd() { builtin() { :; } }", "builtin() { command builtin $@ }; unfunction builtin"),
    ("zsh", "precmd() { (( n++ )) && disable builtin }", "precmd() { (( n++ )) && disable log }"),
    ("zsh", "zle-line-finish() { builtin() { :; } }; zle -N zle-line-finish", "print() { builtin print $@ }"),
    ("zsh", "zle-line-finish() { trap '' INT }; zle -N zle-line-finish", "trap '' USR1"),
    ("bash", "PROMPT_COMMAND='(( n++ )) && enable -n builtin'", "PROMPT_COMMAND='(( n++ )) && enable -n help'"),
    ("bash", "PROMPT_COMMAND='(( n++ )) && builtin() { :; }'", "PROMPT_COMMAND='(( n++ )) && log() { :; }'"),
    ("bash", "trap 'kill() { :; }; return() { :; }' DEBUG", "trap 'SEEN=1' DEBUG"),
    ("fish", "function kill; end; function bind; end", "function kill; command kill $argv; end"),
    (
        "fish",
        "function fish_right_prompt; bind \\r execute; function kill; end; echo '> '; end",
        "function fish_right_prompt; bind \\ct 'commandline -f execute'; echo '> '; end",
    ),
    (
        "fish",
        "function fish_title; bind \\r execute; function kill; end; end",
        "function fish_title; echo title; end",
    ),
    ("fish", "function fish_mode_prompt; bind \\r execute; function kill; end; end", "fish_vi_key_bindings"),
]

#: Those of bash after which it asks nothing more, and runs nothing, before it is ended. Of the others, the line is asked about or
#: the shell ends: one that is slow to ask would be told to leave before it has.
MUTE = {text for shell, text, _ in ROWS if shell == "bash" and "builtin" in text}

#: Start-up files of bash that leave the guard no place, what they keep from it, and one that only looks like it.
TAKEN = [
    ("readonly PS0", "PS0", "PS0='$(true)'"),
    ("PROMPT_COMMAND='PS0=x; readonly PS0'", "PS0", "PROMPT_COMMAND='PS0=x'"),
    ("trap 'readonly PS0=x' DEBUG", "PS0", "trap 'PS0=x' DEBUG"),
    ("declare -u PS0 PROMPT_COMMAND; readonly PS0", "PS0", "declare -u PS0 PROMPT_COMMAND"),
    ("readonly PROMPT_COMMAND", "PROMPT_COMMAND", "PROMPT_COMMAND=true"),
    ("readonly PROMPT_COMMAND=true", "PROMPT_COMMAND", "declare -a PROMPT_COMMAND=(true true)"),
    ("PROMPT_COMMAND='PROMPT_COMMAND=x; readonly PROMPT_COMMAND'", "PROMPT_COMMAND", "PROMPT_COMMAND='readonly PROMPT_COMMAND'"),
    ("readonly HISTTIMEFORMAT='echo '", "HISTTIMEFORMAT", "HISTTIMEFORMAT='%F %T '"),
    ("builtin() { :; }", "builtin", 'cd() { builtin cd "$@"; }'),
    ("PROMPT_COMMAND='builtin() { :; }'", "builtin", "readonly HISTFILE HISTSIZE HISTFILESIZE HISTCONTROL HISTIGNORE TMOUT=900"),
    ("PROMPT_COMMAND='return() { :; }; builtin() { :; }'", "builtin", "readonly PS1 PS2 HISTCONTROL="),
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    with one_each(START, tmp_path_factory.mktemp) as running:
        yield running


@pytest.fixture(scope="module")
def crowds(servers: dict[str, Sshd]) -> Iterator[dict[str, Many]]:
    with crowds_of(servers, EVERYTHING, FORBID) as crowds:
        yield crowds


def file(servers: dict[str, Sshd], shell: str) -> Path:
    if shell == "fish":
        servers[shell].forget()
    # Without any, zsh asks how it is to be set up.
    (servers[shell].home / ".zshrc").touch()
    return servers[shell].home / START[shell]


@pytest.mark.parametrize(("shell", "text"), [(shell, text) for shell, text, _ in ROWS])
def test_it_does_not_run(servers: dict[str, Sshd], crowds: dict[str, Many], tmp_path: Path, shell: str, text: str) -> None:
    victim = tmp_path / "victim"
    line = f"touch {victim}"
    with started(file(servers, shell), text + "\n"), crowds[shell].row(greeting=GREETING, ready=READY) as row:
        row.attack(["echo one", line], READY, reached=["echo one", *([] if text in MUTE else [line])])
        assert row.denied or row.decided[-1].startswith("echo one"), row.decided
    assert not victim.exists()


@pytest.mark.parametrize(("shell", "text"), [(shell, text) for shell, _, text in ROWS])
def test_the_innocent_twin_runs(servers: dict[str, Sshd], crowds: dict[str, Many], shell: str, text: str) -> None:
    lines = ["true"] if "tw''in" in text else ["echo one", "echo tw''in"]
    with started(file(servers, shell), text + "\n"), crowds[shell].row(greeting=GREETING, ready=READY) as row:
        row.work(lines, READY)
        assert [entry["text"] for entry in row.commands] == lines


@pytest.mark.parametrize(("text", "what"), [(text, what) for text, what, _ in TAKEN])
def test_a_shell_without_room_for_its_guard_ends(
    servers: dict[str, Sshd], crowds: dict[str, Many], tmp_path: Path, text: str, what: str
) -> None:
    victim = tmp_path / "victim"
    with started(file(servers, "bash"), text + "\n"), crowds["bash"].row(greeting=GREETING, ready="shell_unguarded, ") as row:
        assert row.leave() == 126
        assert f"The shell's guard needs '{what}', which a start-up file keeps from it" in row.text
        assert row.decided == ["interactive shell (rule-1)"]
    assert not victim.exists()


@pytest.mark.parametrize("text", [text for _, _, text in TAKEN])
def test_one_with_room_for_it_does_not(servers: dict[str, Sshd], crowds: dict[str, Many], text: str) -> None:
    lines = ["echo one", "echo tw''in"]
    with started(file(servers, "bash"), text + "\n"), crowds["bash"].row(greeting=GREETING, ready=READY) as row:
        row.work(lines, READY)
        assert [entry["text"] for entry in row.commands] == lines
