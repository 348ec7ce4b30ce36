"""What the WebSocket emulation keeps per API (limits, functions) and per client socket."""

import asyncio
import threading
import time
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection

from infra.local import ws_events
from infra.local.chaos import SocketView
from infra.local.functions import LambdaFunction


@dataclass(frozen=True, slots=True)
class Limits:
    """API Gateway's quotas; bytes and seconds. Only the two durations are meant to be shortened, for tests."""

    message: int = 128 * 1024
    frame: int = 32 * 1024
    idle_s: float = 600.0
    duration_s: float = 7200.0
    integration_s: float = 29.0
    # Undocumented on AWS: what may wait for one slow reader before posting to it is LimitExceeded.
    client_buffer: int = 8 * 1024 * 1024
    in_flight: int = 256

    def left_s(self, opened: float, last_active: float, now: float) -> float:
        """Seconds until a socket is closed: idle for too long, or open for too long. All on one monotonic clock."""
        return min(last_active + self.idle_s, opened + self.duration_s) - now


AWS_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Functions:
    """The three functions of a WebSocket API."""

    connect: LambdaFunction
    message: LambdaFunction
    disconnect: LambdaFunction


class Connection:
    """One client socket, from before `$connect` until after `$disconnect`. Touched by the loop's thread only,
    except `in_flight`, which the pool's threads count down under `guard`."""

    def __init__(self, socket_: ServerConnection, facts: ws_events.Facts, ordinal: int) -> None:
        self.socket, self.facts, self.ordinal = socket_, facts, ordinal
        self.established = False
        self.last_active = time.monotonic()
        self.last_active_ms = facts.connected_at_ms
        self.received = self.posted = 0
        self.waiting_bytes = 0
        self.in_flight = 0
        self.guard = threading.Lock()
        self.room = asyncio.Event()
        self.expiry: asyncio.TimerHandle | None = None
        self.subprotocol: str | None = None

    @property
    def view(self) -> SocketView:
        facts = self.facts
        return SocketView(facts.connection_id, self.ordinal, facts.path, dict(facts.headers), facts.connected_at_ms)

    def touch(self) -> None:
        self.last_active = time.monotonic()
        self.last_active_ms = now_ms()


def now_ms() -> int:
    return int(time.time() * 1000)
