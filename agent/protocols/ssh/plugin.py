"""The SSH plug-in: what it announces, and the two ways in."""

from __future__ import annotations

import socket
from typing import Final

from agent.core.masking.patterns import LONGEST
from agent.protocols.ssh import login
from agent.protocols.ssh.algorithms import KEY_LINES
from agent.protocols.ssh.flags import FLAGS
from agent.protocols.ssh.transport import Connection
from agent.runtime.serving import Door, HostIdentity, More, Serving
from chalicelib.contracts import gateway
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.patterns import FORM

ANNOUNCEMENT: Final = gateway.Protocol(
    name="ssh",
    hint="ssh {target}",
    flags=sorted(FLAGS),
    options=[
        gateway.Option(
            name="host_keys",
            type="strings",
            required=True,
            starts=list(KEY_LINES),
            doc=(
                "The target's host keys as public key lines, as ssh-keyscan -t prints them behind the name. "
                "No other host is spoken to."
            ),
        ),
        gateway.Option(
            name="trust_first_host_key",
            type="boolean",
            instead_of="host_keys",
            doc=(
                "true, instead of host_keys: the agent keeps the key of whoever answers first, in a session of somebody whom a "
                "rule lets trust_host_key. No password is ever sent to such a host."
            ),
            warns=(
                "whoever answers first at its address is taken for it. Look at the fingerprint in the audit event "
                "target.host_key_trusted, and put the key into host_keys"
            ),
        ),
        gateway.Option(
            name="shell",
            type="string",
            choices=["guarded", "locked", "recorded"],
            several=True,
            doc=(
                "Allow interactive shells: guarded, with every line decided before it runs (bash, zsh, fish); locked, with the "
                "gateway as line editor (any POSIX shell); or recorded, on screen alone. A list is an order of preference. "
                "Without it only single commands and file transfers are possible."
            ),
        ),
        gateway.Option(
            name="shell_start_s",
            type="integer",
            doc="Seconds, 1 to 60, that a guarded or locked shell has to report after it was started; 3 unless told.",
        ),
        gateway.Option(
            name="forward",
            type="strings",
            form="host:port",
            doc=(
                "Where ssh -L, -D, -W and -J may go from this target, as host:port; the host may be * or *.suffix, the port *. "
                "Policy decides within that. Without it nothing is forwarded."
            ),
        ),
        gateway.Option(
            name="listen",
            type="strings",
            form="host:port",
            doc="Where ssh -R may have this target listen, as host:port: localhost:8080. Policy decides within that.",
        ),
        gateway.Option(
            name="patterns",
            type="strings",
            form=FORM,
            longest=LONGEST,
            doc=(
                "What else is masked wherever it is shown, as class=pattern, in RE2 syntax: badge=EMP-[0-9]{4}. "
                f"A match may have {LONGEST} bytes."
            ),
        ),
    ],
    controls=[
        gateway.Control(name=gateway.RECORD, enforced=True),
        gateway.Control(
            name=gateway.BLOCK,
            enforced=True,
            why="in a recorded shell, commands are seen only after they ran. Say shell: guarded or locked, or require no block",
            except_option="shell",
            except_value="recorded",
        ),
        gateway.Control(name=gateway.TRANSFER, enforced=True),
        gateway.Control(name=gateway.HOLD, enforced=True),
        gateway.Control(name=gateway.SEAL, enforced=True),
        gateway.Control(name=gateway.MASK, enforced=True),
        gateway.Control(name=gateway.FORWARD, enforced=True),
        gateway.Control(name=gateway.REPLICATE, enforced=False, why="ssh has no rows to replicate"),
        gateway.Control(name=gateway.TRUST, enforced=True),
    ],
)


#: How every client begins (RFC 4253 §4.2). Lines before it are the server's privilege.
_VERSION: Final = b"SSH-"


class SshPlugin:
    """Serves SSH clients that come through the relay with a ticket, or directly with a certificate."""

    announcement: gateway.Protocol = ANNOUNCEMENT

    def __init__(self, host_identity: HostIdentity) -> None:
        self._identity = host_identity

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        """Serve a client whose ticket was checked. Returns why it ended: code ``ok``, or a fault's."""

        async def opening(person: login.Person | None, username: str) -> Serving:
            return serving

        return await Connection(opening, self._identity, certificates=False).run(connection)

    def recognise(self, first: bytes) -> bool | More:
        """Recognise a version string."""
        if _VERSION.startswith(first[: len(_VERSION)]):
            return True if len(first) >= len(_VERSION) else More(len(_VERSION))
        return False

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        """Serve a native client, once it has proved a certificate of the gateway."""

        async def opening(person: login.Person | None, username: str) -> Serving:
            assert person is not None, "asked before anybody proved anything"
            if sid:
                return await door.offered(sid, person.certificate)
            target, account = login.requested(username)
            return await door.open(person.certificate, target, account, source_ip)

        await Connection(opening, self._identity, certificates=True, source_ip=source_ip).run(connection)
