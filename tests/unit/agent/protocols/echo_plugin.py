"""A whole plug-in for a protocol of one line per request. docs/howto/add-a-protocol.md shows this file."""

from agent.core.policy import Decision
from agent.core.units import Asked, Output, Refused, Side, Unit
from agent.runtime.relay import EnginePlugin, Setting
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import BLOCK, MASK, RECORD, Control, Protocol
from chalicelib.contracts.operation import READ, Operation


class EchoEngine:
    def __init__(self, setting: Setting) -> None:
        self._kept = b""

    def receive(self, side: Side, data: bytes) -> list[Unit]:
        if side is Side.TARGET:
            return [Output(data)] if data else []
        *lines, self._kept = (self._kept + data).split(b"\n")
        if len(self._kept) > 1000 or not all(line.isascii() for line in lines):
            raise Fault("protocol_error", "A line is at most 1000 bytes of ASCII.")
        return [Asked(Operation(kind="line", text=line.decode(), effects=frozenset({READ})), line + b"\n") for line in lines]

    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        return f"sallyport: {decision.message} ({decision.code})\n".encode()


ANNOUNCEMENT = Protocol(
    name="echo",
    hint="nc 127.0.0.1 7 # {target}",
    controls=[
        Control(name=RECORD, enforced=True),
        Control(name=BLOCK, enforced=True),
        Control(name=MASK, enforced=False, why="echo is not masked yet"),
    ],
)
PLUGIN = EnginePlugin(ANNOUNCEMENT, EchoEngine)
