"""The whole gateway for attacks: cloud, agent, a real sshd, a hostile one, a real PostgreSQL, and people. One per test process.

The embedded cloud runs as a program of its own, so that this world can live beside another one in the same process.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import boto3

from infra.demo.stack import Person, Stack, must
from tests.bypass.hostile import HostileTarget
from tests.bypass.http import Answer, ask
from tests.fakes.chunks import text_of
from tests.fakes.gateway_yaml import ssh_target
from tests.patience import HANG_S, until

#: Beside the demo's rules: everything may be run on the hostile target, and one place may not be touched by file transfers.
RULES = """
@id("everything-on-hostile")
permit (principal in Group::"sre", action in [Action::"run", Action::"transfer"], resource in Tag::"hostile");

@id("bob-looks-on")
permit (principal == User::"bob@example.com", action == Action::"watch", resource in Tag::"prod");

@id("pat-ends")
permit (principal == User::"pat@example.com", action == Action::"kill", resource in Tag::"prod");

@id("vault-is-closed")
@message("The vault is closed.")
forbid (principal, action == Action::"transfer", resource)
when {{ context.objects.contains("{vault}") || context.objects.contains("{vault}/key") }};

@id("who-builds-may-be-first")
permit (principal == User::"alice@example.com", action == Action::"trust_host_key", resource in Tag::"unpinned");

@id("bob-comes-second")
permit (principal == User::"bob@example.com", action in [Action::"connect", Action::"run"], resource in Tag::"unpinned");

@id("on-from-jump")
permit (principal in Group::"sre", action == Action::"forward", resource in Tag::"jump");
"""


@dataclass
class World:
    """Everything that an attack may touch."""

    stack: Stack
    hostile: HostileTarget
    people: dict[str, Person] = field(default_factory=dict)

    @property
    def alice(self) -> Person:
        return self.people["alice"]

    @property
    def account(self) -> str:
        return self.stack.target.account

    @property
    def vault(self) -> Path:
        return self.stack.folder / "files" / "vault"

    @property
    def gateway(self) -> Path:
        return self.stack.folder / "gateway"

    def log(self, name: str = "agent") -> str:
        """Return what the agent (or the cloud) said."""
        return (self.stack.folder / f"{name}.log").read_text()

    def run(self, *words: str, who: str = "alice", fed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command as somebody, with this on its standard input."""
        person = self.people[who]
        return subprocess.run(
            person.command(list(words)),
            env=person.environment | environment,
            input=fed,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANG_S,
        )

    def saved(self, who: str = "alice") -> dict[str, Any]:
        """Return what a person's login left on her machine."""
        found: dict[str, Any] = json.loads((self.home(who) / "session.json").read_text())
        return found

    def home(self, who: str = "alice") -> Path:
        return Path(self.people[who].environment["SALLYPORT_HOME"])

    def api(self, method: str, path: str, body: Any = None, *, who: str = "alice") -> Answer:
        """Call the HTTP API as somebody."""
        return ask(self.stack.url, method, path, body, f"Bearer {self.saved(who)['token']}")

    def offer(self, target: str = "prod-web", *, who: str = "alice", **more: str) -> dict[str, Any]:
        status, offered = self.api("POST", "/sessions", {"target": target, **more}, who=who)
        assert status == 200, offered
        return offered

    def listener(self) -> tuple[str, int]:
        """Return where the agent listens for native clients."""
        way = next(way["address"] for way in self.offer()["ways"] if way["kind"] == "direct")
        host, _, port = way.rpartition(":")
        return host, int(port)

    def credentials(self, who: str = "alice") -> list[Any]:
        """Return a person's key and certificate, as asyncssh takes them."""
        home = self.home(who)
        key = asyncssh.read_private_key(home / "id_ed25519")
        return [(key, asyncssh.read_certificate(home / "id_ed25519-cert.pub"))]

    async def connect(
        self, target: str = "prod-web", *, login: str = "", who: str = "alice", **options: Any
    ) -> asyncssh.SSHClientConnection:
        """Return a native client's connection, straight to the agent's listener."""
        host, port = await asyncio.to_thread(self.listener)
        return await asyncssh.connect(
            host,
            port,
            config=None,
            known_hosts=None,
            agent_path=None,
            username=f"{login}+{target}" if login else target,
            client_keys=options.pop("client_keys", None) or self.credentials(who),
            **options,
        )

    def agent_rss(self) -> int:
        """Return the agent's resident memory, in bytes."""
        status = Path(f"/proc/{self.stack.pid('agent')}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def aws(self, service: str) -> Any:
        """Return a client of the embedded AWS, with the control plane's own rights."""
        of = self.stack._environment
        endpoint = of.get(f"AWS_ENDPOINT_URL_{service.upper()}") or of["AWS_ENDPOINT_URL"]
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=of["AWS_REGION"],
            aws_access_key_id=of["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=of["AWS_SECRET_ACCESS_KEY"],
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return every row of every table."""
        dynamodb = self.aws("dynamodb")
        found = []
        for table in dynamodb.list_tables()["TableNames"]:
            for page in dynamodb.get_paginator("scan").paginate(TableName=table):
                found += page["Items"]
        return found

    def recorded(self, sid: str) -> list[str]:
        """Return the lines of a session's chunks that are stored by now, in their order."""
        s3, lines = self.aws("s3"), []
        for key, _ in self.stack.recordings():
            if sid in key and key.endswith(".zst"):
                body = s3.get_object(Bucket=self.stack.bucket, Key=key)["Body"].read()
                lines += text_of(body).decode().splitlines()
        return lines

    def sessions(self, who: str = "alice", **query: str) -> list[dict[str, Any]]:
        """Return the sessions that somebody sees, newest first."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        status, page = self.api("GET", f"/sessions?limit=200&{words}", who=who)
        assert status == 200, page
        return list(page["sessions"])

    async def over(self, sid: str) -> dict[str, Any]:
        """Return a session when it is over and its recording is stored."""

        def ended() -> dict[str, Any]:
            status, session = self.api("GET", f"/sessions/{sid}", who="alice")
            assert status == 200, session
            return {} if session["state"] in ("offered", "live") else dict(session)

        return await asyncio.to_thread(until, ended, f"{sid} ends")

    def restore(self) -> None:
        """Put the world's own configuration in force again."""
        must(self.people["pat"].run(["sallyport", "apply", "--yes", str(self.gateway)]))


def furnish(world: World) -> None:
    """Start everything but the hostile target, which runs already."""
    stack = world.stack
    stack.database.prepare()
    stack.target.start()
    stack.start_cloud()
    stack.database.wait()
    world.people["alice"] = stack.furnish(more_targets(world))
    world.vault.mkdir(parents=True)
    (world.vault / "key").write_text("the vault's key\n")
    rules = world.gateway / "policies.cedar"
    rules.write_text(rules.read_text() + RULES.format(vault=world.vault))
    for name in ("bob", "carol", "pat", "mallory"):
        world.people[name] = stack.person(name)
        must(world.people[name].login(stack.url))
    world.restore()


def more_targets(world: World) -> str:
    """Beside prod-web: one without shells, the hostile one with a login for each of its behaviours, and one that is no sshd."""
    target, hostile = world.stack.target, world.hostile
    behaviours = sorted(hostile.behaviours, key=lambda name: (name != "calm", name))
    return "".join(
        [
            ssh_target("no-shell", target.port, target.host_key, [target.account]),
            ssh_target("hostile", hostile.port, hostile.host_key, behaviours, tags=["prod", "hostile"], shell="recorded"),
            ssh_target(
                "jump",
                target.port,
                target.host_key,
                [target.account],
                tags=["prod", "jump"],
                forward=[f"127.0.0.1:{target.port}"],
            ),
            ssh_target("unpinned", target.port, "", [target.account], tags=["prod", "unpinned"]),
            ssh_target("raw", hostile.raw_port, hostile.host_key, ["raw"]),
        ]
    )
