"""``gateway.yaml``: the targets, parsed with lines and checked for shape. What agents can do is checked in ``enforcement``.

version: 1
targets:
  prod-web-1:
    protocol: ssh
    agent: edge
    address: 10.0.3.7:22
    tags: [prod]
    description: front end
    logins: {deploy: {credential: prod-web-key}}
    default_login: deploy
    options: {shell: commands}
    require: [block, hold]
    max_session: 8h
    originals: sealed
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final, Literal, cast

import msgspec
import yaml

from chalicelib.contracts.api import Problem
from chalicelib.contracts.gateway import CONTROLS, Login, Target
from chalicelib.contracts.retention import DAYS_LIMIT, Mode, Wish
from chalicelib.domain.yaml_lines import Reader, Refusal, compose, line

FILE: Final = "gateway.yaml"
TARGET_LIMIT: Final = 2_000
#: OpenSSH reads at most 256 principals in a certificate, and an agent's host certificate names each of its targets.
TARGETS_PER_AGENT: Final = 256
MAX_SESSION_S: Final = 24 * 3600
DEFAULT_SESSION_S: Final = 8 * 3600

NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/=-]{0,63}")
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.(?!-)[A-Za-z0-9-]{1,63})*")
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<host>[^:\[\]]{1,253})):(?P<port>[0-9]{1,5})")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smh])")
_MODES: Final = ("COMPLIANCE", "GOVERNANCE")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600}

_TOP: Final = frozenset({"version", "targets", "slack"})
_TARGET: Final = frozenset(
    {
        "protocol",
        "agent",
        "address",
        "tags",
        "description",
        "logins",
        "default_login",
        "options",
        "require",
        "max_session",
        "originals",
        "retention",
    }
)


class Placed(msgspec.Struct, frozen=True):
    """A target and the lines that speak of it: ``""`` for its name, ``options.shell`` for an option, and so on."""

    target: Target
    lines: dict[str, int]

    def line(self, *path: str) -> int:
        """Return the line of the most exact part of ``path`` that was written down."""
        for end in range(len(path), 0, -1):
            if (found := self.lines.get(".".join(path[:end]))) is not None:
                return found
        return self.lines[""]


def parse(text: str, file: str = FILE) -> tuple[list[Placed], list[Problem]]:
    """Return the targets in the order of the file, and every problem. Targets with problems are left out."""
    reader = Reader(file)
    try:
        root = compose(file, text)
    except Refusal as refusal:
        return [], [refusal.problem]
    fields = reader.mapping(root, "the file")
    reader.known(fields, _TOP, "the file")
    _check_version(reader, root, fields)
    if "targets" not in fields:
        reader.complain(root, "targets is missing")
        return [], reader.problems
    entries = reader.mapping(fields["targets"][1], "targets")
    if len(entries) > TARGET_LIMIT:
        reader.complain(fields["targets"][0], f"more than {TARGET_LIMIT} targets")
        return [], reader.problems
    found = [placed for name, (key, node) in entries.items() if (placed := _target(reader, name, key, node))]
    _check_agents(reader, found)
    return found, reader.problems


def _check_version(reader: Reader, root: yaml.Node, fields: dict[str, tuple[yaml.Node, yaml.Node]]) -> None:
    if "version" not in fields:
        reader.complain(root, "version is missing; this gateway reads version: 1")
    elif reader.value(fields["version"][1], "version") not in (1, None):
        reader.complain(fields["version"][1], "this gateway reads version: 1")


def _check_agents(reader: Reader, targets: list[Placed]) -> None:
    counts: dict[str, int] = {}
    for placed in targets:
        counts[placed.target.agent] = counts.get(placed.target.agent, 0) + 1
        if counts[placed.target.agent] == TARGETS_PER_AGENT + 1:
            message = f"agent {placed.target.agent} has more than {TARGETS_PER_AGENT} targets; run a second agent"
            reader.problems.append(Problem(reader.file, placed.line("agent"), message))


class _Entry:
    """One target's mapping while it is read."""

    def __init__(self, reader: Reader, name: str, key: yaml.Node, node: yaml.Node) -> None:
        self.reader, self.name, self.key = reader, name, key
        self.what = f"target {name}"
        self.fields = reader.mapping(node, self.what)
        self.lines = {"": line(key)} | {field: line(at) for field, (at, _) in self.fields.items()}

    def node(self, field: str) -> yaml.Node | None:
        return self.fields[field][1] if field in self.fields else None

    def text(self, field: str, *, required: bool = True, limit: int = 256) -> str:
        node = self.node(field)
        if node is not None and not (required and node.value == ""):
            return self.reader.text(node, f"{field} of {self.what}", limit)
        if required:
            self.reader.complain(self.key, f"{self.what} needs {field}")
        return ""

    def name_of(self, field: str) -> str:
        text = self.text(field)
        if text and not NAME.fullmatch(text):
            self.reader.complain(self.node(field), f"{field} must be lower-case letters, digits and dashes, at most 63")
        return text


def _target(reader: Reader, name: str, key: yaml.Node, node: yaml.Node) -> Placed | None:
    before = len(reader.problems)
    if not NAME.fullmatch(name):
        reader.complain(key, f"a target's name is lower-case letters, digits and dashes, at most 63, not {name[:80]!r}")
        return None
    entry = _Entry(reader, name, key, node)
    reader.known(entry.fields, _TARGET, entry.what)
    logins = _logins(entry)
    target = Target(
        name=name,
        protocol=entry.name_of("protocol"),
        agent=entry.name_of("agent"),
        address=_address(entry),
        logins=logins,
        default_login=_default_login(entry, logins),
        tags=_tags(entry),
        options=_options(entry),
        require=_require(entry),
        max_session_s=_max_session(entry),
        originals=_originals(entry),
        description=entry.text("description", required=False),
        retention=_retention(entry),
    )
    return Placed(target, entry.lines) if len(reader.problems) == before else None


def _address(entry: _Entry) -> str:
    text = entry.text("address")
    if not text:
        return ""
    match = _ADDRESS.fullmatch(text)
    if (
        match is None
        or not 0 < int(match["port"]) < 65536
        or not (_is_v6(match["v6"]) if match["v6"] else _HOST.fullmatch(match["host"]))
    ):
        entry.reader.complain(entry.node("address"), "address must read like host:22, 10.0.0.1:22 or [2001:db8::1]:22")
    return text


def _is_v6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _logins(entry: _Entry) -> dict[str, Login]:
    node = entry.node("logins")
    if node is None:
        entry.reader.complain(entry.key, f"{entry.what} needs logins")
        return {}
    found = {}
    for account, (key, value) in entry.reader.mapping(node, f"logins of {entry.what}").items():
        entry.lines[f"logins.{account}"] = line(key)
        if not _ACCOUNT.fullmatch(account):
            entry.reader.complain(key, f"not an account name: {account[:80]!r}")
            continue
        fields = entry.reader.mapping(value, f"login {account}")
        entry.reader.known(fields, frozenset({"credential"}), f"login {account}")
        credential = entry.reader.text(fields["credential"][1], f"credential of {account}") if "credential" in fields else ""
        if not _CREDENTIAL.fullmatch(credential):
            entry.reader.complain(key, f"login {account} needs the name of a credential that the agent holds")
        found[account] = Login(credential=credential)
    if not found:
        entry.reader.complain(node, f"{entry.what} needs at least one login")
    return found


def _default_login(entry: _Entry, logins: dict[str, Login]) -> str:
    if entry.node("default_login") is None:
        if len(logins) > 1:
            entry.reader.complain(entry.key, f"{entry.what} has several logins, so it needs default_login")
        return next(iter(logins), "")
    chosen = entry.text("default_login")
    if chosen and chosen not in logins:
        entry.reader.complain(entry.node("default_login"), f"default_login {chosen!r} is not one of the logins")
    return chosen


def _tags(entry: _Entry) -> list[str]:
    node = entry.node("tags")
    found = []
    for tag, at in entry.reader.texts(node, f"tags of {entry.what}") if node is not None else []:
        if not _TAG.fullmatch(tag) or tag in found:
            entry.reader.complain(at, f"not a tag, or there twice: {tag[:80]!r}")
        found.append(tag)
    return found


def _options(entry: _Entry) -> dict[str, Any]:
    node = entry.node("options")
    found = {}
    for name, (key, value) in entry.reader.mapping(node, f"options of {entry.what}").items() if node is not None else ():
        entry.lines[f"options.{name}"] = line(key)
        for place, each in enumerate(value.value if isinstance(value, yaml.SequenceNode) else ()):
            entry.lines[f"options.{name}.{place}"] = line(each)
        found[name] = entry.reader.value(value, f"option {name}")
    return found


def _require(entry: _Entry) -> list[str]:
    node = entry.node("require")
    found = []
    for control, at in entry.reader.texts(node, f"require of {entry.what}") if node is not None else []:
        entry.lines[f"require.{control}"] = line(at)
        if control not in CONTROLS:
            entry.reader.complain(at, f"no control is called {control[:80]!r}; there are {', '.join(sorted(CONTROLS))}")
        found.append(control)
    return found


def _originals(entry: _Entry) -> Literal["none", "sealed"]:
    text = entry.text("originals", required=False)
    if text not in ("", "none", "sealed"):
        entry.reader.complain(entry.node("originals"), "originals must be sealed or none")
    return "sealed" if text == "sealed" else "none"


def _max_session(entry: _Entry) -> int:
    if entry.node("max_session") is None:
        return DEFAULT_SESSION_S
    text = entry.text("max_session")
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if text and not 60 <= seconds <= MAX_SESSION_S:
        entry.reader.complain(entry.node("max_session"), "max_session must read like 30m or 8h, between 1m and 24h")
    return seconds


def _retention(entry: _Entry) -> Wish | None:
    node = entry.node("retention")
    if node is None:
        return None
    what = f"retention of {entry.what}"
    fields = entry.reader.mapping(node, what)
    entry.reader.known(fields, frozenset({"days", "mode", "legal_hold"}), what)
    entry.lines |= {f"retention.{name}": line(key) for name, (key, _) in fields.items()}
    found = {name: entry.reader.value(value, f"{name} of {what}") for name, (_, value) in fields.items()}
    days, mode, hold = found.get("days", 0), found.get("mode"), found.get("legal_hold", False)
    if "days" in fields and (type(days) is not int or not 1 <= days <= DAYS_LIMIT):
        entry.reader.complain(fields["days"][1], f"days of {what} is a whole number from 1 to {DAYS_LIMIT}")
        return None
    if "mode" in fields and mode not in _MODES:
        entry.reader.complain(fields["mode"][1], f"mode of {what} is {' or '.join(_MODES)}")
        return None
    if type(hold) is not bool:
        entry.reader.complain(fields["legal_hold"][1], f"legal_hold of {what} is true or false")
        return None
    return Wish(days=days, mode=cast("Mode | None", mode), legal_hold=hold)
