"""How a guarded shell begins: what the target is asked to run, and what is typed to that.

The first half says which shell is wanted (a *boot* mark, which knows no nonce yet), then waits for a line that begins with a word
it was given, and runs that. The second half is that line, so what it holds (the guard, and its nonce) stands in no process's
arguments. The word keeps apart what somebody typed to a program that stood before it, a password or more; it is no secret on the
target.
"""

from __future__ import annotations

from typing import Final, Protocol

from agent.core.shell.guard import bash, fish, zsh

#: Stands for the word, and is the word of the first shell, to which nobody else can type.
WORD: Final = "@sallyport@"
#: The name under which boot marks travel, in place of a nonce.
NAME: Final = "boot"


class Dialect(Protocol):
    """What a module about one shell says."""

    START: str
    """How the guarded shell is started by a POSIX shell that has the guard on descriptor 9."""
    START_LOGIN: str
    """The same for a login shell."""
    TYPED: bytes
    """What is typed when it has started."""
    LEAD: bytes
    """What moves the cursor to a line of its own, before words of ours."""
    END: bytes
    """Ends a verdict."""
    PERCENT: bool
    """Whether values are quoted as in addresses, and not as the shell itself does."""
    AHEAD: bool
    """Whether keys may come right behind a verdict, and be left for the program that the line runs."""
    STRAYS: bool
    """Whether a question may outlive its line: somebody else than the shell asks, and may have missed a Ctrl-C."""

    def guard(self, nonce: str, *, login: bool) -> str:
        """Return the start-up text."""
        ...


GUARDS: Final[dict[str, Dialect]] = {"bash": bash, "fish": fish, "zsh": zsh}

#: How the terminal reads what the gateway types: every byte as it came.
_READING: Final = "-icanon -echo -isig -iexten -ixon -istrip -inlcr -igncr min 1 time 0"
#: How it reads again what the person types: as before, but for what a program before it may have left behind.
_AS_BEFORE: Final = 'stty "$t" 2>/dev/null;stty icanon echo 2>/dev/null'


def code(shell: str = "") -> str:
    """Return the first half, for ``sh -c``. ``shell`` is the name of the one that is wanted; empty for the account's own.

    What runs the line stands behind the loop that reads it, so that nothing which is run leads back to reading more of them.
    The terminal takes nothing out of what is typed here, whatever its keys for signals and for flow control are: a guard without
    its k's has no ``kill``. Variables are in braces: ``sudo -i`` puts a backslash before every other sign that a shell might
    read, and leaves dollars.
    """
    return (
        f't="$(stty -g 2>/dev/null)";stty {_READING} 2>/dev/null;'
        f'printf "\\033]7701;{NAME};%s\\007" "{shell or "${SHELL##*/}"}";'
        f'y=;while IFS= read -r x;do case "${{x}}" in {WORD}*)y="${{x#{WORD}}}";break;;esac;done;eval "$(printf "%b" "${{y}}")"'
    )


def quoted(text: str) -> str:
    """Return ``text`` as one word, for every POSIX shell, and for fish where no backslash stands before a quote."""
    return "'" + text.replace("'", "'\\''") + "'"


#: What a login shell is asked to run with ``-c``.
BOOT: Final = f"exec sh -c {quoted(code())}"


def _line(word: str, commands: str) -> bytes:
    # The first line end is for what may have been typed without one.
    return f"\n{word}".encode() + commands.replace("\\", "\\\\").replace("\n", "\\n").encode() + b"\n"


def stage(shell: str, nonce: str, word: str, *, login: bool) -> bytes:
    """Return what is typed to start a guarded ``shell``, which is one of :data:`GUARDS`."""
    dialect = GUARDS[shell]
    text = dialect.guard(nonce, login=login)
    start = dialect.START_LOGIN if login else dialect.START
    return _line(word, f"exec 9<<'SALLYPORT'\n{text}\nSALLYPORT\n{_AS_BEFORE}\n{start}\n") + dialect.TYPED


def opaque(word: str, *, login: bool) -> bytes:
    """Return what is typed to start the account's own shell as it is."""
    return _line(word, f'{_AS_BEFORE}\nexec "${{SHELL:-sh}}" {"-l" if login else "-i"}\n')


def none(word: str) -> bytes:
    """Return what is typed to start none."""
    return _line(word, f"{_AS_BEFORE}\nexit 126\n")
