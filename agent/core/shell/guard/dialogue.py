"""The gateway's half of a guarded shell: what the guard says, what is typed, and which of it may go where. Pure.

    booting ──hello──► running ◄──────────────── answered ◄──verdict── asking
                          │                          │                   ▲
                          ▼ prompt                   ▼ denied            │ question
                        prompt ──────Enter──────► entered ───────────────┘

While a question is out nobody but the gateway types: keys wait, so that no key can pass for a verdict. What had been typed before
the shell asked comes back from it with its acknowledgement (a *W* mark), and is typed again before everything that waits.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

import msgspec

from agent.core.shell.classify import classify
from agent.core.shell.guard import bash, fish, zsh
from agent.core.shell.guard.marks import EndlessError, Mark, Splitter
from agent.core.shell.guard.quoting import UnquotableError, unpercent
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Side, Unit
from chalicelib.contracts.operation import EXECUTE, UNKNOWN, Operation

#: Bytes of keys that may wait; more than that is left to SSH's window.
KEYS_LIMIT: Final = 64 * 1024
#: Longest line that is decided, in bytes.
LINE_LIMIT: Final = 64 * 1024
_NONCE_LIMIT: Final = 64

#: What the target is asked to run. It says which shell the account has, then reads one line and runs it: the second half, which
#: holds the nonce, is typed and so stands in no process's arguments. Every POSIX shell, and fish, reads it the same way.
BOOT: Final = (
    "exec sh -c 'stty -icanon -echo 2>/dev/null;"
    'printf "\\033]7701;boot;%s\\007" "${SHELL##*/}";'
    'IFS= read -r x;eval "$(printf "%b" "$x")"\''
)
_ENTER: Final = (b"\r", b"\n", b"\x0f")


class _Dialect(Protocol):
    """What a module about one shell says."""

    START: str
    """How the guarded shell is started by a POSIX shell that has the guard on descriptor 9."""
    TYPED: bytes
    """What is typed when it has started."""
    LEAD: bytes
    """What moves the cursor to a line of its own, before words of ours."""
    END: bytes
    """Ends a verdict."""
    PERCENT: bool
    """Whether values are quoted as in addresses, and not as the shell itself does."""

    def guard(self, nonce: str) -> str:
        """Return the start-up text."""
        ...


_GUARDS: Final[dict[str, _Dialect]] = {"bash": bash, "fish": fish, "zsh": zsh}

HISTORY_OFF: Final = "The shell's history was switched off, so its lines cannot be read. Press Ctrl-D and open a new shell."
UNREADABLE: Final = "The line is not valid UTF-8."
TOO_LONG: Final = f"The line is longer than {LINE_LIMIT // 1024} KiB, so it cannot be decided. Copy a script and run that."
HIDDEN: Final = "The shell's guard cannot be looked at or changed."

_ONE_BY_ONE: Final = "Run one command at a time: ssh <target> <command>."

State = Literal["booting", "prompt", "entered", "asking", "answered", "running"]


class Broken(Exception):  # noqa: N818 - the end of a shell, not of the gateway
    """The shell cannot be guarded (any longer). ``message`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """A line that has ended."""

    operation: Operation
    status: int | None
    """None where it is not known: the shell went on with the next line of what was pasted, or has ended."""
    began_ms: int
    ended_ms: int


class Dialogue:
    """One guarded shell. ``nonce`` is made of letters and digits, and guessed by nobody."""

    def __init__(self, nonce: str) -> None:
        if not (nonce.isascii() and nonce.isalnum() and 16 <= len(nonce) <= _NONCE_LIMIT):
            raise ValueError("a nonce is 16 to 64 letters and digits")
        self._nonce: Final = nonce
        self._marks = Splitter(nonce)
        self._boot = b""
        self.state: State = "booting"
        self.shell = ""
        """Which shell it is, once that is known."""
        self._muted = True
        self._keys = bytearray()
        self._challenge = b""
        self._asked: Operation | None = None
        self._under_way: tuple[Operation, int] | None = None
        self._goes: State = "entered"
        self.ran: list[Ran] = []
        """Lines that have ended since somebody took them from here."""

    @property
    def ready(self) -> bool:
        """True once the guard has said hello."""
        return self.state != "booting"

    @property
    def forged(self) -> int:
        """Marks that were not the guard's."""
        return self._marks.forged

    @property
    def full(self) -> bool:
        """True where no more keys can wait."""
        return len(self._keys) >= KEYS_LIMIT

    @property
    def waits(self) -> bool:
        """True where something is held back that :meth:`flush` would release."""
        return self._marks.waits or (self.state == "entered" and bool(self._keys))

    # -- what the person types -----------------------------------------------------------------------------------------------

    def typed(self, data: bytes) -> bytes:
        """Take keys. Returns those that go to the shell now; the others wait."""
        self._keys += data
        return self._released()

    def _released(self) -> bytes:
        if self.state == "running":
            return self._take(len(self._keys))
        if self.state != "prompt":
            return b""
        entered = [at for at in (self._keys.find(key) for key in _ENTER) if at >= 0]
        if not entered:
            return self._take(len(self._keys))
        # What follows Enter may belong to the shell or to the program that the line starts; it waits to see which.
        self.state = "entered"
        return self._take(min(entered) + 1)

    def _take(self, size: int) -> bytes:
        data = bytes(self._keys[:size])
        del self._keys[:size]
        return data

    def flush(self) -> list[Unit]:
        """Nothing has come for a while: show what was held back, and go on typing (a shell may have read Enter as a key)."""
        units: list[Unit] = []
        held = self._marks.flush()
        if held and not self._muted:
            units.append(Output(held))
        if self.state == "entered":
            self.state = "prompt"
            units += self._typing()
        return units

    def _typing(self) -> list[Unit]:
        keys = self._released()
        return [Housekeeping(Side.TARGET, keys)] if keys else []

    # -- what the shell says -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ms: int) -> list[Unit]:
        """Take output. Raises Broken."""
        units: list[Unit] = []
        try:
            if not self.shell:
                data = self._booted(data, units)
            for piece in self._marks.feed(data):
                if isinstance(piece, Mark):
                    units += self._said(piece, now_ms)
                elif not self._muted:
                    units.append(Output(piece))
        except (EndlessError, UnquotableError, ValueError, IndexError):
            raise Broken("The shell's guard said something that makes no sense, so the shell was ended.") from None
        return units

    def _booted(self, data: bytes, units: list[Unit]) -> bytes:
        """Look for the first mark, which knows no nonce yet, and answer it with the guard."""
        begin = b"\x1b]7701;boot;"
        data, self._boot = self._boot + data, b""
        at = data.find(begin)
        end = data.find(b"\x07", at)
        if at < 0 or end < 0:
            self._boot = data[-256:]
            return b""
        self.shell = data[at + len(begin) : end].decode("ascii", "replace")
        dialect = _GUARDS.get(self.shell)
        if dialect is None:
            known = ", ".join(sorted(_GUARDS))
            message = f"This account's shell cannot be guarded ({self.shell[:40]!r}); only {known} can."
            raise Broken(message, _ONE_BY_ONE)
        text = dialect.guard(self._nonce)
        stage = f"exec 9<<'SALLYPORT'\n{text}\nSALLYPORT\nstty icanon echo 2>/dev/null\n{dialect.START}\n"
        units.append(Housekeeping(Side.TARGET, stage.replace("\\", "\\\\").replace("\n", "\\n").encode() + b"\n" + dialect.TYPED))
        return data[end + 1 :]

    @property
    def lead(self) -> bytes:
        """What moves the cursor to a line of its own, before words of ours."""
        return _GUARDS[self.shell].LEAD

    def _said(self, mark: Mark, now_ms: int) -> list[Unit]:
        if self.shell and _GUARDS[self.shell].PERCENT:
            mark = Mark(mark.kind, tuple(unpercent(field) for field in mark.fields))
        match mark.kind:
            case "R":
                self._muted = False
            case "H" if self.state == "booting":
                self.state = "entered"
            case "X":
                version = mark.fields[0].decode("ascii", "replace")[:40]
                raise Broken(f"{self.shell} {version} is too old to be guarded.", _ONE_BY_ONE)
            case "A" | "C" | "B":
                if self.state not in ("booting", "asking") and mark.kind != "A":
                    self.state = "prompt"
                    return self._typing()
            case "W" if self.state == "answered":
                self._keys[:0] = mark.fields[0]
                self.state = self._goes
                return self._typing()
            case "D":
                self.over(int(mark.fields[0]), now_ms)
            case "Q":
                kind, challenge, _, cwd, line = mark.fields
                return self._question(kind, challenge, cwd, line)
            case _:
                raise ValueError(mark.kind)
        return []

    def _question(self, kind: bytes, challenge: bytes, cwd: bytes, line: bytes) -> list[Unit]:
        if self.state == "asking" or not self.ready:
            raise Broken("The shell asked twice at once, so it was ended.")
        self.state = "asking"
        self._challenge = challenge
        return [self._meaning(kind, cwd, line)]

    def _meaning(self, kind: bytes, cwd: bytes, raw: bytes) -> Asked | Refused:
        try:
            line = raw.decode()
            where = cwd.decode()
        except UnicodeDecodeError:
            return self._refused(raw.decode("utf-8", "replace"), "bad_request", UNREADABLE)
        if kind == b"U":
            return self._refused("", "not_supported", HISTORY_OFF)
        if len(raw) > LINE_LIMIT:
            return self._refused(line[:1000] + "…", "too_large", TOO_LONG)
        if "__sp_" in line or self._nonce in line:
            return self._refused(line, "not_supported", HIDDEN)
        meaning = classify(line)
        operation = Operation(
            kind="line" if kind == b"L" else "step",
            text=line,
            effects=meaning.effects or frozenset({UNKNOWN}),
            verbs=meaning.verbs,
            objects=meaning.objects,
            flags=meaning.flags | {"pty", "shell"},
            environment=(("PWD", where),),
        )
        self._asked = operation
        return Asked(operation, self._challenge + b":a" + _GUARDS[self.shell].END)

    def _refused(self, line: str, code: str, message: str) -> Refused:
        return Refused(Operation(kind="line", text=line, effects=frozenset({EXECUTE, UNKNOWN})), code, message)

    # -- the verdict ---------------------------------------------------------------------------------------------------------

    def allowed(self, now_ms: int) -> None:
        """The verdict has been typed; the line runs."""
        operation, self._asked = self._asked, None
        if operation is not None and operation.kind == "line":
            self.over(None, now_ms)
            self._under_way = (operation, now_ms)
        self.state, self._goes = "answered", "running"

    def over(self, status: int | None, now_ms: int) -> None:
        """The line that runs, if one does, has ended."""
        if self._under_way is not None:
            operation, began_ms = self._under_way
            self._under_way = None
            self.ran.append(Ran(operation=operation, status=status, began_ms=began_ms, ended_ms=now_ms))

    def denied(self) -> bytes:
        """The line does not run. Returns what tells the shell so; keys wait for its next prompt."""
        self._asked = None
        self.state, self._goes = "answered", "entered"
        return self._challenge + b":d" + _GUARDS[self.shell].END


def forged(count: int) -> Remark:
    """Return what the recording says about marks that were not the guard's."""
    return Remark({"event": "forged", "text": f"{count} sequence(s) that imitate the shell's guard were dropped"})
