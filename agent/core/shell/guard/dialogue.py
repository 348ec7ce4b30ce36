"""The gateway's half of a guarded shell: what the guard says, what is typed, and which of it may go where. Pure.

    booting            running ◄──────────────── answered ◄──verdict── asking
       │ hello,           │                          │                   ▲
       │ then stands      ▼ prompt                   ▼ denied            │ question
       └──────────────► prompt ──────Enter──────► entered ───────────────┘

A shell that has said hello has read its guard, and one that says that it stands before its prompt (a *D* mark) has put it in
place: what start-up files leave may keep it from that, and until then nothing is typed to it.

While a question is out nobody but the gateway types: keys wait, so that no key can pass for a verdict. What had been typed before
the shell asked comes back from it with its acknowledgement (a *W* mark), and is typed again before everything that waits.

Ctrl-C ends whoever asked, and may be on its way while the question is: a prompt in the place of an acknowledgement says so. The
line did not run. A verdict that is not typed yet never is, and one that is has become text at a prompt, which is erased. fish
goes on editing the line instead: the verdict stands in it then, and has the shell ask about that, which nobody has typed. In bash
whoever asked may have missed the Ctrl-C and go on reading beside the prompt: another one ends both, and keys wait for what comes
behind it. A question may have been lost with a Ctrl-C as well; the shell repeats it until it is answered.

A line that starts another shell is discarded like a denied one, and what runs instead is handed over at the next prompt:

    answered ──► replacing ──prompt──► retyped ──question──► answered ──► fetching ──► answered ──► running

and then the new shell is *starting*. The shell that spoke last is the one that is spoken with: an outer shell that speaks again
has its terminal back; an inner one that was only stopped is known by its nonce when it goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agent.core.shell.guard import boot, meaning
from agent.core.shell.guard.broken import ONE_BY_ONE, Broken, Unguardable, taken
from agent.core.shell.guard.drawn import Drawn
from agent.core.shell.guard.layer import Layer, Ran, State
from agent.core.shell.guard.lulls import Lulls
from agent.core.shell.guard.marks import EndlessError, Mark, Splitter, status
from agent.core.shell.guard.meaning import Meant, Question
from agent.core.shell.guard.nest import Nest
from agent.core.shell.guard.quoting import UnquotableError, unpercent
from agent.core.shell.guard.starter import Starter
from agent.core.shell.guard.steps import STEP_LIMIT
from agent.core.shell.guard.typist import INTERRUPT, Typist
from agent.core.units import Asked, Housekeeping, Lull, Output, Refused, Remark, Side, Unit
from chalicelib.contracts.operation import Operation

#: Seconds that a shell has to report once it runs, unless its target says otherwise. One that does not is not guarded.
HELLO_S: Final = 3.0
#: Seconds that what starts a shell (sudo, ssh) may be silent; nothing but an answer to it is typed in that time.
START_S: Final = 60.0

#: What erases a line that is being typed, in every editor and where the terminal itself edits.
_ERASE: Final = b"\x15"
_RUN: Final = "__sp_run"
_CHALLENGE: Final = re.compile(rb"[0-9A-Fa-f.]{1,256}")


class Dialogue:
    """One guarded shell, and those that are started in it. Nonces are made of letters and digits, and guessed by nobody."""

    def __init__(self, nonce: str, mint: Callable[[], str], hello_s: float = HELLO_S) -> None:
        """``mint`` makes the nonces of further shells; each has ``hello_s`` seconds to report."""
        self._hello_s: Final = hello_s
        self._marks: Final = Splitter()
        self._nest: Final = Nest(nonce, mint, self._marks)
        self._typist: Final = Typist()
        self._drawn: Final = Drawn()
        self._lulls: Final = Lulls()
        self._asking: tuple[Layer, Operation | None] | None = None
        self._next: tuple[Layer, tuple[bytes, ...]] | None = None
        self.ran: list[Ran] = []
        """Lines that have ended since somebody took them from here."""

    @property
    def _top(self) -> Layer:
        return self._nest.top

    @property
    def state(self) -> State:
        """What the shell that has the terminal does."""
        return self._top.state

    @property
    def ready(self) -> bool:
        """True where a guarded shell has said hello, and none is being started."""
        return self._top.state not in ("starting", "booting")

    @property
    def patience(self) -> tuple[object, float] | None:
        """Seconds that the shell may take for what it does now, and what that is. None where it may take for ever."""
        top = self._top
        if self.ready or self._asking is not None or (top.outer is not None and self._typist.starter.asks):
            return None
        slow = top.state == "starting" and top.outer is not None
        return (top.nonce, top.state, self._typist.starter.answers), max(START_S, self._hello_s) if slow else self._hello_s

    @property
    def given_up(self) -> bool:
        """True where nobody waits any more for the verdict that is to come."""
        return self._asking is not None and self._asking[0].given_up

    @property
    def forged(self) -> int:
        """Marks that were not the guard's."""
        return self._marks.forged

    @property
    def full(self) -> bool:
        """True where no more keys can wait."""
        return self._typist.keys.full

    @property
    def waits(self) -> bool:
        """True where something is held back that :meth:`flush` would release."""
        match self._top.state:
            case "entered":
                held = bool(self._typist.keys)
            case "answered":
                held = self._top.pressed or self._typist.keys.has(INTERRUPT)
            case state:
                held = state == "interrupting"
        return held or self._marks.waits

    @property
    def lead(self) -> bytes:
        """What moves the cursor to a line of its own, before words of ours."""
        return self._top.dialect.LEAD if self._top.shell in boot.GUARDS else b""

    # -- what the person types -----------------------------------------------------------------------------------------------

    def typed(self, data: bytes) -> bytes:
        """Take keys. Returns those that go to the shell now; the others wait."""
        self._typist.keys.add(data)
        return self._typist.released(self._top)

    def flush(self) -> list[Unit]:
        """Nothing has come for a while: show what was held back, and go on typing (a shell may have read Enter as a key)."""
        units: list[Unit] = []
        held = self._marks.flush()
        if held and not self._top.muted:
            units.append(Output(held))
        if self._top.state == "entered":
            self._top.state = "prompt"
            units += _typed(self._typist.guessed(self._top))
        elif self._top.state in ("answered", "interrupting") and self._lulls.come():
            units += self._pressed()
        return units

    def _pressed(self) -> list[Unit]:
        """The shell does not say what it has to say next. Ctrl-C is what still reaches it: ours, or one that was typed."""
        if self._top.state == "interrupting":
            return self._interrupt(self._top)
        if interrupt := self._typist.interrupted(self._top):
            self._top.pressed = True
            return [_type(interrupt)]
        # The verdict may have been lost with the one that was typed, and nobody says anything before another.
        return [_type(INTERRUPT)] if self._top.pressed else []

    def _interrupt(self, layer: Layer) -> list[Unit]:
        layer.state, layer.pressed = "interrupting", True
        return [_type(INTERRUPT)]

    def _typing(self) -> list[Unit]:
        return _typed(self._typist.released(self._top))

    # -- what the shell says -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ms: int) -> list[Unit]:
        """Take output. Raises Broken."""
        units: list[Unit] = []
        try:
            for piece in self._marks.feed(data):
                if isinstance(piece, Mark):
                    units += self._heard(piece, now_ms)
                elif not self._top.muted:
                    units.append(Output(piece))
                    if self._top.state == "starting":
                        self._typist.starter.said(piece)
                        units += self._typing()
        except (EndlessError, UnquotableError, ValueError, IndexError):
            raise Broken("The shell's guard said something that makes no sense, so the shell was ended.") from None
        return units

    def _heard(self, mark: Mark, now_ms: int) -> list[Unit]:
        self._lulls.over()
        if mark.nonce == boot.NAME:
            return self._booted(mark.kind)
        layer = self._nest[mark.nonce]
        if layer.shell not in boot.GUARDS:
            raise ValueError(mark.kind)  # it cannot know its nonce yet
        if layer.dialect.PERCENT:
            mark = Mark(mark.kind, tuple(unpercent(field) for field in mark.fields), mark.nonce)
        if layer is not self._top:
            if mark.kind not in ("D", "Q"):
                return []  # a prompt is inherited by whatever a shell starts, with the marks in it
            self._turn(layer, status(mark.fields[0]) if mark.kind == "D" else None, now_ms)
        return self._said(layer, mark, now_ms)

    def _booted(self, shell: str) -> list[Unit]:
        """The first half runs: hand it the guard, or see whether it may go on without one."""
        top = self._top
        if top.state != "starting":
            return []
        self._nest.booted()
        top.shell, top.state = shell, "booting"
        self._typist.starter = Starter()
        if shell in boot.GUARDS:
            top.muted = True
            return [Housekeeping(Side.TARGET, boot.stage(shell, top.nonce, top.word, login=top.login))]
        if top.outer is None or top.outer.launched is None:
            raise Unguardable(shell)
        operation = meaning.unguarded(top, top.outer.launched)
        self._asking = (top, None)
        return [Asked(operation, boot.opaque(top.word, login=top.login))]

    def _turn(self, layer: Layer, status: int | None, now_ms: int) -> None:
        """Another shell than the one that we spoke with has the terminal: those inside of it have ended, or are stopped."""
        if self._asking is not None:
            raise Broken("Another shell spoke while a line was being decided, so the shell was ended.")
        old = self._top
        if layer in old.chain:
            for each in old.chain[: old.chain.index(layer)]:
                self._ended(each.over(status if each.outer is layer else None, now_ms))
        if layer is not old:
            self._typist.keys.disown()
        self._nest.turn(layer, ready=self.ready)

    def _said(self, layer: Layer, mark: Mark, now_ms: int) -> list[Unit]:
        match mark.kind:
            case "R":
                layer.muted = False
            case "H" if layer.state == "booting":
                layer.greeted = True
                layer.account = "@".join(field.decode("utf-8", "replace")[:64] for field in mark.fields[:2] if field)
            case "X":
                return self._too_old(layer, mark.fields[0].decode("ascii", "replace")[:40])
            case "T":
                raise taken(mark.fields[0])
            case "A" | "C" | "B":
                return self._prompted(layer, mark.kind)
            case "W" if layer.state == "answered":
                self._typist.give_back(layer, mark.fields[0])
                return self._acknowledged(layer, now_ms)
            case "W" if layer.state == "interrupting":
                self._typist.give_back(layer, mark.fields[0])
            case "N" if layer.state == "fetching" and layer.launch is not None:
                _harmless(mark.fields[0])
                layer.state, layer.goes = "answered", "starting"
                text = layer.launch.text.replace(boot.WORD, self._nest.word()).encode()
                return [_type(mark.fields[0] + b":A%d:" % len(text) + text + layer.dialect.END)]
            case "D":
                self._paid(now_ms)
                return self._prompts(layer, mark.fields, now_ms)
            case "Q":
                if layer.steps is None:
                    self._paid(now_ms)
                return self._question(layer, mark.fields)
            case _:
                raise ValueError(mark.kind)
        return []

    def _prompts(self, layer: Layer, fields: tuple[bytes, ...], now_ms: int) -> list[Unit]:
        layer.turn, layer.steps = int(fields[2]) if fields[2:] else 0, None
        if layer.state == "booting" and layer.greeted:
            layer.state = "entered"
        if layer.state == "replacing":
            return []
        units = self._stand(layer)
        self._ended(layer.over(status(fields[0]), now_ms))
        # Its part of the cast ends before the prompt.
        return [Lull(), *units] if self.ran else units

    def _stand(self, layer: Layer) -> list[Unit]:
        """A shell is before its prompt, whatever was asked, or was to be started, at the one before."""
        layer.gone, layer.launch, layer.muted = False, None, False
        if layer.goes in ("replacing", "fetching", "starting"):
            layer.goes = "entered"
        if layer.state == "asking":
            layer.given_up, self._next = True, None
        elif layer.state == "interrupting" and layer.pressed:
            layer.state = "entered"
        elif layer.state == "answered" and layer.dialect.STRAYS:
            layer.state, layer.pressed = "interrupting", False
        elif layer.state in ("answered", "retyped", "fetching"):
            typed, layer.state = layer.state == "answered", "entered"
            return [_type(_ERASE)] if typed else []
        return []

    def _too_old(self, layer: Layer, version: str) -> list[Unit]:
        words = f"{layer.shell} {version} is too old to be guarded."
        if layer.outer is None:
            raise Broken(words, ONE_BY_ONE)
        return [Output(f"sallyport: {words}\r\n".encode())]

    def _prompted(self, layer: Layer, kind: str) -> list[Unit]:
        if layer.state == "replacing" and kind == "B":
            layer.state = "retyped"
            return [_type(f" {_RUN}\r".encode())]
        # A second Ctrl-C may have taken away what a shell says before its prompt.
        erased = self._stand(layer) if kind == "B" and layer.state in ("asking", "answered") else []
        if layer.state == "interrupting":
            # Only now does the shell read keys, and see to it that Ctrl-C leads to another prompt.
            return self._interrupt(layer) if kind == "B" and not layer.pressed else []
        if kind == "A" or layer.state in ("booting", "asking", "replacing", "retyped", "fetching"):
            return []
        layer.state = "prompt"
        return [*erased, *self._typing()]

    def _acknowledged(self, layer: Layer, now_ms: int) -> list[Unit]:
        if layer.goes != "starting":
            layer.state = layer.goes
            return self._typing()
        assert layer.launch is not None
        start, layer.launch = layer.launch, None
        layer.state, layer.muted = "running", False
        self._nest.start(start)
        if start.replaces:
            layer.gone = True
            self._ended(layer.over(None, now_ms))
        self._typist.starter = Starter()
        return self._typing()

    def _paid(self, now_ms: int) -> None:
        if not self._typist.pace.spend(now_ms):
            raise Broken("The shell asked without end, so it was ended.", "A start-up file or a prompt may run in a loop.")

    def _question(self, layer: Layer, fields: tuple[bytes, ...]) -> list[Unit]:
        kind, challenge, turn, _, _, *_ = fields
        _harmless(challenge)
        if layer.dialect.STRAYS and kind != b"S" and int(turn) < layer.turn:
            return self._strayed(layer)
        if fields == (self._next[1] if self._next else layer.asked) and layer.state in ("asking", "answered", "interrupting"):
            return self._repeated(layer)
        self._drawn.take(challenge)
        layer.repeated = 0
        if self.given_up and self._next is None:
            self._next = layer, fields
            return []
        if self._asking is not None or not self.ready:
            raise Broken("The shell asked twice at once, so it was ended.")
        if layer.state == "answered" and layer.challenge and layer.challenge in fields[4]:
            layer.challenge, layer.asked, layer.launch, layer.goes = challenge, fields, None, "entered"
            return [_type(challenge + b":d" + layer.dialect.END)]
        return self._put(layer, fields)

    def _repeated(self, layer: Layer) -> list[Unit]:
        """It may cross its verdict once. Who repeats it again has lost that with a Ctrl-C, and gets another one."""
        layer.repeated += layer.state == "answered"
        if layer.repeated < 2:
            return []
        layer.repeated, layer.pressed = 0, True
        return [_type(INTERRUPT)]

    def _strayed(self, layer: Layer) -> list[Unit]:
        """Somebody asks about a line of an earlier prompt, and reads what is typed at this one. They will ask again."""
        return self._interrupt(layer) if layer.state in ("prompt", "entered") else []

    def _put(self, layer: Layer, fields: tuple[bytes, ...]) -> list[Unit]:
        kind, challenge, _, cwd, line, *about = layer.asked = fields
        if layer.state == "retyped" and line.strip() == _RUN.encode():
            layer.state, layer.goes, layer.pressed = "answered", "fetching", False
            return [_type(challenge + b":a" + layer.dialect.END)]
        layer.state, layer.challenge, layer.launch, layer.muted = "asking", challenge, None, False
        found = meaning.read(layer, self._nest.nonces, Question(kind, cwd, line, tuple(about)))
        if kind == b"S":
            found = self._stepped(layer, found)
        else:
            layer.steps = STEP_LIMIT if isinstance(found, Meant) and found.steps else None
        if isinstance(found, Refused):
            self._asking = (layer, None)
            return [found]
        layer.launch = found.launch
        self._asking = (layer, found.operation)
        # A line that starts a shell does not run as it is; what runs instead goes the way that the state machine above shows.
        word = b":d" if layer.launch else b":s" if found.steps else b":a"
        return [Asked(found.operation, challenge + word + layer.dialect.END)]

    def _stepped(self, layer: Layer, found: Meant | Refused) -> Meant | Refused:
        """Count a command that is decided by itself."""
        if layer.steps is None or isinstance(found, Refused):
            return found
        layer.steps -= 1
        return found if layer.steps >= 0 else Refused(found.operation, "too_large", meaning.TOO_MANY)

    # -- the verdict ---------------------------------------------------------------------------------------------------------

    def types(self, data: bytes) -> bytes:
        """Return what is typed where ``data`` is let through: with the verdict of a line that runs, the keys that go with it."""
        if self._asking is None or self._asking[1] is None:
            return data
        layer = self._asking[0]
        runs = layer is self._top and layer.state == "asking" and data == layer.challenge + b":a" + layer.dialect.END
        return data + self._typist.behind_verdict(layer) if runs and layer.steps is None else data

    def allowed(self, now_ms: int, shown_from: int = 0) -> None:
        """The verdict has been typed; the line runs, and what it shows is in the cast from ``shown_from``."""
        assert self._asking is not None
        (layer, operation), self._asking = self._asking, None
        if layer.state == "booting":
            layer.state = "opaque"
            return
        if operation is not None and operation.kind == "line":
            self._ended(layer.over(None, now_ms))
            layer.under_way = (operation, now_ms, shown_from)
            layer.launched = operation
        layer.state, layer.goes, layer.pressed = "answered", "running", False
        if layer.given_up:
            self._withdrawn(layer)
            self._ended(layer.over(None, now_ms))
        elif layer.launch is not None:
            layer.goes, layer.muted = "replacing", True

    def denied(self) -> bytes:
        """The line does not run. Returns what tells the shell so; keys wait for its next prompt."""
        assert self._asking is not None
        (layer, _), self._asking = self._asking, None
        if layer.state == "booting":
            return boot.none(layer.word)
        if layer.given_up:
            self._withdrawn(layer)
            return b""
        layer.launch = None
        layer.state, layer.goes, layer.pressed = "answered", "entered", False
        return layer.challenge + b":d" + layer.dialect.END

    def _withdrawn(self, layer: Layer) -> None:
        layer.given_up, layer.launch, layer.steps, layer.state = False, None, None, "entered"
        if self._next is None and layer.dialect.STRAYS:
            layer.state, layer.pressed = "interrupting", False

    def proceed(self) -> list[Unit]:
        """Return the question that came while one, given up, was decided; or what ends who asked that. Call it after verdicts."""
        late, self._next = self._next, None
        if late is not None:
            return self._put(*late)
        return self._interrupt(self._top) if self._top.state == "interrupting" and not self._top.pressed else []

    def over(self, status: int | None, now_ms: int) -> None:
        """The first shell has ended, with ``status`` where it has one, and all others with it."""
        self._marks.end()
        for layer in self._top.chain:
            self._ended(layer.over(None if layer.depth else status, now_ms))

    def _ended(self, ran: Ran | None) -> None:
        if ran is not None:
            self.ran.append(ran)


def _typed(keys: bytes) -> list[Unit]:
    return [_type(keys)] if keys else []


def forged(count: int) -> Remark:
    """Return what the recording says about marks that were not the guard's."""
    return Remark({"event": "forged", "text": f"{count} sequence(s) that imitate the shell's guard were dropped"})


def _harmless(challenge: bytes) -> None:
    """What is typed in answer names the challenge, and whoever reads it may be another shell by then."""
    if not _CHALLENGE.fullmatch(challenge):
        raise ValueError("no challenge of ours")


def _type(data: bytes) -> Unit:
    return Housekeeping(Side.TARGET, data)
