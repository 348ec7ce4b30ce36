"""The targets' credentials: files on the agent's own disk, ``NAME.key`` (OpenSSH private key) and ``NAME.password``.

They are read when they are needed, so that replacing a file is all that rotation takes. They never leave the process.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final, Literal

from agent.runtime.serving import Credential
from chalicelib.contracts.faults import Fault

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SUFFIXES: Final[dict[str, Literal["ssh-key", "password"]]] = {".key": "ssh-key", ".password": "password"}
_LIMIT: Final = 64 * 1024


class CredentialFolder:
    """The credentials in one directory. Every read checks that nobody but the agent's user can read them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of the credentials, sorted. An absent directory holds none. Raises Fault(config_invalid)."""
        if not self._path.exists():
            return []
        _refuse_readable(self._path)
        found = set()
        for path in self._path.iterdir():
            if path.suffix in _SUFFIXES and _NAME.fullmatch(path.stem):
                _refuse_readable(path)
                found.add(path.stem)
        return sorted(found)

    def read(self, name: str) -> Credential:
        """Return the credential ``name``; a key is preferred to a password. Raises Fault(credential_missing)."""
        if not _NAME.fullmatch(name):
            raise Fault("credential_missing", "The target names a credential that no agent could hold.", detail=repr(name))
        for suffix, kind in _SUFFIXES.items():
            path = self._path / f"{name}{suffix}"
            try:
                _refuse_readable(self._path)
                _refuse_readable(path)
                with path.open("rb") as file:
                    secret = file.read(_LIMIT)
            except FileNotFoundError:
                continue
            except (OSError, Fault) as error:
                raise Fault("credential_missing", "The agent cannot use the target's credential.", detail=str(error)) from None
            return Credential(kind, secret if kind == "ssh-key" else secret.rstrip(b"\r\n"))
        raise Fault("credential_missing", "The agent does not hold the target's credential.", detail=name)


def _refuse_readable(path: Path) -> None:
    mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Fault(
            "config_invalid",
            f"{path}: may be used by others (mode {stat.S_IMODE(mode):04o}), so it is not used at all.",
            hint=f"chmod {'700' if path.is_dir() else '600'} {path}",
        )
