"""Which kind of shell a person gets: the first of the target's, in its order, that policy permits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent.core.gate import Gate
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.shell.guard.broken import Unguardable
from agent.core.shell.guard.dialogue import HELLO_S, Dialogue
from agent.core.shell.locked.conversation import Locked
from agent.core.units import Asked
from agent.protocols.ssh import engine
from agent.protocols.ssh.decider import decider
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.locked import Dial, LockedRelay
from agent.protocols.ssh.shell import GuardedRelay, Owner, ShellRelay, nonce
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target, chosen

#: What a shell is, in the line that it begins with.
HOW: Final = {
    engine.GUARDED: "every line is decided before it runs, and recorded",
    engine.LOCKED: "locked shell: every line is edited here, decided before it leaves the gateway, and recorded",
    engine.RECORDED: "this shell is recorded",
}


#: Longer than that nobody waits at a terminal that shows nothing.
MOST_START_S: Final = 60


def start_s(options: Mapping[str, Any]) -> float:
    """Return the seconds that a target's shells have to report. Raises Fault(config_invalid)."""
    seconds = options.get("shell_start_s", HELLO_S)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 1 <= seconds <= MOST_START_S:
        raise Fault("config_invalid", f"shell_start_s is not a number from 1 to {MOST_START_S}.")
    return float(seconds)


def permitted(wish: Wish, target: Target, serving: Serving) -> list[str]:
    """Return the modes that policy permits, best first. Where it permits none, the one that is to be asked for and refused.

    What others must agree to first is not permitted: it comes after everything that is, and before what is forbidden.
    """
    listed = [str(mode) for mode in chosen(target.options, "shell")] if wish.kind == "shell" else []
    decides, now_ms = decider(serving), serving.now_ms()
    allowed: list[str] = []
    held: list[str] = []
    for mode in listed:
        asked = engine.read(wish, shell=mode)
        if not isinstance(asked, Asked):
            continue
        decision = decides.decide(asked.operation, now_ms)
        if decision.permit is not None:
            allowed.append(mode)
        elif decision.held:
            held.append(mode)
    return allowed or held[:1] or listed[:1]


class Shells:
    """Makes the shells of one channel."""

    def __init__(
        self, serving: Serving, gate: Gate, recordings: tuple[CastWriter, JsonlWriter], owner: Owner, target: Dial
    ) -> None:
        """``target`` is where something can be run beside a shell."""
        self._serving = serving
        self._gate = gate
        self._recordings = recordings
        self._owner = owner
        self._target = target

    def relay(self, mode: str, terminal: Terminal) -> ShellRelay | None:
        """Return who reads between the streams of a shell, or None where nobody does. Raises Fault(config_invalid)."""
        if mode == engine.GUARDED:
            dialogue = Dialogue(nonce(), nonce, start_s(self._serving.target.options))
            return GuardedRelay(self._serving, dialogue, self._gate, self._recordings, self._owner)
        return self._locked(terminal) if mode == engine.LOCKED else None

    def instead(self, other: Unguardable, terminal: Terminal, words: bytes) -> LockedRelay:
        """Return a locked shell in the place of one that cannot be guarded. It says ``words`` first."""
        relay = self._locked(terminal)
        relay.begin(words, other.shell)
        return relay

    def _locked(self, terminal: Terminal) -> LockedRelay:
        claims = self._serving.claims
        name, patience_s = f"{claims.login}@{claims.target}", start_s(self._serving.target.options)
        locked = Locked(nonce(), name, terminal.columns, terminal.rows, patience_s)
        return LockedRelay(self._serving, locked, self._gate, self._recordings, self._owner, self._target)
