"""Targets as ``gateway.yaml`` writes them, for worlds that add some of their own to the demo's."""

from __future__ import annotations

import json
from collections.abc import Sequence


def ssh_target(
    name: str,
    port: int,
    host_key: str,
    logins: Sequence[str],
    *,
    credential: str = "prod-web",
    tags: Sequence[str] = ("prod",),
    shell: str | Sequence[str] = "",
    require: Sequence[str] = (),
    originals: str = "",
    forward: Sequence[str] = (),
) -> str:
    """Return an SSH target on this machine that edge-1 serves, indented by two. The first login is the default.

    Without a ``host_key``, its first one is trusted.
    """
    # JSON is YAML: names and keys need no thought about quotes.
    modes = shell if isinstance(shell, str) else list(shell)
    options = (
        ({"host_keys": [host_key]} if host_key else {"trust_first_host_key": True})
        | ({"shell": modes, "shell_start_s": 60} if modes else {})
        | ({"forward": list(forward)} if forward else {})
    )
    settings = {
        "protocol": "ssh",
        "agent": "edge-1",
        "address": f"127.0.0.1:{port}",
        "tags": list(tags),
        "default_login": logins[0],
        "logins": {login: {"credential": credential} for login in logins},
        "options": options,
        "require": list(require),
    } | ({"originals": originals} if originals else {})
    return f"  {name}:\n" + "".join(f"    {setting}: {json.dumps(value)}\n" for setting, value in settings.items())
