"""Real OpenSSH servers for the SSH suite: the target, and the plain jump host that the gateway is compared with."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.postgres_server import Road, free_port

#: The prompt of every shell here, put together by the shell, so that no typed text looks like it.
PROMPT = b"ready> "
_RC = {
    ".bashrc": "PS1='ready''> '\n",
    ".bash_profile": "PS1='ready''> '\n",
    ".zshrc": "PS1='ready''> '\nunsetopt prompt_sp\n",
    ".config/fish/config.fish": "function fish_prompt; echo -n 'ready''> '; end\nfunction fish_greeting; end\n",
}


@contextlib.contextmanager
def ended_if_interrupted(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End ``process``, for which nobody else is responsible yet, where what is done with it does not come to its end."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def keys(folder: Path) -> None:
    """Make the keys of every server and of everybody who logs in."""
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)], check=True, capture_output=True
        )


def public(folder: Path, name: str) -> str:
    """Return a public key line of :func:`keys`."""
    return " ".join((folder / f"{name}.pub").read_text().split()[:2])


class Sshd(Road):
    """One sshd on loopback with the keys in ``folder``, whose sessions have ``shell``. Ended by its pid."""

    def __init__(self, name: str, folder: Path, *, shell: str = "/bin/bash") -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None:
            raise RuntimeError("sshd is missing: apt-get install openssh-server")
        home, port = folder / "home", free_port()
        for file, text in _RC.items():
            path = home / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "authorized_keys").write_text(public(folder, "user_key") + "\n")
        (folder / "authorized_keys").chmod(0o600)
        config = folder / f"{name}.conf"
        config.write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nAcceptEnv LANG LC_*\n"
            "PrintMotd no\nPrintLastLog no\nMaxStartups 400\nMaxSessions 400\nSubsystem sftp internal-sftp\n"
            f"SetEnv HOME={home} SHELL={shell}\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (folder / f"{name}.log").open("wb") as log:
            command = [program, "-D", "-e", "-f", str(config)]
            super().__init__(name, port, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        assert self._process is not None
        with ended_if_interrupted(self._process):
            answers = self._answers()
        if not answers:
            self.stop()
            raise RuntimeError(f"sshd did not start:\n{(folder / f'{name}.log').read_text()}")

    def _answers(self) -> bool:
        for _ in range(1000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    return True
            time.sleep(0.01)
        return False

    def cpu_s(self) -> float:
        """Seconds of CPU of this sshd and of all its connections that are over: sshd forks for each."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


ACCOUNT = getpass.getuser()
