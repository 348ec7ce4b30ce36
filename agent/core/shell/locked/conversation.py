"""The gateway's half of a locked shell: edits lines, has them decided, gives them to the runner, and gives it nothing else. Pure.

    booting ──ready──► prompt ──Enter──► asking ──verdict──► sent ──started──► running
                        ▲  ▲               │                  │                  │
                        │  └────denied─────┘◄─ready, again────┘                  │ ready
                        └──typed ahead── fetching ◄──────────────────────────────┘

Keys pass to the target in one state: *running*. A runner that reports while nobody expects it has a new challenge and nothing
else."""

from __future__ import annotations

import re
from typing import Final, Literal

from agent.core.shell.classify import classify
from agent.core.shell.guard import boot, marks
from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.dialogue import HELLO_S
from agent.core.shell.guard.drawn import Drawn
from agent.core.shell.guard.keys import KEYS_LIMIT
from agent.core.shell.guard.layer import Ran
from agent.core.shell.guard.marks import EndlessError, Mark, Splitter
from agent.core.shell.guard.meaning import HIDDEN, LINE_LIMIT, TOO_LONG
from agent.core.shell.guard.quoting import UnquotableError, unpercent
from agent.core.shell.locked import runner
from agent.core.shell.locked.ahead import Ahead
from agent.core.shell.locked.editor import Completing, Editor, Entered, Left
from agent.core.shell.locked.keys import Keys
from agent.core.shell.locked.unfinished import unfinished
from agent.core.shell.locked.width import shown
from agent.core.units import Asked, Housekeeping, Lull, Output, Refused, Remark, Side, Unit
from chalicelib.contracts.faults import EXIT_DENIED
from chalicelib.contracts.operation import EXECUTE, UNKNOWN, Operation

NUL: Final = "The line contains a NUL character."
LOST: Final = "The shell's runner said something that makes no sense, so the shell was ended."

CHANGED: Final = "What was typed ahead came back otherwise than it was typed, so it was dropped."

#: Characters that keys may have looked at in one go: some ten milliseconds. The rest of them waits for the next.
_WORK: Final = 64 * 1024
#: What it costs to read a line that may be unfinished, by what it costs to walk over it.
_READING: Final = 8
#: How often one line is sent: a runner that reports while it is on the way has not heard of it.
_SENDS: Final = 16
_CHALLENGE: Final = re.compile(r"[0-9a-f-]{32,64}")
#: What moves no cursor, at the end of what a program has shown.
_TRAILER: Final = re.compile(rb"(?:\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r)*\Z")
_TAIL: Final = 512

State = Literal["booting", "prompt", "completing", "asking", "sent", "running", "fetching", "over"]


class Locked:
    """One locked shell. ``nonce`` is made of letters and digits, and guessed by nobody; ``name`` begins every prompt."""

    def __init__(self, nonce: str, name: str, columns: int, rows: int, hello_s: float = HELLO_S) -> None:
        """``hello_s`` is how many seconds the runner has to report."""
        if not (nonce.isascii() and nonce.isalnum() and 16 <= len(nonce) <= 64):
            raise ValueError("a nonce is 16 to 64 letters and digits")
        self._nonce: Final = nonce
        self._hello_s: Final = hello_s
        self._marks = Splitter(nonce, boot.NAME)
        self._editor: Final = Editor(columns, rows, unfinished)
        self._keys: Final = Keys()
        self._name = name
        self.shell = ""
        self.state: State = "booting"
        self._challenge = ""
        self._drawn: Final = Drawn()
        self._status = 0
        self._cwd = ""
        self._line = ""
        self._asked: Operation | None = None
        self._asked_with = ""
        self._under_way: tuple[Operation, int, int] | None = None
        self._no_more = False
        self._sends = 0
        self._passed: Ahead | None = None
        """Keys that went to the program that runs."""
        self._early: Ahead | None = None
        """Keys that went to it right behind its line."""
        self._tail = b""
        self.busy = False
        """Keys wait that nobody but the editor has to take: one person's keys must not keep the others waiting."""
        self.wanted: Completing | None = None
        """What somebody must complete before the line goes on."""
        self.ran: list[Ran] = []
        """Lines that have ended since somebody took them from here."""

    @property
    def ready(self) -> bool:
        """True once the runner has reported."""
        return self.state != "booting"

    @property
    def lead(self) -> bytes:
        """Words of ours begin where the cursor is: the editor has left its row."""
        return b""

    @property
    def patience(self) -> tuple[object, float] | None:
        """Seconds that the runner may take to report first. None where it may take for ever."""
        return None if self.ready else (self._nonce, self._hello_s)

    @property
    def forged(self) -> int:
        """Marks that were not the runner's."""
        return self._marks.forged

    @property
    def full(self) -> bool:
        """True where no more keys can wait."""
        return (self.busy or self.state not in ("prompt", "running")) and len(self._keys) >= KEYS_LIMIT

    @property
    def waits(self) -> bool:
        """True where something is held back that :meth:`flush` would release."""
        return self._marks.waits

    @property
    def cwd(self) -> str:
        """Where the shell stands."""
        return self._cwd

    # -- what the person types -----------------------------------------------------------------------------------------------

    def typed(self, data: bytes) -> list[Unit]:
        """Take keys."""
        self._keys.push(data)
        return self._typing()

    def go_on(self) -> list[Unit]:
        """Take more of the keys that wait while :attr:`busy`."""
        return self._typing() if self.busy else []

    def _typing(self) -> list[Unit]:
        self.busy = False
        if self.state == "running" and len(self._keys):
            keys = self._keys.rest()
            self._passed = self._passed or Ahead()
            self._passed.add(keys)
            return [Housekeeping(Side.TARGET, keys)]
        outcome, work = None, 0
        while self.state == "prompt" and outcome is None and (key := self._keys.pop()) is not None:
            outcome = self._editor.press(key)
            if isinstance(outcome, Entered) and not (outcome.overlong or outcome.text.strip()):
                self._begin()
                outcome = None
            work += self._editor.weight * (_READING if key.name == "enter" else 1)
            if work > _WORK and outcome is None and len(self._keys):
                self.busy = True
                return []
        units: list[Unit] = []
        if self.state == "prompt":
            if outcome is None and self._no_more:
                outcome = self._editor.leave()
            units = self._show(self._editor.draw())
        match outcome:
            case Completing():
                self.state, self.wanted = "completing", outcome
            case Left():
                self.state = "over"
                units.append(Housekeeping(Side.TARGET, runner.leave(self._challenge, self._status)))
            case Entered():
                self.state = "asking"
                units.append(self._meaning(outcome))
        return units

    def ended(self) -> list[Unit]:
        """The person types no more: the shell ends where it would wait for keys."""
        self._no_more = True
        return self._typing()

    def completed(self, names: list[str]) -> list[Unit]:
        """Put in what was found for :attr:`wanted`."""
        wanted, self.wanted = self.wanted, None
        if wanted is None or self.state != "completing":
            return []
        self.state = "prompt"
        self._editor.complete(wanted.word, names)
        return self._typing()

    def resized(self, columns: int, rows: int) -> list[Unit]:
        """The terminal has another size."""
        drawn = self._editor.resize(columns, rows)
        return self._show(drawn) if self.state in ("prompt", "completing") else []

    def redrawn(self) -> list[Unit]:
        """Something else was shown over the line, which is drawn again where the cursor is."""
        if self.state not in ("prompt", "completing"):
            return []
        self._editor.hide()
        return self._show(b"\r\x1b[K" + self._editor.draw())

    def _show(self, drawn: bytes) -> list[Unit]:
        return [Output(drawn)] if drawn else []

    def _meaning(self, entered: Entered) -> Asked | Refused:
        line = entered.text
        if entered.overlong or len(line.encode()) > LINE_LIMIT:
            return self._refused(line[:1000] + "…", "too_large", TOO_LONG)
        if "\0" in line:
            return self._refused(line, "bad_request", NUL)
        if "__sp_" in line or self._nonce in line:
            return self._refused(line, "not_supported", HIDDEN)
        meaning = classify(line)
        operation = Operation(
            kind="line",
            text=line,
            effects=meaning.effects or frozenset({UNKNOWN}),
            verbs=meaning.verbs,
            objects=meaning.objects,
            flags=meaning.flags | {"pty", "shell"},
            environment=(("PWD", self._cwd),),
        )
        self._asked, self._asked_with, self._line, self._sends = operation, self._challenge, line, 0
        return Asked(operation, runner.run(self._challenge, self._status, line))

    def _refused(self, line: str, code: str, message: str) -> Refused:
        return Refused(Operation(kind="line", text=line, effects=frozenset({EXECUTE, UNKNOWN})), code, message)

    # -- the verdict ---------------------------------------------------------------------------------------------------------

    def types(self, data: bytes) -> bytes:
        """Return what is typed where ``data`` is let through: behind a line that runs, the next one that was typed.

        It may answer a question that the program has yet to ask: see ``guard/typist.py``.
        """
        reads = runner.leaves(self.shell) and self.state == "asking" and self._asked_with == self._challenge
        line = self._keys.plain_line() if reads else b""
        if line:
            self._early = Ahead()
            self._early.add(line)
        return data + line

    def allowed(self, now_ms: int, shown_from: int = 0) -> list[Unit]:
        """The line went to the runner; what it shows is in the cast from ``shown_from``."""
        operation, self._asked = self._asked, None
        if operation is not None:
            self._under_way = (operation, now_ms, shown_from)
        if self.state == "asking":
            self.state = "sent"
        return self._again() if self._asked_with != self._challenge else []

    def denied(self) -> list[Unit]:
        """The line does not run; its status is that of a command that may not be run."""
        self._asked = None
        self._status = EXIT_DENIED
        return self._prompt() if self.state == "asking" else []

    def over(self, status: int | None, now_ms: int) -> None:
        """The line that runs, if one does, has ended."""
        self._marks.end()  # does nothing while output is read: then nothing is held
        if self._under_way is not None:
            operation, began_ms, shown_from = self._under_way
            self._under_way = None
            ran = Ran(
                operation=operation, status=status, began_ms=began_ms, ended_ms=now_ms,
                shown_from=shown_from, depth=0, account="",
            )  # fmt: skip
            self.ran.append(ran)

    def _again(self) -> list[Unit]:
        """Send the line behind another challenge: the one that it was sent with was dropped by the runner."""
        self._sends += 1
        if self._sends > _SENDS:
            raise Broken(LOST)  # it reports a hundred bytes, and is sent thousands for each
        return [Housekeeping(Side.TARGET, runner.run(self._challenge, self._status, self._line))]

    # -- what the target says ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ms: int) -> list[Unit]:
        """Take output. Raises Broken."""
        units: list[Unit] = []
        try:
            for piece in self._marks.feed(data):
                units += self._said(piece, now_ms) if isinstance(piece, Mark) else self._output(piece)
        except (EndlessError, UnquotableError, ValueError, IndexError):
            raise Broken(LOST) from None
        return units

    def flush(self) -> list[Unit]:
        """Nothing has come for a while: show what was held back."""
        held = self._marks.flush()
        return self._output(held) if held and self.ready else []

    def boot(self, shell: str) -> bytes:
        """The first half of the start has said which shell the account has. Returns what it is answered with."""
        self._marks.nonces.discard(boot.NAME)
        self.shell = shell or "sh"
        return runner.stage(self._nonce, self.shell)

    def _output(self, data: bytes) -> list[Unit]:
        if not self.shell:
            return []  # what stands before the first half of the start is the account's, as in a guarded shell
        self._tail = (self._tail + data)[-_TAIL:]
        if self.state not in ("prompt", "completing"):
            return [Output(data)]
        # Something in the background: it gets rows of its own, above the line that is edited.
        hidden = self._editor.hide()
        return [Output(hidden + data + self._column_zero() + self._editor.draw())]

    def _column_zero(self) -> bytes:
        """Return what moves to the beginning of a row, judging by what was shown last."""
        shows = _TRAILER.sub(b"", self._tail, count=1)
        self._tail = b""
        return b"" if not shows or shows.endswith(b"\n") else b"\r\n"

    def _said(self, mark: Mark, now_ms: int) -> list[Unit]:
        if mark.nonce == boot.NAME:
            return [Housekeeping(Side.TARGET, self.boot(mark.kind))]
        values = [unpercent(field).decode(errors="replace") for field in mark.fields]
        match mark.kind:
            case "R":
                challenge, status, cwd = values
                return self._reported(challenge, marks.status(status.encode()), cwd, now_ms)
            case "S":
                if self.state == "sent":
                    self.state, self._passed, self._early, self._tail = "running", self._early, None, b""
                return self._typing() if self.state == "running" else []
            case "W":
                return self._given_back(unpercent(mark.fields[0])) if self.state == "fetching" else []
            case _:
                raise ValueError(mark.kind)

    def _reported(self, challenge: str, status: int, cwd: str, now_ms: int) -> list[Unit]:
        if not _CHALLENGE.fullmatch(challenge):
            raise ValueError("no challenge")
        self._drawn.take(challenge.encode())
        if not cwd:
            raise Broken("The shell cannot tell which directory it is in, so it was ended.")
        before, self._challenge, self._cwd = self.state, challenge, cwd
        if before == "sent":
            return self._again()
        if before == "running":
            self._status = status
            self.over(status, now_ms)
            return [Lull(), *self._next()]
        if before == "fetching":
            return [Housekeeping(Side.TARGET, runner.give_back(challenge))]
        return self._prompt() if before == "booting" else []

    def _next(self) -> list[Unit]:
        """A line has ended: fetch what was typed at its program and not read, and begin another one."""
        if self._passed is None:
            return self._prompt()
        self.state = "fetching"
        return [Housekeeping(Side.TARGET, runner.give_back(self._challenge))]

    def _given_back(self, keys: bytes) -> list[Unit]:
        """Nobody types but the person: what the target says that they typed at a program, they have typed."""
        passed, self._passed = self._passed, None
        left = None if passed is None else passed.left(keys)
        if left is None:
            begin = self._column_zero()
            words = begin + f"sallyport: {CHANGED}\r\n".encode()
            return [Output(words, own=True), Remark({"event": "dropped", "text": CHANGED}), *self._prompt()]
        self._keys.unread(left)
        return self._prompt()

    def _prompt(self) -> list[Unit]:
        """Begin a line, with what was typed ahead."""
        self.state = "prompt"
        begin = self._column_zero()
        self._begin()
        return self._show(begin) + self._typing()

    def _begin(self) -> None:
        where = "".join(map(shown, self._cwd))
        self._editor.begin(f"{self._name}:{where}$ ")
