"""The whole gateway in one test run: the embedded cloud in this process (for chaos), the rest as real programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.demo.ports import free_port
from infra.demo.stack import Person, Stack
from infra.local.__main__ import load_app
from infra.local.chaos import SocketView
from infra.local.cloud import EmbeddedCloud
from infra.local.ws_connection import Limits
from tests.fakes.gateway_yaml import ssh_target

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Uh1X1Gt2kqv4M1mGZPbUqC0dQv1r2Zk3cX5yq0m8B"

#: A rule that listings do not meet, so that a session is refused only when it is asked for.
MORE_POLICIES = """
@id("no-curiosity")
@message("Curiosity is no reason.")
forbid (principal, action == Action::"connect", resource) when { context.reason like "*curious*" };

@id("ask-for-pipes") @message("Pipes need a second pair of eyes.") @approval("group:auditors ttl:10m")
forbid (principal, action == Action::"run", resource == Target::"prod-web") when { context.verbs.contains("mkfifo") }
unless { context.approvals.contains("auditors") };

@id("ask-for-pipes-at-once") @message("In a hurry.") @approval("group:auditors ttl:6s")
forbid (principal, action == Action::"run", resource == Target::"prod-web")
when { context.verbs.contains("mknod") && !(context.text like "*in no hurry*") }
unless { context.approvals.contains("auditors") };

@id("ask-for-pipes-soon") @message("In less of a hurry.") @approval("group:auditors ttl:60s")
forbid (principal, action == Action::"run", resource == Target::"prod-web")
when { context.verbs.contains("mknod") && context.text like "*in no hurry*" }
unless { context.approvals.contains("auditors") };

@id("ask-for-remarks") @message("Remarks need a second pair of eyes.") @approval("group:auditors ttl:10m")
forbid (principal, action == Action::"run", resource == Target::"prod-db") when { context.verbs.contains("COMMENT") }
unless { context.approvals.contains("auditors") };

@id("ask-for-notes") @message("Somebody has to read this note.") @approval("group:auditors ttl:10m")
forbid (principal, action == Action::"run", resource == Target::"prod-db")
when { context.verbs.contains("UPDATE") && context.text like "*from a browser*" }
unless { context.approvals.contains("auditors") };

@id("ask-to-come-in") @message("Somebody has to let you in.") @approval("group:auditors ttl:10m")
forbid (principal, action == Action::"connect", resource) when { context.reason like "*let me in*" }
unless { context.approvals.contains("auditors") };

@id("sre-sees-bytes")
permit (principal in Group::"sre", action == Action::"reveal", resource in Tag::"prod")
when { context.data_class == "binary" };

@id("auditors-unmask") permit (principal in Group::"auditors", action in [Action::"unmask", Action::"erase"], resource);

@id("platform-answers") permit (principal in Group::"platform", action == Action::"approve", resource)
when { context.requester == "carol@example.com" };

@id("bob-looks-on")
permit (principal == User::"bob@example.com", action in [Action::"watch", Action::"kill"], resource in Tag::"prod");

@id("engineers-go-first")
permit (principal in Group::"engineering", action == Action::"emergency", resource == Target::"prod-web");

@id("auditors-answer") permit (principal in Group::"auditors", action == Action::"approve", resource);
"""


def socket_kind(socket: SocketView) -> str:
    """Return what a WebSocket was opened for, as it said itself."""
    return {name.lower(): value for name, value in socket.headers.items()}.get("x-sallyport-socket", "")


@dataclass
class World:
    """Everything that a test may touch."""

    cloud: EmbeddedCloud
    stack: Stack
    alice: Person

    def sockets(self, kind: str) -> list[SocketView]:
        """The WebSockets of one kind that are open, as they said themselves."""
        return [socket for socket in self.cloud.gateway.sockets() if socket_kind(socket) == kind]

    def agent_listens(self) -> bool:
        """Tell whether the agent's control socket is open."""
        return bool(self.sockets("control"))

    def log(self) -> str:
        """What the agent said."""
        return (self.stack.folder / "agent.log").read_text()


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    # Sockets live as long as AWS lets them: an agent replaces its own before that, and one that is cut is away for a moment.
    with EmbeddedCloud(load_app, limits=Limits(idle_s=60.0)) as cloud, Stack(folder, direct=True) as stack:
        stack.database.prepare()
        stack.target.start()
        stack.attach(cloud.http_url, cloud.environment)
        (folder / "gateway").mkdir()
        (folder / "gateway" / "more.cedar").write_text(MORE_POLICIES)
        stack.database.wait()
        alice = stack.furnish(more_targets(stack))
        stack.give_password("wrong-db", f"not {stack.database.password}")
        yield World(cloud, stack, alice)


def more_targets(stack: Stack) -> str:
    """Beside prod-web: a target that is down, one with another host key, one without shells, one that nobody may use.

    Beside prod-db: one that is down, one whose password is wrong, one without a password. And of both, one that keeps originals,
    and a database whose originals are erased.
    """
    port, key, account = stack.target.port, stack.target.host_key, [stack.target.account]
    database = stack.database
    return "".join(
        [
            ssh_target("down", free_port(), key, account),
            ssh_target("other-key", port, OTHER_KEY, account),
            ssh_target("no-shell", port, key, account),
            ssh_target("no-key", port, key, account, credential="not-there"),
            ssh_target("nobody", port, key, account, tags=[]),
            database.target("down-db", address=f"127.0.0.1:{free_port()}"),
            database.target("wrong-db", credential="wrong-db"),
            database.target("no-password", credential="not-there"),
            ssh_target("sealed-web", port, key, account, originals="sealed"),
            database.target("sealed-db") + "    originals: sealed\n",
            database.target("erased-db") + "    originals: sealed\n",
        ]
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path
