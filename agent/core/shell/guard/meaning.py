"""What a question of a guarded shell asks for: a line or a single command, as an operation or as a refusal."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agent.core.shell.classify import classify
from agent.core.shell.fish import classify_fish
from agent.core.shell.guard.grammar import differs
from agent.core.shell.guard.launch import Launch, launch, settled
from agent.core.shell.guard.layer import Layer
from agent.core.shell.guard.steps import STEP_LIMIT, command, defined, stepped, whole
from agent.core.shell.model import Classification
from agent.core.units import Refused
from chalicelib.contracts.operation import EXECUTE, UNKNOWN, Operation

#: Longest line that is decided, in bytes.
LINE_LIMIT: Final = 64 * 1024
#: In how many shells another may be guarded.
DEPTH_LIMIT: Final = 8

HISTORY_OFF: Final = "The shell's history was switched off, so its lines cannot be read. Press Ctrl-D and open a new shell."
UNREADABLE: Final = "The line is not valid UTF-8."
TOO_LONG: Final = f"The line is longer than {LINE_LIMIT // 1024} KiB, so it cannot be decided. Copy a script and run that."
HIDDEN: Final = "The shell's guard cannot be looked at or changed."
TOO_MANY: Final = f"The line has run {STEP_LIMIT} commands, and each was decided by itself. Run the rest as a program."
TOO_DEEP: Final = f"Shells are guarded up to {DEPTH_LIMIT} deep. Leave some of them first."
EDITED: Final = "The shell asks too little about what its own editor leaves. Ctrl-X Ctrl-E brings its text into the line."


class Question(msgspec.Struct, frozen=True):
    """What a shell asks."""

    kind: bytes
    """``L`` for a line, ``S`` for a single command, ``U`` for a line that cannot be read."""
    cwd: bytes
    line: bytes
    about: tuple[bytes, ...] = ()
    """What the shell says of the line's first word."""


class Meant(msgspec.Struct, frozen=True):
    """What a question asks for."""

    operation: Operation
    launch: Launch | None = None
    """What runs instead, where the line starts another shell."""
    steps: bool = False
    """Whether each command of the line, or that the command runs in the shell, is decided by itself."""


def read(layer: Layer, nonces: set[str], question: Question) -> Meant | Refused:
    """Return what ``layer`` asks for. ``nonces`` are secret."""
    kind, raw = question.kind, question.line
    try:
        line, where = raw.decode(), question.cwd.decode()
    except UnicodeDecodeError:
        return _refused(raw.decode("utf-8", "replace"), "bad_request", UNREADABLE)
    if kind == b"U":
        return _refused("", "not_supported", HISTORY_OFF)
    if len(raw) > LINE_LIMIT:
        return _refused(line[:1000] + "…", "too_large", TOO_LONG)
    if "__sp_" in line or any(nonce in line for nonce in nonces):
        return _refused(line, "not_supported", HIDDEN)
    text = line if kind == b"L" else command(line)
    meaning = classify_fish(text) if layer.shell == "fish" else classify(text, carried=True, zsh=layer.shell == "zsh")
    if differs(layer.shell, line):
        meaning = msgspec.structs.replace(meaning, effects=meaning.effects | {"unknown"}, flags=meaning.flags | {"parse_error"})
    if kind == b"S" and layer.steps is None and any(each.program == "fc" for each in meaning.commands):
        # Of what it runs, the shell would ask about simple commands alone: not of `{ …; } > f`, and of no part of `{ …; } | g`.
        return _refused(line, "not_supported", EDITED)
    start = launch(line) if kind == b"L" else None
    guarded = settled(meaning, start) if start is not None else None
    one_by_one = all_told = None
    about = question.about
    if guarded is None:
        start = None
        if layer.shell == "bash" and (about[:1] == (b"F",) or "unknown" in meaning.effects):
            # A command that no line was asked about before (edit-and-execute) may stand anywhere, before a pipe too.
            one_by_one = stepped(text, meaning, about) if kind == b"L" or layer.steps is not None else None
            # Within a line, what an eval runs is asked about again, whatever it is.
            if one_by_one is None and (kind == b"L" or about[:1] == (b"F",)):
                all_told = whole(text, meaning, about)
            meaning = one_by_one or all_told or defined(text, meaning, about) or _veiled(meaning, about)
    else:
        meaning = guarded
        if layer.depth >= DEPTH_LIMIT or len(layer.chain) > 4 * DEPTH_LIMIT:
            return _refused(line, "not_supported", TOO_DEEP)
    operation = Operation(
        kind="line" if kind == b"L" else "step",
        text=line,
        effects=meaning.effects or frozenset({UNKNOWN}),
        verbs=meaning.verbs,
        objects=meaning.objects,
        flags=meaning.flags | {"pty", "shell"} | ({"nested"} if layer.outer else set()),
        environment=(
            ("PWD", where),
            *((("INSIDE", layer.inside),) if layer.outer else ()),
            *((("FUNCTION", about[1].decode()),) if all_told and about[:1] == (b"F",) else ()),
        ),
    )
    return Meant(operation, start, one_by_one is not None or (kind == b"S" and all_told is None))


def _veiled(meaning: Classification, about: tuple[bytes, ...]) -> Classification:
    """A program's name that a function has, and of which more is not known, says nothing about what runs."""
    return msgspec.structs.replace(meaning, effects=meaning.effects | {"unknown"}) if about[:1] == (b"F",) else meaning


def unguarded(layer: Layer, asked: Operation) -> Operation:
    """Return what the line ``asked`` means now that the shell that it starts is known to be one without a guard."""
    meaning = classify(asked.text)
    return Operation(
        kind="line",
        text=asked.text,
        effects=meaning.effects | {EXECUTE, UNKNOWN},
        verbs=meaning.verbs | {layer.shell} if re.fullmatch(r"[\w-]{1,40}", layer.shell, re.ASCII) else meaning.verbs,
        objects=meaning.objects,
        flags=meaning.flags | asked.flags | {"opaque"},
        environment=(*asked.environment, ("UNGUARDED", layer.shell[:40])),
    )


def _refused(line: str, code: str, message: str) -> Refused:
    return Refused(Operation(kind="line", text=line, effects=frozenset({EXECUTE, UNKNOWN})), code, message)
