"""What is asked for beside the channels of programs: forwarding. Decided, recorded in a transcript of its own, refused in words.

SSH gives such a refusal a reason only where a channel was asked for; elsewhere the next program to start says it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent.core.gate import Gate
from agent.core.policy import Decider
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Answered, Asked, Refused, Remark, Stream, Tick
from agent.protocols.ssh.denial import Words
from agent.protocols.ssh.held import Hold, settled
from agent.runtime.relay import Performer
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Policy

#: Its number among the channels of a recording.
CHANNEL: Final = 0


class Answer:
    """What became of one request: ``permitted``, or the ``words`` of the no."""

    def __init__(self) -> None:
        self.permitted = False
        self.words = b""

    def to_target(self, data: bytes) -> None:
        """The gate lets it pass."""
        self.permitted = True

    def to_client(self, data: bytes, stream: Stream) -> None:
        """The gate says no."""
        self.words += data


class Outside:
    """One connection's requests beside its programs."""

    def __init__(self, serving: Serving, tell: Callable[[str], None]) -> None:
        """``tell`` has words shown where the person can see them, if there is such a place."""
        claims = serving.claims
        self._serving = serving
        self._tell = tell
        self._trust: Hold | None = None
        """The wait for others that the leg towards the target waits for, of which there is one."""
        self._decider: Final = Decider(claims, lambda: serving.policy)
        heading = Heading(
            sid=claims.sid,
            target=claims.target,
            principal=claims.sub,
            login=claims.login,
            channel=CHANNEL,
            opened_ms=serving.now_ms(),
            title="asked for outside of any program",
        )
        self._transcript: Final = JsonlWriter(heading, protocol="ssh")
        self._gate: Final = Gate(self._decider, self._transcript, Words(claims.sid, terminal=False), asks=True)

    async def decide(self, unit: Asked | Refused) -> Answer:
        """Have ``unit`` decided and recorded, and wait for others where policy says so. Raises Fault(recording_failed)."""
        answer = Answer()
        performer = Performer(self._serving, answer)
        await settled(self._gate, performer, self._serving.now_ms, unit, self._answered)
        return answer

    def now_ms(self) -> int:
        """The time of the record."""
        return self._serving.now_ms()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._serving.policy

    @property
    def options(self) -> dict[str, Any]:
        """The target's options in force; none where the target is gone."""
        target = self._serving.policy.document.target(self._serving.target.name)
        return {} if target is None else target.options

    def stands(self, operation: Operation, *, approved: bool = False) -> bool:
        """Tell whether policy permits ``operation`` now, by itself or, where it was ``approved``, with others' agreement."""
        decision = self._decider.decide(operation, self._serving.now_ms())
        return decision.permit is not None or (approved and decision.held)

    async def record(self, **entry: Any) -> None:
        """Have a fact on disk. Raises Fault(recording_failed)."""
        lines = self._transcript.remark(entry, self._serving.now_ms())
        await self._serving.recorder.write(CHANNEL, "jsonl", lines, durable=True)

    def note(self, **entry: Any) -> None:
        """Record a fact that nobody waits for."""
        self._gate.handle(Tick(self._serving.now_ms()))
        Performer(self._serving, Answer()).perform_now(self._gate.handle(Remark(entry)))

    @property
    def trusting(self) -> bool:
        """True while others are asked whether a first host key is to be trusted."""
        return self._trust is not None

    def withdraw_trust(self) -> None:
        """Nobody waits for the target any more: if others are asked about its host key, they need not answer."""
        if self._trust is not None:
            self._trust.withdraw()

    async def _answered(self, asked: Asked) -> Answered | Refused:
        hold = Hold(self._serving, self._said, terminal=False)
        trusts = asked.operation.action == "trust_host_key"
        if trusts:
            self._trust = hold
        try:
            return Answered(asked, await hold.agreed(asked.operation))
        except Fault as fault:
            return Refused(asked.operation, fault.code, fault.message)
        finally:
            if trusts:
                self._trust = None

    def _said(self, data: bytes, recorded: bool) -> None:
        self._tell(data.decode().strip().removeprefix("sallyport: "))
