"""A guarded shell's whole output, cut anywhere: the gateway sees the same questions, text and lines."""

from __future__ import annotations

import os
import random

import pytest

from agent.core.shell.guard.dialogue import Dialogue
from agent.core.units import Asked, Housekeeping, Output, Refused, Unit

NONCE = "0123456789abcdef"
INNER = "fedcba9876543210"
#: Ways to cut. ``GUARD_CUTS=20000`` takes a few minutes.
CUTS = int(os.environ.get("GUARD_CUTS", "300"))


def mark(body: bytes, nonce: str = NONCE) -> bytes:
    return b"\x1b]7701;" + nonce.encode() + b";" + body + b"\x07"


def prompt(text: bytes = b"$ ") -> bytes:
    return mark(b"A") + text + mark(b"B")


#: What the shell says up to where it waits, and what happens there: keys, or the verdict on its question.
LIFE: list[tuple[bytes, str]] = [
    (b"motd \x1b]0;title\x07\r\n\x1b]7701;boot;bash\x07", "echo early\r"),
    (mark(b"R") + "grüße\r\n\x1b[1mbold\x1b[0m".encode() + mark(b"H") + mark(rb"D;0;'/srv'") + prompt(), ""),
    (b"echo early\r\n" + mark(rb"Q;L;77;1;'/srv';'echo early'"), "yes"),
    (mark(rb"W;''") + b"early\r\n\x1b]770" + mark(rb"D;0;'/srv'") + prompt(b"\x1b[32m$\x1b[0m "), "rm \t-rf /\rnext"),
    (mark(rb"Q;L;78;2;'/srv';$'rm \t-rf /\n\'\x1b\''") + b"\x1b]7701;forged;B\x07" + mark(b"B", "f" * 16), "no"),
    (mark(rb"W;'typed '") + mark(rb"D;130;'/srv'") + b"^C\r\n" + prompt(), ""),
    (b"\x1b[?1049h\x1b[2J vim \x1b]7701\x1b]52;c;x\x07", "for i in 1\rdo"),
    (b"> " + mark(b"C") + b"\x1b", " :;done\r"),
    (mark(rb"Q;S;79;3;'/';x") + b"", "yes"),
    (mark(rb"W;'a;\\b'") + mark(rb"D;3;$'/a\377'") + prompt(b"% "), ""),
    (mark(rb"Q;L;80;4;$'/\303\251';'" + b"y" * 3000 + b"'"), "yes"),
    (mark(rb"W;''") + bytes(range(256)).replace(b"\x1b", b"") + b"\x1b]" + mark(rb"D;0;'/'") + prompt(), "sudo -i\r"),
    # A shell in the shell, which asks for a password, and ends.
    (mark(rb"Q;L;81;5;'/';'sudo -i'"), "yes"),
    (mark(rb"W;''") + b"^C\r\n" + mark(rb"D;130;'/'") + prompt(), ""),
    (b" __sp_run\r\n" + mark(rb"Q;L;82;6;'/';' __sp_run'"), ""),
    (mark(rb"W;''") + mark(b"N;83"), "secret\rid\r"),
    (mark(rb"W;''") + b"[sudo] password for web:", ""),
    (b"\r\n\x1b]7701;boot;bash\x07", ""),
    (mark(b"R", INNER) + b"root\r\n" + mark(b"H;root;db", INNER) + mark(rb"D;0;'/root'", INNER) + b"# " + mark(b"B", INNER), ""),
    (mark(rb"Q;L;84;1;'/root';'id'", INNER), "yes"),
    (mark(b"W;", INNER) + b"uid=0\r\n" + mark(b"D;0;/", INNER) + mark(b"B") + mark(b"D;7;/") + prompt(), "x"),
]


def lived(dice: random.Random | None) -> list[object]:
    """What the gateway makes of that life, in pieces of any size or in one."""
    nonces = iter(("word" * 4, INNER))
    dialogue, seen = Dialogue(NONCE, lambda: next(nonces)), list[object]()
    for number, (said, then) in enumerate(LIFE):
        at = 0
        while at < len(said):
            size = dice.choice((1, 2, 3, 5, 8, 13, 40, 4000)) if dice else len(said)
            seen += dialogue.receive(said[at : at + size], number)
            at += size
        if then == "yes":
            dialogue.allowed(number)
        elif then == "no":
            seen.append(dialogue.denied())
        elif then:
            seen.append(dialogue.typed(then.encode()))
        seen.append((dialogue.state, dialogue.forged))
    seen += dialogue.flush()
    return [*joined(seen), dialogue.ran]


def joined(seen: list[object]) -> list[object]:
    """Put together what was only cut."""
    whole: list[object] = []
    for each in seen:
        last = whole[-1] if whole else None
        if isinstance(each, Output) and isinstance(last, Output):
            whole[-1] = Output(last.data + each.data)
        elif isinstance(each, Housekeeping) and isinstance(last, Housekeeping):
            whole[-1] = Housekeeping(each.to, last.data + each.data)
        else:
            whole.append(each)
    return whole


@pytest.mark.parametrize("part", range(3))
def test_the_cuts_do_not_matter(part: int) -> None:
    expected = lived(None)
    units: list[Unit] = [each for each in expected if isinstance(each, Asked | Refused)]
    assert len(units) == 6, "the life above has six questions"
    for seed in range(part * CUTS // 3, (part + 1) * CUTS // 3):
        assert lived(random.Random(seed)) == expected, seed


def test_byte_by_byte() -> None:
    class Ones(random.Random):
        def choice(self, seq: object) -> int:  # type: ignore[override]
            return 1

    assert lived(Ones()) == lived(None)
