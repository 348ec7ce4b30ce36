"""A real OpenSSH server on loopback: the machine that the tour protects.

It runs with its own host key and configuration and touches nothing of the machine's own sshd. As root it gets a mount namespace
of its own with a fresh /srv, so that the tour can speak of /srv/data without this machine having one; otherwise the data lies in
the demo's own folder. It accepts one key only, which the agent holds and no person ever sees.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from infra.demo.patience import HANG_S
from infra.demo.ports import free_port

FILES = {"customers.csv": "id,name\n1,Ada\n2,Grace\n", "orders.csv": "id,customer\n7,1\n"}


class Target:
    """One sshd. Use as a context manager; ``credential`` is the private key that logs in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = getpass.getuser()
        self.isolated = os.geteuid() == 0 and _can_unshare()
        self.data = Path("/srv/data") if self.isolated else folder / "srv" / "data"
        self.credential = folder / "target_key"
        self.port = 0
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        """The public host key line that the gateway pins."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def start(self) -> None:
        """Make keys and data, and start sshd. Raises RuntimeError with sshd's own words if it does not come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("host_key", "target_key"):
            path = self.folder / name
            if not path.exists():
                _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)])
        (self.folder / "authorized_keys").write_text((self.folder / "target_key.pub").read_text())
        (self.folder / "authorized_keys").chmod(0o600)
        self.port = free_port()
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if sshd is None:
            raise RuntimeError("sshd is not installed; on Debian: apt-get install openssh-server")
        command = [sshd, "-D", "-e", "-f", str(config)]
        if os.geteuid() == 0:
            # sshd as root insists on its privilege separation directory; the service that would make it need not run here.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        if self.isolated:
            command = ["unshare", "--mount", "--", "sh", "-c", self._furnish() + ' && exec "$0" "$@"', *command]
        else:
            self._write_data(self.data)
        log = (self.folder / "sshd.log").open("wb")
        self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        log.close()
        if not _answers(self.port, alive=lambda: self._server is not None and self._server.poll() is None):
            raise RuntimeError(f"the target's sshd did not start:\n{(self.folder / 'sshd.log').read_text()}")

    def intact(self) -> bool:
        """Tell whether the data that policy protects is still there, seen from the target itself."""
        run = self.ask("cat", *(str(self.data / name) for name in FILES))
        return run.returncode == 0 and run.stdout == "".join(FILES.values())

    def last_words(self) -> str:
        """Return the end of sshd's log: why it opened no terminal, where it could not."""
        return " · ".join((self.folder / "sshd.log").read_text(errors="replace").splitlines()[-3:])

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command where the target is, past the gateway."""
        inside = ["nsenter", "--mount", f"--target={self._server.pid}", "--"] if self.isolated and self._server else []
        return subprocess.run([*inside, *words], capture_output=True, text=True)

    def stop(self) -> None:
        """End sshd and whatever runs under it."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(timeout=HANG_S)
            self._server = None

    def __enter__(self) -> Target:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _config(self) -> str:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host_key'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"PidFile {self.folder / 'sshd.pid'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "PrintMotd no",
            "AcceptEnv LANG LC_*",
            # Guarded shells are shown with bash, whatever the account of whoever plays the demo has.
            "SetEnv SHELL=/bin/bash",
            "Subsystem sftp internal-sftp",
            "MaxStartups 100",
            "MaxSessions 100",
        ]
        return "\n".join(lines) + "\n"

    def _furnish(self) -> str:
        source = self.folder / "srv"
        self._write_data(source / "data")
        return f"mount -t tmpfs tmpfs /srv && cp -r '{source}/data' /srv/data"

    @staticmethod
    def _write_data(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in FILES.items():
            (folder / name).write_text(text)


def _can_unshare() -> bool:
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _answers(port: int, alive: Callable[[], bool]) -> bool:
    # sshd says SSH-2.0 as soon as it accepts; each refused try returns at once, so this ends with sshd or with its greeting.
    for _ in range(2_000):
        if not alive():
            return False
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
                return connection.recv(4) == b"SSH-"
        except ConnectionRefusedError:
            time.sleep(0.01)
    return False
