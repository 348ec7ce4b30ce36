"""The Cedar schema that policies are validated against, and the only description of what a rule may look at."""

from __future__ import annotations

from typing import Final

#: Facts about the moment, shared by every action. ``source_ip`` is absent where it is not known.
_MOMENT: Final = """
    reason: String,
    login: String,
    protocol: String,
    mfa: Bool,
    source_ip?: ipaddr,
    hour: Long,
    weekday: Long,
    now: Long,
"""

#: Facts about an operation.
_OPERATION: Final = """
    kind: String,
    text: String,
    effects: Set<String>,
    verbs: Set<String>,
    objects: Set<String>,
    flags: Set<String>,
    size: Long,
    approvals: Set<String>,
"""

#: Facts about a forwarded port: where it goes (``local``), or where the target listens for it (``remote``).
_FORWARD: Final = """
    host: String,
    port: Long,
    direction: String,
"""

SCHEMA: Final = f"""
entity Group;
entity Tag;
entity Gateway;
entity User in [Group] {{ name: String }};
entity Target in [Tag] {{ name: String, protocol: String, agent: String }};
entity Session in [Target] {{ owner: User, state: String }};

action connect appliesTo {{ principal: [User], resource: [Target], context: {{ {_MOMENT} approvals: Set<String> }} }};
action run, transfer, replicate, trust_host_key appliesTo {{
  principal: [User], resource: [Target], context: {{ {_MOMENT} {_OPERATION} }}
}};
action forward appliesTo {{ principal: [User], resource: [Target], context: {{ {_MOMENT} {_OPERATION} {_FORWARD} }} }};
action reveal appliesTo {{ principal: [User], resource: [Target], context: {{ {_MOMENT} data_class: String }} }};
action approve appliesTo {{ principal: [User], resource: [Target], context: {{ {_MOMENT} requester: String }} }};
action emergency appliesTo {{ principal: [User], resource: [Target], context: {{ {_MOMENT} }} }};
action replay, watch, kill appliesTo {{ principal: [User], resource: [Session], context: {{ {_MOMENT} }} }};
action unmask appliesTo {{ principal: [User], resource: [Session], context: {{ {_MOMENT} approvals: Set<String> }} }};
action erase appliesTo {{
  principal: [User], resource: [Target], context: {{ {_MOMENT} month: String, approvals: Set<String> }}
}};
action administer appliesTo {{ principal: [User], resource: [Gateway], context: {{ {_MOMENT} }} }};
"""
