"""Host keys that were trusted because they came first: ``host-keys.json`` in the state directory, 0600, whole or absent.

    unknown ─ learn ─► learned at one address ─ forget ─► unknown
                          │ another key, another address: refused

There is at most one key of a target, and at most one of an address. Nothing here decides whether a key may be learned; nothing
but :meth:`HostKeys.forget`, which a person calls, takes one back. A file that cannot be used, or that goes away while the agent
runs, is no reason to begin again: whoever could damage it would else choose the next first key.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from agent.runtime.spool import write_whole
from chalicelib.contracts.faults import Fault

FILE: Final = "host-keys.json"
_LOCK: Final = "host-keys.lock"
#: Bytes; a key of 16,384 bits for every target that a gateway may have is less.
_LIMIT: Final = 16 << 20
CODE: Final = "target_host_key"
FORGET: Final = "sallyport-agent host-keys --forget {}"


class Learned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key, and how it came to be trusted."""

    target: str
    address: str
    """``host:port`` where it was shown, as the configuration spelled it."""
    key: str
    """Public key line: the kind, a space, base64."""
    principal: str
    """In whose session, and by whose permission."""
    sid: str
    time_ms: int
    """Unix milliseconds, the control plane's."""

    def __post_init__(self) -> None:
        kind, _, body = self.key.partition(" ")
        if not kind or not base64.b64decode(body, validate=True):
            raise ValueError("not a public key line")

    @property
    def kind(self) -> str:
        """``ssh-ed25519``."""
        return self.key.partition(" ")[0]

    @property
    def fingerprint(self) -> str:
        """``SHA256:…``, as OpenSSH prints it."""
        digest = hashlib.sha256(base64.b64decode(self.key.partition(" ")[2])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1] = 1
    keys: list[Learned]


class HostKeys:
    """The learned keys of one state directory. Every method waits for the disk; several processes may use them."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = state / FILE
        self._existed = self._path.exists()

    def all(self) -> list[Learned]:
        """Return what was learned, by target. Raises Fault(target_host_key) where that cannot be known."""
        with self._locked():
            return sorted(self._read(), key=lambda each: each.target)

    def find(self, target: str, address: str) -> Learned | None:
        """Return the key of ``target`` at ``address``, or None where none was learned yet.

        Raises Fault(target_host_key) where it was learned at another address, or that cannot be known.
        """
        with self._locked():
            return _of(target, address, self._read())

    def learn(self, new: Learned) -> tuple[Learned, bool]:
        """Keep ``new``, on disk when this returns, and return what is kept; True where it is new.

        Raises Fault(target_host_key) where another key came first, or it cannot be kept.
        """
        with self._locked():
            keys = self._read()
            known = _of(new.target, new.address, keys)
            other = next((each for each in keys if each.address == new.address and each.key != new.key), None)
            if other is not None:
                message = (
                    f"Another host key than {new.fingerprint} was learned at {new.address}: {other.kind} {other.fingerprint}."
                )
                raise Fault(CODE, message, hint=_hint(other.target))
            if known is not None:
                return known, False
            self._write([*keys, new])
            return new, True

    def forget(self, target: str) -> Learned | None:
        """Forget the key of ``target``: the next to answer may be its first again. Returns it, or None where there was none."""
        with self._locked():
            keys = self._read()
            found = next((each for each in keys if each.target == target), None)
            if found is not None:
                self._write([each for each in keys if each is not found])
            return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self._state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _unusable(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> list[Learned]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            if self._existed:
                raise _unusable(error) from None
            return []
        except OSError as error:
            raise _unusable(error) from None
        self._existed = True
        with os.fdopen(descriptor, "rb") as file:
            try:
                status = os.fstat(descriptor)
                if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                    raise ValueError("others may change it")
                keys = msgspec.json.decode(file.read(_LIMIT), type=_File).keys
                if len({each.target for each in keys}) < len(keys):
                    raise ValueError("a target has two keys")
            except (OSError, ValueError) as error:
                raise _unusable(error) from None
        return keys

    def _write(self, keys: list[Learned]) -> None:
        try:
            write_whole(self._path, msgspec.json.format(msgspec.json.encode(_File(keys=keys))))
        except OSError as error:
            raise _unusable(error) from None
        self._existed = True


def _of(target: str, address: str, keys: list[Learned]) -> Learned | None:
    known = next((each for each in keys if each.target == target), None)
    if known is not None and known.address != address:
        message = f"The host key of {target} was learned at {known.address}, and it is at {address} now."
        raise Fault(CODE, message, hint=_hint(target))
    return known


def _hint(target: str) -> str:
    return f"Pin its key in gateway.yaml, or on the agent's machine run: {FORGET.format(target)}"


def _unusable(error: Exception) -> Fault:
    message = f"The agent cannot tell which host keys it has learned ({FILE}), so no host is trusted that is not pinned."
    return Fault(CODE, message, hint="The agent's administrators can tell what happened to its state.", detail=str(error))
