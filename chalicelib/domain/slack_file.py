"""The ``slack`` part of ``gateway.yaml``: which workspace may answer requests, and who its members are here.

slack:
  team: T0123ABCD
  users:
    U0123ABCD: bob@example.com

It stands beside the policies because it is one: whoever is named here answers as that person. It is read from its own node; what
is wrong with the rest of the file is told by ``gateway_file``.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from chalicelib.contracts.api import Problem
from chalicelib.contracts.gateway import SlackPeople
from chalicelib.domain.gateway_file import FILE
from chalicelib.domain.yaml_lines import Reader, Refusal, compose

USERS_LIMIT: Final = 2_000
_TEAM: Final = re.compile(r"[TE][A-Z0-9]{2,20}")
_USER: Final = re.compile(r"[UW][A-Z0-9]{2,20}")
_KNOWN: Final = frozenset({"team", "users"})


def parse(text: str, file: str = FILE) -> tuple[SlackPeople | None, list[Problem]]:
    """Return the workspace, if the file names one, and every problem with it."""
    try:
        root = compose(file, text)
    except Refusal:
        return None, []
    if not isinstance(root, yaml.MappingNode):
        return None, []
    part = next((value for key, value in root.value if isinstance(key, yaml.ScalarNode) and key.value == "slack"), None)
    if part is None:
        return None, []
    reader = Reader(file)
    found = _read(reader, part)
    return (None if reader.problems else found), reader.problems


def _read(reader: Reader, node: yaml.Node) -> SlackPeople:
    fields = reader.mapping(node, "slack")
    reader.known(fields, _KNOWN, "slack")
    team = reader.text(fields["team"][1], "team of slack") if "team" in fields else ""
    if not _TEAM.fullmatch(team):
        reader.complain(fields["team"][1] if "team" in fields else node, "slack needs team, the workspace's identifier (T…)")
    users: dict[str, str] = {}
    entries = reader.mapping(fields["users"][1], "users of slack") if "users" in fields else {}
    if len(entries) > USERS_LIMIT:
        reader.complain(fields["users"][0], f"more than {USERS_LIMIT} users")
        return SlackPeople(team=team, users={})
    for user, (key, value) in entries.items():
        if not _USER.fullmatch(user):
            reader.complain(key, f"not a Slack user's identifier (U…): {user[:80]!r}")
        if who := reader.text(value, f"slack user {user[:80]}"):
            users[user] = who
    return SlackPeople(team=team, users=users)
