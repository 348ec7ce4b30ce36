"""The folder where a login lives: ``~/.config/sallyport``, readable by its owner only.

    trust.json          the gateway's address and keys; stays after logout
    known_hosts         one line for ssh: the gateway's CA may vouch for every ``*.sallyport``
    id_ed25519          a key made for this login; its private half never leaves this folder
    id_ed25519-cert.pub the gateway's certificate for it
    session.json        the access token; written last, so it exists only when everything else does
    roots/TARGET.pem    what a client that knows PostgreSQL alone may know the target's agent by

Every write is atomic (a new file, then a rename). A secret that others could read or write is refused, like ssh does.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from chalicelib.contracts.faults import Fault
from cli.moments import clock, now_ms

_FILE_LIMIT: Final = 256 * 1024
_PUBLIC_KEY: Final = re.compile(r"((?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]{40,2000}={0,2})(?: [^\r\n]*)?")
_LOGIN_HINT: Final = "Run: sallyport login"


class SavedTrust(msgspec.Struct, kw_only=True, frozen=True):
    """``trust.json``: which gateway this is, and what to trust it by."""

    url: str
    issuer: str
    ssh_ca: str
    token_key: dict[str, str]
    websocket_url: str


class SavedLogin(msgspec.Struct, kw_only=True, frozen=True):
    """``session.json``: a login. ``expires_ms`` is Unix milliseconds."""

    url: str
    token: str
    principal: str
    groups: list[str]
    expires_ms: int


_S = TypeVar("_S", SavedTrust, SavedLogin)


class Home:
    """The folder, and everything that is read from it or written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.session_file = path / "session.json"
        self.trust_file = path / "trust.json"
        self.key_file = path / "id_ed25519"
        self.certificate_file = path / "id_ed25519-cert.pub"
        self.known_hosts_file = path / "known_hosts"

    @classmethod
    def find(cls) -> Home:
        """Return the folder of this user: SALLYPORT_HOME, else below XDG_CONFIG_HOME, else below ``~/.config``."""
        if chosen := os.environ.get("SALLYPORT_HOME"):
            return cls(Path(chosen).expanduser().absolute())
        config = os.environ.get("XDG_CONFIG_HOME", "")
        # The XDG specification says that a relative path is invalid and must be ignored.
        base = Path(config) if config.startswith("/") else Path.home() / ".config"
        return cls(base / "sallyport")

    def login(self) -> SavedLogin:
        """Return the login, or raise Fault(login_required | token_expired | token_invalid)."""
        login = self._load(self.session_file, SavedLogin)
        if login is None:
            raise Fault("login_required", "You are not logged in.", hint=_LOGIN_HINT)
        if login.expires_ms <= now_ms():
            raise Fault("token_expired", f"Your login ended at {clock(login.expires_ms)}.", hint=_LOGIN_HINT)
        return login

    def saved_login(self) -> SavedLogin | None:
        """Return the login even if it has expired, or None."""
        return self._load(self.session_file, SavedLogin)

    def trust(self) -> SavedTrust | None:
        """Return the gateway of the last login, or None."""
        return self._load(self.trust_file, SavedTrust)

    def save(self, trust: SavedTrust, login: SavedLogin, private_key: bytes, certificate: str) -> None:
        """Store a login. Until the last file is in place there is none."""
        self._prepare()
        self.session_file.unlink(missing_ok=True)
        self.trust_file.unlink(missing_ok=True)
        write_atomically(self.key_file, private_key)
        write_atomically(self.certificate_file, certificate.strip().encode() + b"\n")
        write_atomically(self.known_hosts_file, known_hosts_line(trust.ssh_ca).encode())
        write_atomically(self.trust_file, _json(trust))
        write_atomically(self.session_file, _json(login))

    def keep_root(self, target: str, root: bytes) -> Path:
        """Keep the root, in PEM, of the agent that serves ``target``, and return where: a client's settings may name the file."""
        self._prepare()
        (self.path / "roots").mkdir(mode=0o700, exist_ok=True)
        file = self.path / "roots" / f"{target}.pem"
        write_atomically(file, root, 0o644)
        return file

    def forget(self) -> None:
        """Remove the login and its key; what is public stays."""
        for file in (self.session_file, self.key_file, self.certificate_file):
            file.unlink(missing_ok=True)

    def _prepare(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def _load(self, file: Path, kind: type[_S]) -> _S | None:
        text = read_private(file)
        if text is None:
            return None
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError:
            raise Fault("token_invalid", f"{file} cannot be read as a login.", hint=_LOGIN_HINT) from None


def read_private(file: Path) -> bytes | None:
    """Return the content of a secret file, or None if there is none. Raises Fault(token_invalid) if it is not only ours."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Fault("token_invalid", f"{file} cannot be opened: {error.strerror}.") from None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Fault("token_invalid", f"{file} is not a regular file.")
        if status.st_uid != os.geteuid():
            raise Fault("token_invalid", f"{file} belongs to another user.")
        if status.st_mode & 0o077:
            hint = f"Others may have seen it: run sallyport logout and sallyport login (or: chmod 600 {file})"
            raise Fault(
                "token_invalid", f"{file} can be used by others on this machine (mode {status.st_mode & 0o777:o}).", hint=hint
            )
        return stream.read(_FILE_LIMIT)


def write_atomically(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace ``file`` by ``content`` in one step; a reader sees the old file or the new one, whole."""
    import tempfile  # it brings a dozen modules along, and ssh waits for every import of this program

    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def public_key(line: str) -> str:
    """Return an OpenSSH public key line without its comment. Raises Fault(login_failed) for anything else."""
    match = _PUBLIC_KEY.fullmatch(line.strip())
    if match is None:
        raise Fault("login_failed", "The gateway's SSH key is not one that ssh understands.")
    return match[1]


def known_hosts_line(ssh_ca: str) -> str:
    """Return the one line of the known-hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""
    return f"@cert-authority *.sallyport {public_key(ssh_ca)}\n"


def _json(value: SavedTrust | SavedLogin) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
