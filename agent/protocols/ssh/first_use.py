"""Trust on first use, where the target and a rule say so: how a host key becomes known that nobody has pinned.

    pinned? ─ yes ─► known                                              (docs/adr/0034)
       no, and the target says trust_first_host_key
    learned? ─ yes ─► known
       no
    shown ─► decided, recorded ─► on disk ─► told ─► known
    (hang up)

The key is looked at on a connection of its own, which ends before anything is asked for. What follows is the
same connection as to a host whose key was pinned, to this key and no other: no host is logged in to and learned at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from agent.core.units import Asked
from agent.protocols.ssh import engine
from agent.protocols.ssh.algorithms import KEY_LINES
from agent.protocols.ssh.denial import plain
from agent.protocols.ssh.outside import Outside
from agent.protocols.ssh.target import Known, fingerprint, pinned, public, require_key, shown_key
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target

#: Bits of an RSA key that may be learned, at least. Whoever pins a shorter one has looked at it.
LEAST_RSA: Final = 2048


def may_learn(target: Target | None) -> bool:
    """Tell whether ``target`` says that its first host key may be trusted. Pinned keys, or even a list of none, say no."""
    return target is not None and target.options.get("trust_first_host_key") is True and "host_keys" not in target.options


async def known(serving: Serving, outside: Callable[[], Awaitable[Outside]], note: Callable[[bytes], None]) -> Known:
    """Return which host keys are the target's: the pinned ones, the learned one, or the first one where policy permits.

    ``outside`` gives who decides and records; ``note`` has the person told. Raises Fault with a target's code, mostly
    target_host_key, credential_missing, unknown_login or recording_failed.
    """
    target = serving.target
    if not may_learn(target):
        return pinned(target)
    _require_in_force(serving)
    line = await serving.learned_host_key()
    if line is None:
        return await _first(serving, await outside(), note)
    try:
        return Known([public(line)], learned=True)
    except asyncssh.KeyImportError:
        raise Fault("target_host_key", f"The host key that was learned of {target.name} is none.") from None


async def _first(serving: Serving, outside: Outside, note: Callable[[bytes], None]) -> Known:
    target, login = serving.target, serving.claims.login
    # Asked again where it is used; a key that could not be used is not learned.
    require_key(await serving.credential(login), target, login)
    key = await shown_key(target, login)
    line = key.export_public_key().decode().strip()
    _require_modern(line, target)
    await _permitted(serving, outside, key)
    if await serving.learn_host_key(line):
        await outside.record(event="host_key.trusted", key=line, fingerprint=key.get_fingerprint(), address=target.address)
        pin = f'{target.name}, options: {{host_keys: ["{line}"]}}'
        words = (
            f"Trusted the host key of {target.name} because it came first: {fingerprint(key)}. To pin it, in gateway.yaml: {pin}"
        )
        note(f"sallyport: {words} ({serving.claims.sid})\n".encode())
    return Known([key], learned=True)


def _require_modern(line: str, target: Target) -> None:
    try:
        parsed = load_ssh_public_key(line.encode()) if line.startswith(KEY_LINES) else None
    except ValueError:
        parsed = None
    if parsed is None or (isinstance(parsed, RSAPublicKey) and parsed.key_size < LEAST_RSA):
        raise Fault("target_host_key", f"{target.name} shows a host key of a kind that is not trusted unseen.")


async def _permitted(serving: Serving, outside: Outside, key: asyncssh.SSHKey) -> None:
    """Have it decided, and wait for others where policy says so. Raises Fault(target_host_key) for a no."""
    target = serving.target
    operation = engine.trusting(key.get_algorithm(), key.get_fingerprint(), target.address)
    answer = await outside.decide(Asked(operation, operation.text.encode()))
    if not answer.permitted:
        why = plain(answer.words.decode().strip().removeprefix("sallyport: "))
        message = f"No host key of {target.name} is known, and you may not trust its first one ({fingerprint(key)})."
        raise Fault("target_host_key", message, hint=why)
    _require_in_force(serving)


def _require_in_force(serving: Serving) -> None:
    """Raise Fault(target_host_key) where the configuration in force does not say what it said when the session began."""
    target = serving.target
    now = serving.policy.document.target(target.name)
    if now is None or not may_learn(now) or now.address != target.address:
        message = f"The first host key of {target.name} is not trusted any more: its configuration has changed."
        raise Fault("target_host_key", message, hint="Connect again.")
