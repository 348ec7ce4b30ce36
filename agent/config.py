"""The agent's settings: ``agent.toml``, overridden by ``SALLYPORT_AGENT_*`` in the environment.

Every key is checked, an unknown one is refused (a typing error must not switch a limit off), and an error names the file and key.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from chalicelib.contracts.faults import Fault

DEFAULT_FILE: Final = Path("/etc/sallyport-agent/agent.toml")
DEFAULT_STATE: Final = Path("/var/lib/sallyport-agent")
ENVIRONMENT: Final = "SALLYPORT_AGENT_"


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that an operator decides about one agent."""

    url: str = ""
    """The control plane's API, ``https://…``. Empty: the one that the agent enrolled with."""
    state: Path = DEFAULT_STATE
    """Directory of the agent's keys and its spool."""
    credentials: Path = DEFAULT_STATE / "credentials"
    """Directory with ``NAME.key`` (OpenSSH private key) and ``NAME.password`` files."""
    listen: tuple[str, int] | None = None
    """Where native clients connect, or None for no listener."""
    direct: str = ""
    """``host:port`` as clients reach the listener, or empty."""
    tls_cert: Path | None = None
    """Certificate and chain (PEM) for native TLS clients that verify one; None: they are shown the agent's own key."""
    tls_key: Path | None = None
    """Its private key (PEM, without a passphrase)."""
    max_sessions: int = 200
    min_free_mb: int = 500
    """New sessions are refused while the state directory's disk has less room than this (megabytes); live ones end at half."""
    spool_quota_mb: int = 10_000
    """New sessions are refused while more than this waits to be uploaded (megabytes); live ones end at one and a half times
    as much. 0: no limit but the disk."""

    merge_delay_s: int = 60
    """Seconds that the audit log may take to show a session's opening; past them no session begins here."""

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """Certificate and key of the operator's own, where there are."""
        return (self.tls_cert, self.tls_key) if self.tls_cert is not None and self.tls_key is not None else None


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. ``path`` None means the default file, which need not exist. Raises Fault(config_invalid)."""
    environment = os.environ if environment is None else environment
    return _settings(_from_file(path) | _from_environment(environment))


def for_enrolment(url: str, state: Path) -> Settings:
    """Return settings made of a command line's options alone. Raises Fault(config_invalid)."""
    return _settings({"url": (url, "--url"), "state": (str(state.absolute()), "--state")})


def _settings(values: Mapping[str, tuple[Any, str]]) -> Settings:
    places = {key: place for key, (_, place) in values.items()}
    found: dict[str, Any] = {}
    for key, (value, place) in values.items():
        read = _KEYS.get(key)
        if read is None:
            raise _fault(place, key, f"is not a setting; the settings are {', '.join(sorted(_KEYS))}")
        try:
            found[key] = read(value)
        except ValueError as error:
            raise _fault(place, key, str(error)) from None
    if "state" in found:
        found.setdefault("credentials", found["state"] / "credentials")
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if one in found and other not in found:
            raise _fault(places[one], one, f"needs {other} beside it")
    settings = Settings(**found)
    return _with_direct(settings, places.get("direct", ""))


def _from_file(path: Path | None) -> dict[str, tuple[Any, str]]:
    place = path or DEFAULT_FILE
    try:
        text = place.read_bytes()
    except FileNotFoundError:
        if path is None:
            return {}
        raise Fault("config_invalid", f"{place}: there is no such file.") from None
    except OSError as error:
        raise Fault("config_invalid", f"{place}: cannot be read ({error.strerror}).") from None
    try:
        table = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Fault("config_invalid", f"{place}: is not TOML: {error}.") from None
    return {key: (value, str(place)) for key, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for name, value in environment.items():
        key = name.removeprefix(ENVIRONMENT).lower()
        # Variables that are no setting (SALLYPORT_AGENT_LOG_LEVEL) belong to telemetry, or to the operator's own scripts.
        if name.startswith(ENVIRONMENT) and key in _KEYS:
            number = key in _NUMBERS and value.isascii() and value.isdigit()
            found[key] = (int(value) if number else value, f"${name}")
    return found


def _with_direct(settings: Settings, place: str) -> Settings:
    """Advertise the listener's own address where it is one that clients could reach."""
    if settings.listen is None:
        if settings.direct:
            raise _fault(place, "direct", "needs listen: there is no listener that clients could reach")
        return settings
    host, port = settings.listen
    if settings.direct or port == 0 or host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return settings
    return msgspec.structs.replace(settings, direct=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _url(value: Any) -> str:
    text = _text(value).rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("must be a URL such as https://sallyport.example.com/api")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        raise ValueError("must be https; plain http is accepted for this machine only")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must hold no query, fragment or user name")
    return text


def _path(value: Any) -> Path:
    path = Path(_text(value)).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _address(value: Any) -> tuple[str, int]:
    host, colon, port = _text(value).rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError("must read like host:port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("must put an IPv6 address into brackets: [::1]:2222")
    return host.strip("[]"), int(port)


def _reachable(value: Any) -> str:
    if value == "":
        return ""
    if _address(value)[1] == 0:
        raise ValueError("must name a real port")
    return str(value)


def _listen(value: Any) -> tuple[str, int] | None:
    return None if value == "" else _address(value)


def _count(lowest: int, highest: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or any(ord(letter) < 32 for letter in value):
        raise ValueError("must be text, and not empty")
    return value


def _fault(place: str, key: str, problem: str) -> Fault:
    return Fault("config_invalid", f"{place}: {key} {problem}.")


_KEYS: Final[dict[str, Callable[[Any], Any]]] = {
    "url": _url,
    "state": _path,
    "credentials": _path,
    "listen": _listen,
    "tls_cert": _path,
    "tls_key": _path,
    "direct": _reachable,
    "max_sessions": _count(1, 10_000),
    "min_free_mb": _count(0, 1_000_000),
    "spool_quota_mb": _count(0, 100_000_000),
    "merge_delay_s": _count(10, 86_400),
}
_NUMBERS: Final = frozenset({"max_sessions", "merge_delay_s", "min_free_mb", "spool_quota_mb"})
