"""The whole gateway in one test run: the embedded cloud in this process (for chaos), the rest as real programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.demo.stack import Person, Stack
from infra.local.__main__ import load_app
from infra.local.cloud import EmbeddedCloud
from infra.local.ws_connection import Limits

#: Beside prod-web: a target that is down, one with another host key, one without shells, one that nobody may use.
MORE_TARGETS = """
  down:
    protocol: ssh
    agent: edge-1
    address: 127.0.0.1:{closed}
    tags: [prod]
    logins: {{ {account}: {{ credential: prod-web }} }}
    options: {{ host_keys: ["{key}"] }}
  other-key:
    protocol: ssh
    agent: edge-1
    address: 127.0.0.1:{port}
    tags: [prod]
    logins: {{ {account}: {{ credential: prod-web }} }}
    options: {{ host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Uh1X1Gt2kqv4M1mGZPbUqC0dQv1r2Zk3cX5yq0m8B"] }}
  no-shell:
    protocol: ssh
    agent: edge-1
    address: 127.0.0.1:{port}
    tags: [prod]
    logins: {{ {account}: {{ credential: prod-web }} }}
    options: {{ host_keys: ["{key}"] }}
  no-key:
    protocol: ssh
    agent: edge-1
    address: 127.0.0.1:{port}
    tags: [prod]
    logins: {{ {account}: {{ credential: not-there }} }}
    options: {{ host_keys: ["{key}"] }}
  nobody:
    protocol: ssh
    agent: edge-1
    address: 127.0.0.1:{port}
    logins: {{ {account}: {{ credential: prod-web }} }}
    options: {{ host_keys: ["{key}"] }}
"""


@dataclass
class World:
    """Everything that a test may touch."""

    cloud: EmbeddedCloud
    stack: Stack
    alice: Person

    def log(self) -> str:
        """What the agent said."""
        return (self.stack.folder / "agent.log").read_text()


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with EmbeddedCloud(load_app, limits=Limits(idle_s=60.0, duration_s=600.0)) as cloud, Stack(folder, direct=True) as stack:
        stack.target.start()
        stack.attach(cloud.http_url, cloud.environment)
        yield World(cloud, stack, stack.furnish(more_targets(stack)))


def more_targets(stack: Stack) -> str:
    from infra.demo.target import free_port

    target = stack.target
    return MORE_TARGETS.format(closed=free_port(), port=target.port, key=target.host_key, account=target.account)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path
