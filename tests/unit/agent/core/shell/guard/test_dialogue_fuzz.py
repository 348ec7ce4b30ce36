"""Shells that say anything in any order: the gateway ends them or goes on, and nobody types while it waits for a verdict."""

from __future__ import annotations

import os
import random

from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.dialogue import Dialogue
from agent.core.units import Asked, Housekeeping, Refused, Side, Unit

#: ``GUARD_LIVES=100000`` takes a few minutes.
LIVES = int(os.environ.get("GUARD_LIVES", "1500"))
LINES = (b"ls", b"bash", b"sudo -i", b"exec bash", b"f", b"eval 'frobnicate'", b" __sp_run", b"touch x", b"")
SAYS = (b"R", b"A", b"B", b"C", b"H;u;h", b"D;0;/", b"W;", b"W;ahead", b"N;7", b"X;4.2")
TEXT = (b"$ ", b"Password: ", b"\r\n", b"\x1b]7701;boot;bash\x07", b"\x1b]7701;boot;dash\x07", b"\x1b]7701;ffff;B\x07")
KEYS = (b"ls\r", b"x", b"\x03", b"secret\r", b"a\rb\rc")


BOOTS = b"\x1b]7701;boot;bash\x07"
#: What a shell that means well says next.
NEXT = {
    "starting": (BOOTS,),
    "booting": (b"R", b"H;u;h"),
    "entered": (b"B",),
    "prompt": (b"Q;L;7;1;/;bash", b"Q;L;7;1;/;'sudo -i'", b"Q;L;7;1;/;ls"),
    "answered": (b"W;",),
    "replacing": (b"B",),
    "retyped": (b"Q;L;7;1;/;__sp_run",),
    "fetching": (b"N;7",),
    "running": (b"D;0;/",),
}


class Life:
    """One session whose shells were written by chance."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.nonces = ["0" * 16]
        self.dialogue = Dialogue(self.nonces[0], self.mint)
        self.out = False
        self.typed = 0
        self.drawn = 7

    def mint(self) -> str:
        self.nonces.append(f"{len(self.nonces):016d}")
        return self.nonces[-1]

    def step(self) -> None:
        dice = self.dice
        if self.out and dice.random() < 0.5:
            self.out = False
            if dice.random() < 0.7:
                self.dialogue.allowed(self.typed)
            else:
                given_up = self.dialogue.given_up
                assert bool(self.dialogue.denied()) is not given_up
            assert not self.dialogue.given_up
            self.perform(self.dialogue.proceed())
            return
        expected = NEXT.get(self.dialogue.state, ())
        if expected and not self.out and dice.random() < 0.8:
            said = dice.choice(expected)
            self.hear(said if said.startswith(b"\x1b") else self.mark(said, self.dialogue._top.nonce))
            return
        match dice.randrange(4):
            case 0:
                keys = self.dialogue.typed(dice.choice(KEYS))
                assert not (self.out and keys), "a key went out with a question"
            case 1:
                self.hear(dice.choice(TEXT))
            case _:
                self.hear(self.mark(self.said(), dice.choice(self.nonces[-3:])))
        assert not (self.out and self.dialogue.flush() != []), "nor did what had waited"

    def mark(self, body: bytes, nonce: str) -> bytes:
        if body.startswith(b"Q;") and self.dice.random() < 0.99:
            self.drawn += 1
            body = body.replace(b";7;", b";%x;" % self.drawn, 1)
        return b"\x1b]7701;" + nonce.encode() + b";" + body + b"\x07"

    def said(self) -> bytes:
        if self.dice.random() < 0.7:
            return self.dice.choice(SAYS)
        about = self.dice.choice((b"", b";F;$'f () \\n{ \\n ls\\n}'", b";S;x", b";F"))
        return (
            b"Q;"
            + self.dice.choice((b"L", b"S", b"U"))
            + b";7;1;/;'"
            + self.dice.choice(LINES).replace(b"'", b"'\\''")
            + b"'"
            + about
        )

    def hear(self, data: bytes) -> None:
        self.perform(self.dialogue.receive(data, self.typed))

    def perform(self, units: list[Unit]) -> None:
        for unit in units:
            if isinstance(unit, Asked | Refused):
                assert not self.out, "two questions at once"
                self.out = True
            elif isinstance(unit, Housekeeping):
                assert unit.to is Side.TARGET
                assert not self.out, "typed while a question was out"


def test_whatever_shells_say() -> None:
    deepest = 0
    for seed in range(LIVES):
        life = Life(seed)
        try:
            for life.typed in range(120):
                life.step()
        except Broken:
            pass
        deepest = max(deepest, len(life.nonces))
        life.dialogue.over(0, 0)
    assert deepest > 3, "some of them start shells"
