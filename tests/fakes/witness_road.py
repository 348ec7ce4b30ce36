"""What a witness asks of the control plane, answered by the control plane's own code on fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chalicelib.contracts.api import Cosign, Done, LogAsk, LogNews, WitnessAlarm
from chalicelib.contracts.faults import Fault
from chalicelib.usecases.witness_log import cosign_checkpoint, raise_alarm, show_log
from tests.fakes.world import World


class WitnessRoad:
    """Implements ``agent.runtime.witness.LogRoad``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away = False
        self.spoil: Callable[[LogNews], LogNews] = lambda news: news
        """Changes what the agent is shown."""
        self.cosigned: list[int] = []
        self.alarms: list[WitnessAlarm] = []
        self.alarmed = asyncio.Event()

    async def log(self, asked: LogAsk) -> LogNews:
        self._there()
        return self.spoil(show_log(self.world.ports, asked))

    async def cosign(self, made: Cosign) -> Done:
        self._there()
        self.cosigned.append(made.size)
        return cosign_checkpoint(self.world.ports, self.world.agent, made)

    async def alarm(self, alarm: WitnessAlarm) -> Done:
        self._there()
        self.alarms.append(alarm)
        done = raise_alarm(self.world.ports, self.world.agent, alarm)
        self.alarmed.set()
        return done

    def _there(self) -> None:
        if self.away:
            raise Fault("control_plane_unreachable", "The control plane cannot be reached.")
