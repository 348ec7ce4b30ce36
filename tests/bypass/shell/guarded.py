"""A guarded prompt that is attacked: the policy, how many verdicts of a row are a no, and what may not have run.

Policy is what a careful team writes: what cannot be known is not permitted, and ``touch`` is forbidden by name.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tests.integration.ssh.many import Many, plain

PERMIT = 'permit(principal, action, resource) unless { context.effects.contains("unknown") };'
FORBID = '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("touch") };'
#: How a prompt of bash ends.
PROMPT = r"[#$] (\x1b\[[?0-9]*[a-zA-Z])*$"
GREETING = "every line is decided before it runs"
#: How many verdicts of a row are a no, where it is not one: by how the row begins. 0 where the shell or the grammar leaves
#: nothing to ask about: it has ended, takes the line for a comment, waits for more of it, or knows no such event. None where
#: that is chance.
DENIED = {
    "exec </dev/null": 0, "set -e; false": 0, "zsh ⏎ if true; {{": 0, "zsh ⏎ echo a #": 0, "zsh ⏎ < /etc/passwd": 0,
    "zsh ⏎ echo touch": 0, "zsh ⏎ repeat": 4, "zsh ⏎ cat <<<": 3, "zsh ⏎ ()": 3, "fish ⏎ and": 4, "fish ⏎ echo (": 4,
    "bash ⏎ kill -STOP $$ ⏎ touch": 2, "bash & ⏎": 3,
    "f() {{ logsave": 3, "g() {{ logsave": 3, "echo 'logsave": 3,
    "mkdir {f}.d; cd {f}.d; echo > -v": 3,
    "echo echo > {f}.rc; cp": 0,  # which file it is, is decided by nobody
    "bash ⏎ kill -STOP $$ ⏎ bg": None,  # two shells at one terminal: one of them ends, or both do, at any of these lines
}  # fmt: skip
#: What is typed to a program, is half of a line, or is not what the shell makes of it.
UNREACHED = {
    "to\\",
    "echo \\",
    "x",
    "!!",
    "1",
    "x:a\x1e",
    "exec < {f}.x",
    "\x1bq",
    "cat <<X",
    "cat <<X $(touch {f})",
    "$(touch {f})",
    "echo $(touch {f})\x14",
}


def attack(many: Many, folder: Path, row: Collection[str]) -> None:
    """Type ``row`` into a fresh shell, ``{f}`` being a file in ``folder`` that must not be there afterwards."""
    victim = folder / "victim"
    lines = [*row]
    name = " ⏎ ".join(lines)
    denied = next((count for begin, count in DENIED.items() if name.startswith(begin)), 1)
    awaited = [] if denied is None else lines if denied else lines[:-1]
    reached = [keys.format(f=victim) for keys in awaited if keys not in UNREACHED and plain(keys)]
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.attack([keys.format(f=victim) for keys in lines], PROMPT, reached=reached, denied=denied or 0)
    assert not victim.exists()


def work(many: Many, folder: Path, lines: Collection[str]) -> None:
    """Type innocent ``lines``, the last of which says "twin", into a fresh shell: all of them must run."""
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.work([line.format(f=folder / "victim") for line in lines], r"[#$>] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$")
