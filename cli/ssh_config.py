"""The part of ssh's configuration that sends a target's connections through the gateway.

Every value is a name or a path that ssh, or the shell that ssh starts the ProxyCommand with, would read syntax into. So each one
must match a strict pattern or is refused; escaping is only done where the pattern leaves something to escape (``%`` in paths).

The blocks come first in ``~/.ssh/config``, because ssh takes the first value it finds (ssh_config(5)). A target's name has no
dot, so that none can hide a real host such as ``github.com``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final, NamedTuple

from chalicelib.contracts.api import TargetView
from chalicelib.contracts.faults import Fault
from cli.home import Home, write_atomically

FILE: Final = "sallyport.conf"
_HEADER: Final = "# Written by `sallyport ssh-config --write`; changes are lost the next time it runs.\n"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ALIAS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_LOGIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}")
_PATH: Final = re.compile(r"/[A-Za-z0-9/._+@~%, -]{0,1000}")
_INCLUDE: Final = re.compile(r"\s*include[\s=]+(.*)", re.IGNORECASE)
_SECTION: Final = re.compile(r"\s*(host|match)[\s=]", re.IGNORECASE)
_HOST: Final = re.compile(r"\s*host[\s=]+(.*)", re.IGNORECASE)


class Written(NamedTuple):
    """What ``--write`` did."""

    file: Path
    hosts: list[str]
    included: bool
    """True where the Include line was new."""
    shadowed: list[str]
    """Names that the person's own configuration also has a Host block for."""


def ssh_folder() -> Path:
    """Return where ssh keeps a person's configuration: SALLYPORT_SSH_DIR, else ``~/.ssh``."""
    chosen = os.environ.get("SALLYPORT_SSH_DIR")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".ssh"


def own_command() -> list[str]:
    """Return the command that starts this program from anywhere."""
    started = Path(sys.argv[0])
    found = shutil.which(str(started)) if started.name == "sallyport" else None
    beside = Path(sys.executable).parent / "sallyport"
    if found:
        return [str(Path(found).absolute())]
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "cli"]


def options(target: TargetView, home: Home, command: list[str], *, way: str = "") -> dict[str, str]:
    """Return ssh's options for one target, quoted as ssh_config(5) reads them. Raises Fault(bad_request)."""
    name = _checked(_NAME, target.name, "target's name")
    words = [_shell_word(word) for word in command]
    words += ["connect", "--fdpass", *(["--way", way] if way else []), "--login", "'%r'", name]
    chosen = {
        "HostName": name,
        "HostKeyAlias": _checked(_ALIAS, target.host_alias, "target's host alias"),
        "ProxyCommand": " ".join(words),
        "ProxyUseFdpass": "yes",
        "UserKnownHostsFile": _path(home.known_hosts_file),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "IdentityFile": _path(home.key_file),
        "CertificateFile": _path(home.certificate_file),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ControlMaster": "no",
        "ControlPath": "none",
    }
    if target.logins:
        chosen = {"User": _checked(_LOGIN, target.logins[0], "target's login"), **chosen}
    return chosen


def block(target: TargetView, home: Home, command: list[str]) -> str:
    """Return one Host block."""
    lines = [f"    {name} {value}" for name, value in options(target, home, command).items()]
    return "\n".join([f"Host {target.name}", *lines]) + "\n"


def render(targets: list[TargetView], home: Home, command: list[str]) -> str:
    """Return the whole file: one block for every target that speaks ssh."""
    return "\n".join([_HEADER, *(block(target, home, command) for target in targets if target.protocol == "ssh")])


def write(text: str, folder: Path) -> Written:
    """Store the file and have ``config`` include it first. Does nothing twice; other lines stay as they are."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / FILE, text.encode())
    # A configuration that is kept elsewhere and linked here stays linked.
    config = (folder / "config").resolve()
    before = config.read_text(encoding="utf-8", errors="surrogateescape") if config.exists() else ""
    included = not _includes(before, folder)
    if included:
        mode = config.stat().st_mode & 0o777 if config.exists() else 0o600
        content = f"Include {_include_name(folder)}\n\n{before}" if before else f"Include {_include_name(folder)}\n"
        write_atomically(config, content.encode(errors="surrogateescape"), mode)
    hosts = [line.split(None, 1)[1] for line in text.splitlines() if line.startswith("Host ")]
    return Written(folder / FILE, hosts, included, _shadowed(hosts, before))


def is_written() -> bool:
    """Tell whether ssh already knows of the targets."""
    folder = ssh_folder()
    try:
        return (folder / FILE).exists() and _includes((folder / "config").read_text(errors="replace"), folder)
    except OSError:
        return False


def _include_name(folder: Path) -> str:
    # ssh reads a relative name below ~/.ssh, wherever the including file is.
    return FILE if folder == Path.home() / ".ssh" else _path(folder / FILE)


def _includes(text: str, folder: Path) -> bool:
    """Only a line before the first Host or Match counts: below one, it would hold for some hosts only."""
    wanted = {FILE, str(folder / FILE), f"~/.ssh/{FILE}"}
    for line in text.splitlines():
        if _SECTION.match(line):
            return False
        match = _INCLUDE.match(line)
        if match and wanted & set(match[1].replace('"', "").split()):
            return True
    return False


def _shadowed(hosts: list[str], config: str) -> list[str]:
    theirs = {name for line in config.splitlines() if (match := _HOST.match(line)) for name in match[1].split()}
    return [host for host in hosts if host in theirs]


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise Fault("bad_request", f"The {what} {text[:80]!r} cannot be written into ssh's configuration.")
    return text


def _path(path: Path) -> str:
    """Quote a path for ssh, which expands ``%`` tokens in it."""
    return '"' + _checked(_PATH, str(path), "path").replace("%", "%%") + '"'


def _shell_word(word: str) -> str:
    """Quote a word for the shell that runs a ProxyCommand, which ssh expands ``%`` tokens in first."""
    if not re.fullmatch(r"[A-Za-z0-9/._+@~%, -]{1,1000}", word):
        raise Fault("bad_request", f"The path {word[:80]!r} cannot be written into ssh's configuration.")
    return "'" + word.replace("%", "%%") + "'"
