"""What a classification says, and the closed set of flags it may use.

Everything here is data. `Classification` answers five questions about a command line before it is forwarded: which
programs it would start, what kind of change each can make (`effects`, design §5), which names a rule may mention
(`verbs`), what it literally touches (`objects`), and what is peculiar about it (`flags`).
"""

from __future__ import annotations

import msgspec

EFFECTS = frozenset({"read", "write", "admin", "execute", "unknown"})

FLAGS: dict[str, str] = {
    # What could not be understood. Each of these adds the effect `unknown`.
    "parse_error": "the text is not shell grammar as we know it, or the parser and our own checks disagree",
    "control_characters": "control characters, look-alike blanks or invisible characters",
    "too_long": "longer than the limit, or more commands than the limit",
    "too_deep": "nested deeper than the limit",
    "dynamic_command": "a program's name is only known when the line runs",
    "dynamic_code": "code, or an argument that may become code, is only known when the line runs",
    "code_from_stdin": "a shell or interpreter reads its program from standard input",
    "script_file": "a shell or interpreter runs a file whose content is not in the line",
    "outside_path": "a program is named by a path outside the system directories",
    "function_definition": "a shell function is defined; its body is classified, its calls are not",
    "eval": "eval; literal arguments are classified, the state they leave behind is not",
    "source": "source or `.`: a file is run in the current shell",
    "shadowing": "a name is given a new meaning: alias, hash -p, enable, or a function named like a program",
    "tamper": "variables, options or traps that change what later commands mean or whether they are recorded",
    # What is understood, and which policies like to ask about. These add nothing to the effects by themselves.
    "empty": "no command at all",
    "comment": "a comment (an interactive zsh may not treat it as one)",
    "opaque": "a program in which further commands can be typed (editors, pagers, consoles, debuggers)",
    "pager": "the program opens a pager when it has a terminal, and pagers can start a shell",
    "background": "something is left running in the background",
    "recursive_delete": "rm -r in any spelling, or with what may become its option (rm $x, rm *); find -delete, find -exec rm",
    "deletes": "rsync deletes what the other side does not have, or what it has sent",
    "writes_device": "writes to a device node",
    "privilege": "sudo, su, doas, pkexec and their kin",
    "network": "talks to another host",
    "glob": "an argument is a pattern that the shell will expand",
}

UNKNOWN_FLAGS = frozenset(
    {
        "parse_error", "control_characters", "too_long", "too_deep", "dynamic_command", "dynamic_code",
        "code_from_stdin", "script_file", "outside_path", "function_definition", "eval", "source", "shadowing",
        "tamper",
    }
)  # fmt: skip


class Limits(msgspec.Struct, frozen=True):
    """Bounds on the work one line may cause. Beyond any of them the line is `unknown`, never an error."""

    max_bytes: int = 65_536
    """Longest text, in UTF-8 bytes; also bounds each piece of nested code."""
    max_depth: int = 24
    """Nested code and wrappers: `sh -c`, `$(…)`, `sudo`, `${a:-${b}}` each count one."""
    max_nesting: int = 200
    """Unclosed brackets, and separately the number of here-documents and of `()` pairs (the parser is slow there)."""
    max_commands: int = 2_000
    """Simple commands in one line, wrappers counted with what they wrap."""
    max_tokens: int = 3_000
    """Words and operators, all levels together. The parser's error recovery is quadratic in them: this, and not the
    length, is what keeps hostile text cheap. A script of 16 KB has about as many."""


DEFAULT = Limits()


class Redirection(msgspec.Struct, frozen=True):
    """One redirection: `operator` as typed, `target` literal or None when unknown, `descriptor` when one is given."""

    operator: str
    target: str | None
    descriptor: str | None = None

    @property
    def feeds(self) -> bool:
        """True where standard input may be another than it was: `< f`, and `0>&3` as well."""
        return self.operator.startswith("<") or self.descriptor == "0"


class Command(msgspec.Struct, frozen=True):
    """One simple command. `argv` holds None for each word whose value is unknown before the line runs.

    An unknown word may become any number of words. `program` is the base name of argv[0], or None when unknown or
    when there is no program (only assignments or redirections).
    """

    argv: tuple[str | None, ...]
    program: str | None
    redirections: tuple[Redirection, ...] = ()


class Classification(msgspec.Struct, frozen=True):
    """The meaning of a line, as far as it can be known without running it."""

    commands: tuple[Command, ...]
    effects: frozenset[str]
    verbs: frozenset[str]
    objects: frozenset[str]
    flags: frozenset[str]
