"""The processes of the demo: embedded cloud, target, agent; and the people who use them, each with a home of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

import boto3

from infra.demo.database import Database, psql_path
from infra.demo.patience import HANG_S
from infra.demo.ports import free_port
from infra.demo.target import Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
POLICIES = Path(__file__).parent / "gateway" / "policies.cedar"


class Person:
    """One person of the development identity provider, with her own configuration and ssh folders."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}{psql_path()}",
            "SALLYPORT_HOME": str(folder / "sallyport"),
            "SALLYPORT_SSH_DIR": str(folder / "ssh"),
            "LC_ALL": "C.UTF-8",
        }

    def command(self, words: list[str]) -> list[str]:
        """Return ``words`` as they are really run: ssh, scp and sftp read this person's own configuration."""
        if words[0] in {"ssh", "scp", "sftp"}:
            return [words[0], "-F", str(self.folder / "ssh" / "config"), *words[1:]]
        return [str(BIN / words[0]), *words[1:]] if (BIN / words[0]).exists() else words

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as this person and return what it said."""
        return subprocess.run(
            self.command(words), env=self.environment, text=True, capture_output=True, timeout=HANG_S, stdin=subprocess.DEVNULL
        )

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """Start a command as this person and do not wait for it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(words), env=self.environment, text=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    def login(self, url: str) -> subprocess.CompletedProcess[str]:
        """``sallyport login`` with the browser's part played by following the links that it prints."""
        words = self.command(["sallyport", "login", "--url", url, "--no-browser"])
        process = subprocess.Popen(
            words, env=self.environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            address = next((word for word in line.split() if word.startswith(("http://", "https://"))), None)
            if address and "code_challenge=" in address:
                with urllib.request.urlopen(f"{address}&prompt=none&login_hint={quote(self.name)}", timeout=HANG_S) as page:  # noqa: S310
                    page.read()
        return subprocess.CompletedProcess(words, process.wait(timeout=HANG_S), "".join(said), "")


class Stack:
    """Everything that the tour needs. Use as a context manager; all processes end with it, by their own pid.

    With ``direct`` the agent also listens on loopback, so that the command line reaches it without the relay.
    """

    def __init__(self, folder: Path, *, direct: bool = False) -> None:
        self.folder = folder
        self._direct = direct
        self.url = ""
        """The control plane's address, once the cloud is up."""
        self._environment: dict[str, str] = {}
        self.target = Target(folder / "target")
        self.database = Database(folder / "database")
        """Offered as the target prod-db once it was told to start."""
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def bucket(self) -> str:
        """The evidence bucket's name."""
        return self._environment["SALLYPORT_BUCKET"]

    def recordings(self) -> list[tuple[str, int]]:
        """Return key and size of every object under ``recordings/``, in order."""
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="recordings/")
        return [(each["Key"], each["Size"]) for page in pages for each in page.get("Contents", [])]

    def copy_bucket(self, folder: Path) -> None:
        """Do what ``aws s3 sync`` does with the whole evidence bucket, again until nothing was written meanwhile."""
        copied: dict[str, str] = {}
        client, there = self._s3(), self._etags()
        while copied != there:
            for key in there.keys() - {key for key, etag in copied.items() if there.get(key) == etag}:
                file = folder / key
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            copied, there = there, self._etags()

    def _etags(self) -> dict[str, str]:
        pages = self._s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}

    def stored(self, key: str) -> bytes:
        """Return one object of the evidence bucket."""
        return self._s3().get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def _s3(self) -> S3Client:
        of = self._environment
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=of["AWS_ENDPOINT_URL_S3"],
            region_name=of["AWS_REGION"],
            aws_access_key_id=of["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=of["AWS_SECRET_ACCESS_KEY"],
        )
        return client

    def person(self, name: str) -> Person:
        """Return a person of the development identity provider."""
        return Person(name, self.folder / "people" / name)

    def start_cloud(self, *options: str) -> None:
        """Start the embedded cloud, with ``options`` of its own, and wait until it says where it is."""
        state = self.folder / "cloud.json"
        state.unlink(missing_ok=True)
        process = self._start("cloud", [sys.executable, "-m", "infra.local", "--state", str(state), *options])
        _until(state.exists, process, self.folder / "cloud.log")
        said = json.loads(state.read_text())
        self.attach(said["http_url"], said["environment"])

    def attach(self, url: str, environment: dict[str, str]) -> None:
        """Use a cloud that runs already: its address, and the environment that its functions see."""
        self.url, self._environment = url, environment

    def start_agent(self, token: str) -> None:
        """Enrol the agent with its one-time token, give it the target's credential, and start it."""
        home = self.folder / "agent"
        credentials = home / "credentials"
        credentials.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = credentials / "prod-web.key"
        shutil.copyfile(self.target.credential, key)
        key.chmod(0o600)
        if self.database.wanted:
            self.give_password("prod-db", self.database.password)
        state = home / "state"
        config = home / "agent.toml"
        lines = [f'url = "{self.url}"', f'state = "{state}"', f'credentials = "{credentials}"']
        # The log shares this machine with everything else: where it is starved for a minute, nobody hides anything.
        lines += ["merge_delay_s = 600"]
        if self._direct:
            port = free_port()
            lines += [f'listen = "127.0.0.1:{port}"', f'direct = "127.0.0.1:{port}"']
        config.write_text("\n".join(lines) + "\n")
        # The agent's process has no AWS credential of any kind, and the tour checks that.
        enrol = [str(BIN / "sallyport-agent"), "enrol", "--url", self.url, "--token", token, "--state", str(state)]
        subprocess.run(enrol, check=True, capture_output=True, text=True, env=_without_aws())
        self.restart_agent()

    def give_password(self, name: str, password: str) -> None:
        """Put a target's password where the agent finds it."""
        file = self.folder / "agent" / "credentials" / f"{name}.password"
        file.touch(mode=0o600)
        file.write_text(password + "\n")

    def furnish(self, more_targets: str = "") -> Person:
        """With cloud and target up: enrol and start the agent, apply the policies, log alice in. Returns alice, ready for ssh."""
        pat, alice = self.person("pat"), self.person("alice")
        must(pat.login(self.url))
        token = must(pat.run(["sallyport", "agent-token", "edge-1", "--json"])).stdout
        self.start_agent(json.loads(token)["token"])
        self.until_online(pat)
        must(pat.run(["sallyport", "apply", "--yes", str(self.write_gateway(more_targets))]))
        must(alice.login(self.url))
        must(alice.run(["sallyport", "ssh-config", "--write"]))
        return alice

    def until_online(self, admin: Person) -> None:
        """Return when the agent has announced what it speaks. Raises RuntimeError if it never does."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            agents = json.loads(must(admin.run(["sallyport", "agents", "--json"])).stdout)["agents"]
            if any(agent["online"] and agent["protocols"] for agent in agents):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the agent did not come online:\n{(self.folder / 'agent.log').read_text()[-2000:]}")

    def restart_agent(self) -> None:
        """Start the enrolled agent; again, after ``kill_agent``."""
        config = self.folder / "agent" / "agent.toml"
        self._start("agent", [str(BIN / "sallyport-agent"), "run", "--config", str(config)], environment=_without_aws())

    def kill_agent(self) -> None:
        """End the agent as a power cut would."""
        name, process = next(pair for pair in self._processes if pair[0] == "agent")
        process.kill()
        process.wait()
        self._processes.remove((name, process))

    def pid(self, name: str) -> int:
        """Return the process of ``cloud`` or ``agent``."""
        return next(process.pid for known, process in self._processes if known == name)

    def agent_environment(self) -> dict[str, str]:
        """Return the environment of the running agent, read from the system and not from our own memory of it."""
        words = Path(f"/proc/{self.pid('agent')}/environ").read_bytes().decode(errors="replace").split("\0")
        return dict(word.partition("=")[::2] for word in words if word)

    def write_gateway(self, more_targets: str = "") -> Path:
        """Write ``gateway.yaml`` for the target that runs now, beside the demo's policies. Returns the folder.

        ``more_targets`` is YAML, indented by two, that follows it.
        """
        folder = self.folder / "gateway"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(POLICIES, folder / "policies.cedar")
        (folder / "gateway.yaml").write_text(
            "version: 1\n"
            "targets:\n"
            "  prod-web:\n"
            "    description: The shop's web server\n"
            "    protocol: ssh\n"
            "    agent: edge-1\n"
            f"    address: 127.0.0.1:{self.target.port}\n"
            "    tags: [prod]\n"
            "    logins:\n"
            f"      {self.target.account}: {{ credential: prod-web }}\n"
            "    options:\n"
            f'      host_keys: ["{self.target.host_key}"]\n'
            "      shell: guarded\n"
            "      shell_start_s: 30\n"
            "    require: [record]\n"
            "    max_session: 8h\n" + (self.database.target("prod-db") if self.database.wanted else "") + more_targets
        )
        return folder

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _, process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.database.stop()
        self.database.remove()
        self.target.stop()

    def _start(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        self._processes.append((name, process))
        return process


def must(run: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Return ``run`` if it succeeded. Raises RuntimeError with what it said otherwise."""
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, run.args))} failed:\n{run.stdout}{run.stderr}")
    return run


def _without_aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANG_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.02)
