"""The ways to the same target that are compared: direct ssh, the gateway's direct path, the gateway's relay."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.measure import DIRECT
from infra.demo.stack import Person, Stack

GATEWAY_DIRECT = "gateway, direct path"
GATEWAY_RELAY = "gateway, WebSocket relay"


@dataclass(frozen=True)
class Way:
    """One way: the words before the host, and the environment they run in."""

    name: str
    options: tuple[str, ...]
    host: str
    environment: dict[str, str]

    def command(self, program: str, *words: str) -> list[str]:
        """``ssh``, ``scp`` or ``sftp`` with this way's options."""
        return [program, *self.options, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """``ssh host words…``, waited for without a polling timeout (which would quantise the time)."""
        command = self.command("ssh", self.host, *words)
        return subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def prepare(stack: Stack) -> dict[str, Way]:
    """Bring ``stack`` up with everything applied and alice logged in; return the ways by name."""
    stack.start_cloud()
    stack.target.start()
    alice = stack.furnish()
    # The agent learns of the new targets through its control socket; the first connection shows that it has.
    for _ in range(100):
        if alice.run(["ssh", "prod-web", "true"]).returncode == 0:
            break
    return {DIRECT: _direct(stack), **{name: _gateway(alice, name) for name in (GATEWAY_DIRECT, GATEWAY_RELAY)}}


def _direct(stack: Stack) -> Way:
    known = stack.folder / "direct_known_hosts"
    known.write_text(f"[127.0.0.1]:{stack.target.port} {stack.target.host_key}\n")
    options = {
        "IdentityFile": stack.target.credential,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
        "Port": stack.target.port,
        "User": stack.target.account,
        # The gateway negotiates this cipher first; the comparison is of gateways, not of ciphers.
        "Ciphers": "aes128-gcm@openssh.com",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return Way(DIRECT, ("-F", "none", *words), "127.0.0.1", dict(os.environ))


def _gateway(alice: Person, name: str) -> Way:
    environment = alice.environment | {"SALLYPORT_WAY": "direct" if name == GATEWAY_DIRECT else "relay"}
    return Way(name, ("-F", str(alice.folder / "ssh" / "config")), "prod-web", environment)


def results_folder() -> Path:
    """Where a run's JSON is kept."""
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    return folder
