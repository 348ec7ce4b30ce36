"""The gateway's SSH plug-in in a process of its own, with as many of its layers as asked for.

    python -m bench.ssh_gateway LAYERS PORT_OF_SSHD KEYS FOLDER      prints its own port, serves until it is terminated

    pass-through   both legs, policy, and what is said on a channel as it comes: no line of it is written
    recorded       everything in asciicasts and transcripts, in the real write-ahead spool (fdatasync), chunks cut and chained
    guarded        recorded, and every line of a shell decided before it runs
    masked         recorded, and nothing revealed: output is masked by detectors

It is the real plug-in and the real recorder; what is left out is the tunnel, the ticket and the control plane.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Literal

import uvloop

from agent.core.masking import Clean
from agent.core.recording.cast import CastWriter
from agent.core.units import Stream
from agent.protocols.ssh.plugin import ANNOUNCEMENT, SshPlugin
from agent.runtime.serving import Credential
from bench.sessions import BenchSession, Discarding, Identity, Spool, claims, serve_until_terminated
from bench.ssh_server import ACCOUNT, public
from chalicelib.contracts import gateway
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.policy import Document, Policy, Rule

Layers = Literal["pass-through", "recorded", "guarded", "masked"]
LAYERS: tuple[Layers, ...] = ("pass-through", "recorded", "guarded", "masked")

RULES = (
    'permit(principal, action in [Action::"run", Action::"transfer"], resource);',
    '@message("Not now.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("shutdown") };',
    'forbid(principal, action == Action::"run", resource) when { context.objects.contains("/etc/shadow") };',
    'forbid(principal, action == Action::"transfer", resource) when { context.objects.contains("/etc/shadow") };',
)
REVEAL = 'permit(principal, action == Action::"reveal", resource);'


def masks() -> bool:
    """Tell whether the plug-in masks what programs say."""
    return any(control.name == gateway.MASK and control.enforced for control in ANNOUNCEMENT.controls)


class Gateway:
    """Accepts connections, each a session of its own."""

    def __init__(self, layers: Layers, port: int, keys: Path, folder: Path) -> None:
        self._layers = layers
        self._spool = Spool(folder)
        self._target = Target(
            name="bench", protocol="ssh", agent="bench", address=f"127.0.0.1:{port}",
            logins={ACCOUNT: Login(credential="bench")}, default_login=ACCOUNT,
            options={"host_keys": [public(keys, "host_key")], "shell": "guarded" if layers == "guarded" else "recorded"},
        )  # fmt: skip
        texts = RULES if layers == "masked" else (*RULES, REVEAL)
        rules = [Rule(f"rule-{number}", "bench.cedar", number, text) for number, text in enumerate(texts, 1)]
        self._policy = Policy(Document(version=1, rules=rules, targets=[self._target]))
        self._credential = Credential("ssh-key", (keys / "user_key").read_bytes())
        identity = Identity()
        (folder / "host_key.pub").write_text(identity.public_key + "\n")
        self._plugin = SshPlugin(identity)

    async def open(self) -> None:
        """Begin the log, where there is one."""
        if self._layers != "pass-through":
            await self._spool.open()

    async def serve(self, connection: socket.socket) -> None:
        """Serve one session to its end."""
        said = claims(ACCOUNT)
        if self._layers == "pass-through":
            session = BenchSession(said, self._target, self._policy, Discarding(), self._credential)
            await self._plugin.serve(connection, session)
            return
        async with self._spool.recorded(said.sid) as recorder:
            session = BenchSession(said, self._target, self._policy, recorder, self._credential)
            await self._plugin.serve(connection, session)


def _unwritten(self: CastWriter, clean: Clean, stream: Stream, now_ms: int) -> bytes:
    """What the process of ``pass-through`` writes of output. Nothing in the agent can do this."""
    return b""


if __name__ == "__main__":
    asked = next(each for each in LAYERS if each == sys.argv[1])
    if asked == "pass-through":
        CastWriter.shown = _unwritten  # type: ignore[method-assign]
    served = Gateway(asked, int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
    uvloop.run(serve_until_terminated(served.open, served.serve))
