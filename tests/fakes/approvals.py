"""A world in which policy asks first: access to db-1, and statements that drop or truncate on web-1."""

from __future__ import annotations

import msgspec

from chalicelib.contracts import gateway
from chalicelib.contracts.api_requests import AccessAsk, Ballot, OperationAsk, RequestStanding
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.operation import Operation
from chalicelib.domain.approvals import Case
from chalicelib.usecases.request_approval import request_access, request_operation
from chalicelib.usecases.vote import vote
from tests.fakes.dynamodb import FakeStore
from tests.fakes.world import ALICE, FILES, SSH, World, person

HOLDING = msgspec.structs.replace(
    SSH,
    controls=[each if each.name != "hold" else gateway.Control(name="hold", enforced=True) for each in SSH.controls],
)
ASK_FIRST = """
@id("db") permit(principal in Group::"sre", action == Action::"connect", resource in Tag::"restricted");
@id("ask-dba") @message("A DBA has to agree.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"connect", resource in Tag::"restricted") unless { context.approvals.contains("dba") };
@id("drop-needs-two") @message("Two DBAs have to agree.") @approval("group:dba quorum:2 ttl:15m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") }
unless { context.approvals.contains("dba") };
@id("truncate") @message("A DBA and a lead have to agree.") @approval("group:dba ttl:15m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("TRUNCATE") }
unless { context.approvals.contains("dba") };
@id("truncate-lead") @approval("group:leads ttl:5m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("TRUNCATE") }
unless { context.approvals.contains("leads") };
@id("never") @message("Never.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("rm") };
@id("approvers") permit(principal, action == Action::"approve", resource)
when { principal in Group::"dba" || principal in Group::"leads" };
@id("on-call") permit(principal in Group::"on-call", action == Action::"emergency", resource);
"""
FILES_ASK = FILES | {"ask.cedar": ASK_FIRST}
ONLY_ONE = ASK_FIRST.replace("quorum:2 ", "")

DAN = person("dan@example.com", "dba")
DORA = person("dora@example.com", "dba")
LEA = person("lea@example.com", "leads")
BOTH = person("both@example.com", "dba", "leads")
ONCALL = person("alice@example.com", "sre", "on-call")
#: A second account of alice's, in the group that is asked.
ALICE_ADMIN = msgspec.structs.replace(person("alice-admin", "dba", "leads"), email="alice@example.com")
EVERYBODY = [msgspec.structs.replace(ALICE, email="alice@example.com"), DAN, DORA, LEA, BOTH, ALICE_ADMIN]


def drop(text: str = "DROP TABLE orders", verb: str = "DROP", **changed: object) -> Operation:
    fields: dict[str, object] = {"kind": "query", "text": text, "effects": frozenset({"admin"}), "verbs": frozenset({verb})}
    return Operation(**(fields | changed))  # type: ignore[arg-type]


def asking_world(files: dict[str, str] = FILES_ASK, store: FakeStore | None = None) -> World:
    """Return a world with an agent whose protocol can hold, and everybody logged in."""
    world = World.ready(files, HOLDING, store)
    for who in EVERYBODY:
        world.login(who)
    return world


def access(world: World, who: AccessClaims = ALICE, **changed: object) -> RequestStanding:
    asked = AccessAsk(**({"target": "db-1", "reason": "ticket 7"} | changed))  # type: ignore[arg-type]
    return request_access(world.ports, who, asked, "192.0.2.7")


def inside(world: World, operation: Operation | None = None, sid: str = "", **changed: object) -> RequestStanding:
    """Ask for an operation inside a session."""
    asked = OperationAsk(operation=operation or drop(), **changed)  # type: ignore[arg-type]
    return request_operation(world.ports, world.agent, sid or world.live(), asked)


def answer(world: World, who: AccessClaims, request: ApprovalRequest, approve: bool = True, comment: str = "") -> ApprovalRequest:
    ballot = Ballot(approve=approve, digest=request.digest, comment=comment)
    return vote(world.ports, who, request.rid, ballot, "192.0.2.9").request


def kept(world: World, rid: str) -> Case:
    found = world.store.case(rid)
    assert found is not None
    return found
