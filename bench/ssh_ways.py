"""The ways to one target that the SSH suite compares, each started when it is first asked for and ended by its pid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cores import pin, workers_on
from bench.measure import DIRECT
from bench.postgres_server import Road
from bench.ssh_gateway import Layers, masks
from bench.ssh_server import ACCOUNT, Sshd, ended_if_interrupted, keys, public
from bench.ways import Way

JUMP = "ssh -J, a plain OpenSSH host"
PASS, RECORDED, GUARDED, MASKED = "gateway, pass-through", "gateway, recorded", "gateway, guarded", "gateway, masked"
_LAYERS: dict[str, Layers] = {PASS: "pass-through", RECORDED: "recorded", GUARDED: "guarded", MASKED: "masked"}


@dataclass(frozen=True)
class SshWay(Way):
    """One way, and the process to blame for it (none for the direct one)."""

    road: Road | None = None

    def cpu_s(self) -> float:
        """Seconds of CPU that this way has used."""
        return self.road.cpu_s() if self.road is not None else 0.0


class Ways:
    """The target, and everything that leads to it. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, Sshd] = {}
        self._ways: dict[str, SshWay] = {}
        self._roads: list[Road] = []
        keys(folder)

    def __enter__(self) -> Ways:
        return self

    def __exit__(self, *_: object) -> None:
        for road in reversed(self._roads):
            road.stop()

    def all(self, *names: str) -> list[SshWay]:
        """Return several ways; ``MASKED`` only where the plug-in masks."""
        return [self.way(name) for name in names if name != MASKED or masks()]

    def way(self, name: str, shell: str = "bash") -> SshWay:
        """Return one way to a target with that login shell."""
        known = f"{name}, {shell}"
        if known not in self._ways:
            self._ways[known] = self._start(name, self._sshd(shell), fresh=known.replace(" ", "-").replace(",", ""))
        return self._ways[known]

    def fresh(self, name: str) -> SshWay:
        """Return a way whose process has served nobody yet."""
        return self._start(name, self._sshd("bash"), fresh=f"fresh-{len(self._roads)}")

    @contextmanager
    def one_core(self) -> Iterator[None]:
        """Everything that runs, all that it starts, and what the kernel does for it, on one core for a while."""
        before = os.sched_getaffinity(0)
        core = min(before)
        self._pin({core})
        try:
            with workers_on(core):
                yield
        finally:
            self._pin(before)

    def _pin(self, cores: set[int]) -> None:
        pin([os.getpid(), *(road.pid for road in self._roads)], cores)

    def _sshd(self, shell: str) -> Sshd:
        if shell not in self._servers:
            path = shutil.which(shell)
            assert path is not None, shell
            self._servers[shell] = server = Sshd(f"target-{shell}", self.folder, shell=path)
            self._roads.append(server)
        return self._servers[shell]

    def _start(self, name: str, target: Sshd, *, fresh: str) -> SshWay:
        place = self.folder / fresh
        place.mkdir()
        if name == DIRECT:
            return _way(name, place, _host(target.port, self._known(place, target.port), self.folder))
        if name == JUMP:
            hop = Sshd("jump", self.folder)
            self._roads.append(hop)
            known = self._known(place, target.port, hop.port)
            hosts = _host(target.port, known, self.folder, "  ProxyJump jump\n") + _host(
                hop.port, known, self.folder, name="jump"
            )
            return _way(name, place, hosts, hop)
        road = _gateway(name, target.port, self.folder, place)
        self._roads.append(road)
        known = place / "known_hosts"
        known.write_text(f"[127.0.0.1]:{road.port} {(place / 'host_key.pub').read_text()}")
        return _way(name, place, _host(road.port, known, self.folder), road)

    def _known(self, place: Path, *ports: int) -> Path:
        path = place / "known_hosts"
        path.write_text("".join(f"[127.0.0.1]:{port} {public(self.folder, 'host_key')}\n" for port in ports))
        return path


def _way(name: str, place: Path, config: str, road: Road | None = None) -> SshWay:
    (place / "config").write_text(config)
    return SshWay(name, ("-F", str(place / "config")), "bench", dict(os.environ) | {"LC_ALL": "C.UTF-8", "TERM": "xterm"}, road)


def _host(port: int, known: Path, folder: Path, more: str = "", *, name: str = "bench") -> str:
    # The gateway negotiates this cipher first; the comparison is of gateways, not of ciphers.
    return (
        f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User {ACCOUNT}\n  IdentityFile {folder}/user_key\n"
        f"  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n"
        f"  BatchMode yes\n  LogLevel ERROR\n  ControlPath none\n  Ciphers aes128-gcm@openssh.com\n{more}"
    )


def _gateway(name: str, port: int, folder: Path, place: Path) -> Road:
    command = [sys.executable, "-m", "bench.ssh_gateway", _LAYERS[name], str(port), str(folder), str(place)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    with ended_if_interrupted(process):
        said = process.stdout.readline()
    if not said:
        raise RuntimeError(f"{name} did not start: exit status {process.wait()}")
    return _Gateway(name, int(said), process)


class _Gateway(Road):
    """The plug-in's process, whose CPU is told in nanoseconds."""

    def cpu_s(self) -> float:
        """Seconds of CPU of all threads that live. None of the agent's end before it does."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
