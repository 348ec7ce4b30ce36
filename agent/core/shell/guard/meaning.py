"""What a question of a guarded shell asks for: a line or a single command, as an operation or as a refusal."""

from __future__ import annotations

from typing import Final

from agent.core.shell.classify import classify
from agent.core.shell.guard.launch import Launch, launch, settled
from agent.core.shell.guard.layer import Layer
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
TOO_DEEP: Final = f"Shells are guarded up to {DEPTH_LIMIT} deep. Leave some of them first."


def read(layer: Layer, nonces: set[str], kind: bytes, cwd: bytes, raw: bytes) -> tuple[Operation, Launch | None] | Refused:
    """Return what ``layer`` asks about, and what runs instead of it where it starts another shell. ``nonces`` are secret."""
    try:
        line, where = raw.decode(), cwd.decode()
    except UnicodeDecodeError:
        return _refused(raw.decode("utf-8", "replace"), "bad_request", UNREADABLE)
    if kind == b"U":
        return _refused("", "not_supported", HISTORY_OFF)
    if len(raw) > LINE_LIMIT:
        return _refused(line[:1000] + "…", "too_large", TOO_LONG)
    if "__sp_" in line or any(nonce in line for nonce in nonces):
        return _refused(line, "not_supported", HIDDEN)
    meaning = classify(line)
    start = launch(line) if kind == b"L" else None
    guarded = settled(meaning, start) if start is not None else None
    if guarded is None:
        start = None
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
        environment=(("PWD", where), *((("INSIDE", layer.inside),) if layer.outer else ())),
    )
    return operation, start


def unguarded(layer: Layer, asked: Operation) -> Operation:
    """Return what the line ``asked`` means now that the shell that it starts is known to be one without a guard."""
    meaning = classify(asked.text)
    return Operation(
        kind="line",
        text=asked.text,
        effects=meaning.effects | {EXECUTE, UNKNOWN},
        verbs=meaning.verbs | {layer.shell} if layer.shell.isalnum() else meaning.verbs,
        objects=meaning.objects,
        flags=meaning.flags | asked.flags | {"opaque"},
        environment=(*asked.environment, ("UNGUARDED", layer.shell[:40])),
    )


def _refused(line: str, code: str, message: str) -> Refused:
    return Refused(Operation(kind="line", text=line, effects=frozenset({EXECUTE, UNKNOWN})), code, message)
