"""The gateway's configuration as both planes read it: targets, rules, and what protocols can promise about them.

``gateway.yaml`` is parsed and checked by the control plane alone (``domain/gateway_file.py``); what reaches an agent is this
shape. There is no protocol enum anywhere: agents *announce* what they speak, and targets are checked against what was announced.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from chalicelib.contracts.retention import Wish

RECORD: Final = "record"
BLOCK: Final = "block"
HOLD: Final = "hold"
MASK: Final = "mask"
TRANSFER: Final = "transfer"
FORWARD: Final = "forward"
REPLICATE: Final = "replicate"
TRUST: Final = "trust_host_key"
SEAL: Final = "seal"

#: What a policy can ask a protocol to enforce. Every protocol says of every control: enforced, or refused and why.
CONTROLS: Final = frozenset({RECORD, BLOCK, HOLD, MASK, TRANSFER, FORWARD, REPLICATE, TRUST, SEAL})


class Option(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One protocol option of a target, as an agent announces it."""

    name: str
    type: Literal["string", "strings", "integer", "boolean"]
    doc: str
    required: bool = False
    choices: list[str] = []
    """Allowed values of a string; empty for any."""
    several: bool = False
    """A string may also be a list of its choices, in order of preference. Older control planes refuse the list."""
    form: str = ""
    """How every text must be put together: words for its parts, and what stands between them (``schema.table=class``)."""
    starts: list[str] = []
    """What every text must start with, one of these; empty for anything."""
    longest: int = 0
    """Bytes that a match of a pattern (form ``class=pattern``) has at the most; 0 where that does not matter."""
    instead_of: str = ""
    """Another option, which is not required where this one is true and may not stand beside it. Older control planes go on
    requiring it."""
    warns: str = ""
    """What ``plan`` and ``apply`` warn of on a target where it is true."""


class Control(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One cell of the fail-closed matrix: whether a protocol enforces a control, and why not where it does not."""

    name: str
    enforced: bool
    why: str = ""
    except_option: str = ""
    """The control is *not* enforced when this option has ``except_value``, alone or in a list."""
    except_value: str = ""


class Protocol(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What an agent announces about one protocol that it speaks."""

    name: str
    hint: str
    """How a person uses it, with ``{target}`` where the target's name goes: ``ssh {target}``."""
    options: list[Option] = []
    controls: list[Control] = []
    flags: list[str] = []
    """Every word that ``context.flags`` can hold on its targets. An older agent does not say, and then there is none here."""

    def refuses(self, control: str, options: dict[str, Any]) -> str | None:
        """Return why ``control`` cannot be enforced on a target with ``options``, or None where it is enforced.

        A control that was not announced is refused: silence is not a promise.
        """
        for cell in self.controls:
            if cell.name != control:
                continue
            if not cell.enforced:
                return cell.why or f"{self.name} cannot enforce {control}"
            if cell.except_option and cell.except_value in chosen(options, cell.except_option):
                return cell.why
            return None
        return f"{self.name} says nothing about {control}"


def chosen(options: dict[str, Any], name: str) -> list[Any]:
    """Return what a target's option holds, in its order of preference: of one value, that value; nothing where it is not set."""
    value = options.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class Login(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An account on a target, and the name of the credential that the agent logs in with. Never the credential itself."""

    credential: str


class Target(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A machine, database or service that people reach through the gateway."""

    name: str
    protocol: str
    agent: str
    """Name of the agent that runs beside it."""
    address: str
    """``host:port`` as the agent dials it."""
    logins: dict[str, Login]
    default_login: str
    tags: list[str] = []
    options: dict[str, Any] = {}
    require: list[str] = []
    """Controls that must be enforceable, or ``apply`` refuses the file."""
    max_session_s: int = 8 * 3600
    originals: Literal["none", "sealed"] = "none"
    """Whether what masking takes out of recordings is kept, sealed (``contracts.originals``)."""
    description: str = ""
    retention: Wish | None = None
    """How long recordings of it are kept, where that is not what the deployment says."""


class Rule(msgspec.Struct, frozen=True):
    """One Cedar rule with the place it was read from, so that every verdict can be traced to a line in git."""

    id: str
    file: str
    line: int
    text: str


class SlackPeople(msgspec.Struct, frozen=True, kw_only=True):
    """The one Slack workspace whose members may answer requests there, and who each of them is here."""

    team: str
    users: dict[str, str]
    """From a Slack user identifier to a principal. Whoever is not in it answers nothing."""


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An immutable version of everything that decides: the rules and the targets they speak of."""

    version: int
    rules: list[Rule]
    targets: list[Target]
    slack: SlackPeople | None = None
    """For the control plane alone; agents are not told."""

    def target(self, name: str) -> Target | None:
        """Return the target called ``name``, or None."""
        return next((target for target in self.targets if target.name == name), None)
