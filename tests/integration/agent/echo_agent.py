"""An agent that speaks the echo protocol, as a process to be killed: ``python -m tests.integration.agent.echo_agent STATE``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from agent import bootstrap, telemetry
from agent.config import Settings
from tests.fakes.agent_plugins import EchoPlugin


async def main(state: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0)
    await bootstrap.run(settings, stop, speak=lambda host: [EchoPlugin()])


if __name__ == "__main__":
    telemetry.configure()
    asyncio.run(main(Path(sys.argv[1])))
