"""Every shape that crosses a process boundary, as JSON. A change here is a change for agents and command lines in the field."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from chalicelib.contracts import (
    api,
    api_live,
    api_originals,
    api_requests,
    approval,
    audit,
    audit_event,
    audit_requests,
    capability,
    gateway,
    operation,
    originals,
    policy,
    recording,
    session,
    watching,
)
from chalicelib.contracts.faults import Notice
from tests.golden import golden

SESSION = session.Session(
    sid="ses_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    state=session.State.LIVE,
    principal="alice@example.com",
    groups=["engineering", "sre"],
    target="prod-web",
    protocol="ssh",
    agent="edge-1",
    login="deploy",
    reason="ticket 4711",
    source_ip="192.0.2.7",
    path="relay",
    policy_version=3,
    verdict="sre-may-connect",
    message="",
    opened_ms=1_795_212_303_000,
    started_ms=1_795_212_303_412,
    ended_ms=0,
    seen_ms=1_795_212_306_000,
    deadline_ms=1_795_241_103_000,
    recording="recordings/2026/11/20/prod-web/alice@example.com/140503Z_ses_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    chunks=1,
    chain="ab" * 32,
    operations=2,
    denied=1,
)
CHUNK = recording.Chunk(n=0, kind="ch01.cast", time_ms=1_795_212_304_000, size=512, sha256="cd" * 32, chain="ab" * 32)
STORED = recording.StoredChunk(chunk=CHUNK, key=recording.key(SESSION.recording, CHUNK))
PROTOCOL = gateway.Protocol(
    name="ssh",
    hint="ssh {target}",
    options=[gateway.Option(name="host_keys", type="strings", doc="pinned host keys", required=True)],
    controls=[gateway.Control(name="mask", enforced=False, why="not yet")],
)
TARGET = gateway.Target(
    name="prod-web",
    protocol="ssh",
    agent="edge-1",
    address="10.0.0.5:22",
    logins={"deploy": gateway.Login(credential="prod-web")},
    default_login="deploy",
    tags=["prod"],
    options={"host_keys": ["ssh-ed25519 AAAA"]},
    require=["record"],
    description="The shop",
)
RULE = policy.Rule("sre-may-connect", "policies.cedar", 3, "permit(principal, action, resource);")
DOCUMENT = policy.Document(version=3, rules=[RULE], targets=[TARGET])
TRUST = api.Trust(
    issuer="https://sallyport.example.com",
    ssh_ca="ecdsa-sha2-nistp256 AAAA",
    token_key={"kty": "EC", "crv": "P-256", "x": "x", "y": "y"},
    websocket_url="wss://ws.example.com/api",
)
EVENT = {"id": "evt_01JD8QZ6T3N0V9C4K2M7X5B1HR", "time_ms": 1_795_212_303_000, "actor": "alice@example.com"}
OF = {"sid": SESSION.sid, "target": "prod-web"}
TICKET = capability.TicketClaims(
    iss="https://sallyport.example.com",
    aud="agt_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    sid=SESSION.sid,
    sub="alice@example.com",
    groups=["sre"],
    mfa=True,
    target="prod-web",
    login="deploy",
    policy_version=3,
    reason="ticket 4711",
    source_ip="192.0.2.7",
    recording=SESSION.recording,
    iat=1_795_212_303,
    exp=1_795_212_363,
    deadline_ms=1_795_241_103_000,
)

OPERATION = operation.Operation(
    kind="query",
    text="DELETE FROM orders WHERE id = $1",
    effects=frozenset({"write"}),
    verbs=frozenset({"DELETE"}),
    objects=frozenset({"public.orders"}),
    arguments=("4711",),
    environment=(("search_path", "public"),),
)
REQUEST = approval.ApprovalRequest(
    rid="req_01JD8QZ6T3N0V9C4K2M7X5B1HR",
    kind="operation",
    state=approval.RequestState.APPROVED,
    version=2,
    principal="alice@example.com",
    groups=["sre"],
    target="prod-db",
    protocol="postgres",
    agent="edge-1",
    login="app",
    sid=SESSION.sid,
    operation=OPERATION,
    digest=OPERATION.digest(),
    reason="ticket 4711",
    source_ip="192.0.2.7",
    risks=["EXPLAIN estimates 120,000 rows"],
    before=approval.Precedent(times=3, first_ms=1_780_000_000_000, last_ms=1_789_000_000_000),
    rules=["ask-dba"],
    asks=[policy.Approval("dba", 1, 900)],
    message="A DBA has to agree.",
    policy_version=3,
    asked_ms=1_795_212_303_000,
    deadline_ms=1_795_213_203_000,
    uses=1,
    decided_ms=1_795_212_333_000,
    until_ms=1_795_213_233_000,
    votes=[approval.Vote(voter="dan@example.com", approve=True, groups=["dba"], time_ms=1_795_212_333_000, comment="Fine.")],
)
EMERGENCY = approval.ApprovalRequest(
    rid="req_01JD8QZ6T3N0V9C4K2M7X5B1HS",
    kind="access",
    state=approval.RequestState.REVOKED,
    principal="alice@example.com",
    target="prod-db",
    protocol="postgres",
    agent="edge-1",
    digest=approval.access_digest("prod-db", "app"),
    rules=["ask-dba"],
    asks=[policy.Approval("dba", 2, 900)],
    policy_version=3,
    asked_ms=1,
    deadline_ms=2,
    for_s=3600,
    uses=0,
    used=1,
    emergency=True,
    review=approval.Review(reviewer="dan@example.com", justified=False, time_ms=3, comment="Nothing was down."),
    sessions=[SESSION.sid],
    answer="Nothing was down.",
)
WATCHED = {"wid": "wat_01JD8QZ6T3N0V9C4K2M7X5B1HR", "owner": "bob@example.com"}
ABOUT = {"rid": REQUEST.rid, "target": "prod-db", "principal": "alice@example.com"}

EXAMPLES: list[msgspec.Struct] = [
    REQUEST,
    approval.Review(reviewer="dan@example.com", justified=False, time_ms=3, comment="Nothing was down."),
    REQUEST.votes[0],
    api_requests.AccessAsk(target="prod-db", login="app", reason="ticket 4711", for_s=3600, uses=1, emergency=False),
    api_requests.OperationAsk(operation=OPERATION, reason="", risks=["no WHERE"], uses=1, emergency=False),
    api_requests.RequestStanding(request=EMERGENCY, link="https://sallyport.example.com/approvals/req_x", missing=["dba"]),
    api_requests.RequestPage(requests=[REQUEST], cursor="next"),
    api_requests.Ballot(approve=True, digest=REQUEST.digest, comment="Fine."),
    api_requests.RequestEnd(comment="c"),
    api_requests.ReviewGiven(justified=True, comment="c"),
    api_requests.ApprovalUse(digest=REQUEST.digest, key="k"),
    api_requests.ApprovalUsed(used=1, uses=1),
    api_requests.DeadLetters(
        letters=[
            api_requests.DeadLetter(
                nid="ntc_x", rid="req_x", about="asked", channels=["mail"], attempts=10, time_ms=1, error="mail is closed"
            )
        ]
    ),
    capability.ApprovalClaims(
        iss="https://sallyport.example.com",
        aud="agt_x",
        rid=REQUEST.rid,
        sid=SESSION.sid,
        sub="alice@example.com",
        target="prod-db",
        login="app",
        digest=REQUEST.digest,
        asks=REQUEST.asks,
        uses=1,
        policy_version=3,
        emergency=True,
        approvers=["bob@example.com"],
        iat=1_795_212_333,
        exp=1_795_213_233,
    ),
    audit_requests.RequestAsked(
        **EVENT,
        **ABOUT,
        kind="operation",
        sid=SESSION.sid,
        login="app",
        text="DELETE",
        digest="00",
        reason="r",
        rules=["ask-dba"],
        groups=["dba"],
        policy_version=3,
        deadline_ms=2,
        for_s=0,
        uses=1,
        emergency=False,
    ),
    audit_requests.RequestNotified(**EVENT, **ABOUT, notice="ntc_x", channel="mail", about="asked"),
    audit_requests.RequestSeen(**EVENT, **ABOUT, state="pending"),
    audit_requests.RequestVoted(**EVENT, **ABOUT, approve=True, groups=["dba"], comment="c", digest="00", state="approved"),
    audit_requests.RequestWithdrawn(**EVENT, **ABOUT),
    audit_requests.RequestExpired(**EVENT, **ABOUT, was="pending", used=0),
    audit_requests.RequestRevoked(**EVENT, **ABOUT, comment="c", used=1, sessions=[SESSION.sid]),
    audit_requests.RequestUsed(**EVENT, **ABOUT, sid=SESSION.sid, digest="00", used=1, uses=1),
    audit_requests.RequestReviewed(**EVENT, **ABOUT, justified=True, comment="c"),
    SESSION,
    CHUNK,
    STORED,
    PROTOCOL,
    TARGET,
    RULE,
    DOCUMENT,
    operation.Operation(
        kind="exec",
        text="rm -rf /srv/data",
        effects=frozenset({"write"}),
        verbs=frozenset({"rm"}),
        objects=frozenset({"/srv/data"}),
        flags=frozenset({"recursive_delete"}),
        environment=(("LANG", "C.UTF-8"),),
    ),
    policy.Principal(name="alice@example.com", groups=["sre"], mfa=True),
    policy.Moment(now_ms=1_795_212_303_000, reason="ticket 4711", login="deploy", source_ip="192.0.2.7"),
    policy.Verdict("hold", ("ask-dba",), "Ask the DBAs.", (policy.Approval("dba", 2, 900),)),
    capability.AccessClaims(
        iss="https://sallyport.example.com", sub="alice@example.com", jti="j", iat=1, exp=2, groups=["sre"], mfa=True
    ),
    TICKET,
    capability.WatchClaims(
        iss="https://sallyport.example.com",
        aud="agt_01JD8QZ6T3N0V9C4K2M7X5B1HR",
        wid=WATCHED["wid"],
        sid=SESSION.sid,
        sub="bob@example.com",
        groups=["leads"],
        mfa=True,
        source_ip="192.0.2.9",
        iat=1_795_212_303,
        exp=1_795_212_363,
        deadline_ms=1_795_241_103_000,
    ),
    capability.ProofClaims(sub="agt_x", aud="sallyport-control", iat=1, jti="j", htm="POST", htp="/agent/announce", bsh="00"),
    Notice("denied", "No policy permits this.", "Ask the platform team."),
    api.Failure(Notice("config_invalid", "gateway.yaml has one problem."), [api.Problem("gateway.yaml", 7, "no such agent")]),
    api.LoginStart(challenge="c", port=40000, state="s"),
    api.LoginStarted(authorize_url="https://idp.example.com/authorize?x=y", expires_ms=1),
    api.LoginRedeem(code="c", verifier="v", ssh_public_key="ssh-ed25519 AAAA"),
    api.LoggedIn(access_token="t", expires_ms=1, principal="alice@example.com", groups=["sre"], ssh_certificate="c"),
    api.WhoAmI(principal="alice@example.com", groups=["sre"], expires_ms=1),
    TRUST,
    api.TargetList(
        targets=[
            api.TargetView(
                name="prod-web",
                protocol="ssh",
                description="The shop",
                tags=["prod"],
                logins=["deploy"],
                agent="edge-1",
                online=True,
                hint="ssh prod-web",
                host_alias="prod-web.sallyport",
            )
        ]
    ),
    api.SessionOpen(target="prod-web", login="deploy", reason="ticket 4711"),
    api.SessionOffer(
        sid=SESSION.sid,
        ticket="t",
        expires_ms=1,
        deadline_ms=2,
        ways=[api.Way(kind="direct", address="10.0.0.4:2222"), api.Way(kind="relay", address="wss://ws.example.com/api")],
        host_alias="prod-web.sallyport",
    ),
    api.SessionPage(sessions=[SESSION], cursor="next"),
    api.RecordingLinks(session=SESSION, chain_seed="00" * 32, chunks=[STORED], urls=["https://s3/x"], expires_ms=1),
    api.ConfigFiles(files={"gateway.yaml": "version: 1\n"}, expected_version=2),
    api.ConfigPlan(
        version=3, changes=[api.Change(sign="+", what="target prod-web", detail="ssh")], warnings=[api.Problem("a.cedar", 1, "w")]
    ),
    api.AgentTokenRequest(name="edge-1"),
    api.AgentToken(token="t", expires_ms=1),
    api.AgentList(
        agents=[api.AgentView(name="edge-1", agent_id="agt_x", online=True, seen_ms=1, protocols=["ssh"], direct="10.0.0.4:2222")]
    ),
    api.AgentEnrol(token="t", public_key="k", ssh_host_key="ssh-ed25519 AAAA"),
    api.AgentEnrolled(agent_id="agt_x", name="edge-1", trust=TRUST),
    api.AgentAnnounce(protocols=[PROTOCOL], credentials=["prod-web"], direct="10.0.0.4:2222"),
    api.AgentConfig(document=DOCUMENT, ssh_host_certificate="c", expires_ms=1, trust=TRUST),
    api.DirectOpen(certificate="c", target="prod-web", login="deploy", source_ip="192.0.2.7"),
    api.DirectOpened(ticket="t"),
    api.SessionClaim(path="relay"),
    api.SessionClaimed(session=SESSION),
    api.ChunkUpload(chunk=CHUNK, operations=2, denied=1),
    api.ChunkTicket(url="https://s3/x", headers={"if-none-match": "*"}, expires_ms=1),
    api.SessionReport(
        denied=[api.DeniedOperation(time_ms=1, kind="exec", text="rm", digest="00", rules=["r"], message="m")],
        target_fault=Notice("target_host_key", "wrong key"),
    ),
    api.SessionClose(state="ended", message="", chunks=1, chain="ab" * 32, operations=2, denied=1),
    api.Done(),
    api.LogAsk(size=7, events=["evt_01JD8QZ6T3N0V9C4K2M7X5B1HR"]),
    api.LogPlace(index=3, hashes=["ab" * 32]),
    api.LogNews(
        checkpoint="gw.example/log\n7\nAA==\n", consistency=["cd" * 32], places={"evt_x": api.LogPlace(index=3, hashes=[])}
    ),
    api.Cosign(size=7, line="\u2014 edge-1 AAAA"),
    api.WitnessAlarm(kind="rollback", message="The log had 7 entries, and now it has 3.", kept="a", shown="b"),
    audit.LoginCompleted(**EVENT, groups=["sre"], source_ip="192.0.2.7", mfa=True),
    audit.LoginFailed(**EVENT, code="login_failed", source_ip="192.0.2.7"),
    audit.LoggedOut(**EVENT, token="j"),
    audit.SessionDenied(
        **EVENT, **OF, login="deploy", reason="r", source_ip="192.0.2.7", rule="x", message="No.", policy_version=3
    ),
    audit.SessionOpened(
        **EVENT, **OF, agent="edge-1", login="deploy", reason="r", source_ip="", rule="x", policy_version=3, deadline_ms=2
    ),
    audit.SessionStarted(**EVENT, **OF, agent="edge-1", path="relay"),
    audit.SessionEnded(**EVENT, **OF, state="ended", message="", chunks=1, chain="ab", operations=2, denied=1),
    audit.SessionSealed(**EVENT, **OF, manifest="ab" * 32, status="truncated", chunks=2, chain="cd" * 32, missing=1),
    audit.EvidenceConflict(**EVENT, **OF, what="the hash chain breaks at chunk 1"),
    audit.EvidenceAlert(**EVENT, sid=OF["sid"], what="hidden", key="recordings/x", version="v2", first="v1", found_by="sweep"),
    audit.LogResumed(**EVENT, size_before=3, root_before="ab" * 32, size=7, root="cd" * 32),
    audit.WitnessEnrolled(**EVENT, agent_id="agt_x", key="edge-1+0123abcd+BA==", replaced=""),
    audit.WitnessAlarmed(**EVENT, agent_id="agt_x", kind="fork", message="There are two logs of 7 entries.", kept="a", shown="b"),
    audit.OperationDenied(**EVENT, **OF, kind="exec", text="rm", digest="00", rules=["r"], message="No."),
    audit.TargetRefused(**EVENT, **OF, code="target_host_key", message="wrong key"),
    audit.RecordingViewed(**EVENT, **OF, owner="bob@example.com", rule="own", chunks=1),
    audit.SessionKillOrdered(**EVENT, **OF, owner="bob@example.com", reason="laptop stolen", rule="leads-end"),
    audit.WatchAllowed(**EVENT, **OF, **WATCHED, rule="leads-watch"),
    audit.WatchBegan(**EVENT, **OF, **WATCHED),
    audit.WatchEnded(**EVENT, **OF, **WATCHED, code="ok", message="The watcher left.", shown=4711),
    audit.AgentTokenIssued(**EVENT, name="edge-1", expires_ms=1),
    audit.AgentEnrolled(**EVENT, name="edge-1", agent_id="agt_x", fingerprint="00", replaced=""),
    audit.ConfigApplied(**EVENT, version=3, previous=2, digest="00", summary=["+ target prod-web"]),
    audit_requests.OriginalsUnmasked(
        **EVENT,
        **ABOUT,
        key="ab" * 32,
        sid=SESSION.sid,
        owner="bob@example.com",
        reason="case 12",
        approvers=["dan@example.com"],
        digest="00",
        use="cd" * 32,
    ),
    audit_requests.OriginalsReleased(**EVENT, **ABOUT, key="ab" * 32, sid=SESSION.sid, use="cd" * 32),
    audit_requests.OriginalsRefused(**EVENT, **ABOUT, code="approval_used"),
    audit_requests.OriginalsErased(
        **EVENT, **ABOUT, key="ab" * 32, month="2026-11", reason="retention", approvers=["dan@example.com"], digest="00"
    ),
    audit_requests.OriginalsKeyMade(**EVENT, target="prod-web", month="2026-11", key="ab" * 32),
    api_originals.UnmaskAsk(reason="case 12", key="k"),
    api_originals.UnmaskUse(use="a-use-of-this-yes", content="AAAA"),
    api_originals.Unmasked(sid=SESSION.sid, target="prod-web", month="2026-11", key="ab" * 32, content_key="AAAA", leaf=7),
    api_originals.EraseAsk(target="prod-web", month="2026-11", reason="retention", key="k"),
    api_originals.Erased(target="prod-web", month="2026-11", key="ab" * 32, erased_ms=1),
    api_live.SessionKill(reason="laptop stolen"),
    api_live.SessionKilled(
        sid=SESSION.sid, state=session.State.LIVE, reached=False, agent="edge-1", message="bob@example.com ended this session: x"
    ),
    api_live.WatchAsk(),
    api_live.WatchOffer(
        wid=WATCHED["wid"],
        ticket="eyJ…",
        url="wss://ws.example.com/api",
        host_alias="prod-web.sallyport",
        expires_ms=1_795_212_363_000,
        deadline_ms=1_795_241_103_000,
        session=SESSION,
    ),
    api_live.WatchNews(ticket="eyJ…", code="ok", message="The watcher left.", shown=4711),
    watching.Begun(sid=SESSION.sid, owner="alice@example.com", target="prod-web", login="deploy", protocol="ssh"),
    watching.Fresh(channel=1, kind="cast", lines='{"version":3}\n', left_out=2),
    watching.Seen(channel=1, kind="cast", lines='[0.1,"o","ls\\r\\n"]\n'),
    watching.Behind(),
    watching.Over(code="ok", message="The session has ended."),
    originals.SealingKey(target="prod-web", month="2026-11", public=b"p" * 32),
    originals.SealingClaims(iss="https://sallyport.example.com", target="prod-web", month="2026-11", public="AAAA"),
    originals.Header(sid=SESSION.sid, target="prod-web", month="2026-11", key="ab" * 32, content=b"c" * 80),
    originals.Record(n=0, sealed=b"s"),
]


def name_of(example: msgspec.Struct) -> str:
    return f"{type(example).__module__.rsplit('.', 1)[1]}.{type(example).__name__}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_golden_json(example: msgspec.Struct) -> None:
    text = msgspec.json.format(msgspec.json.encode(example, order="deterministic"), indent=2).decode() + "\n"
    golden.check(f"contracts/{name_of(example)}.json", text)
    assert msgspec.json.decode(text, type=type(example)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_unknown_fields_are_ignored(example: msgspec.Struct) -> None:
    body = msgspec.json.decode(msgspec.json.encode(example)) | {"a_field_of_tomorrow": [1]}
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(example)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_missing_fields_are_refused(example: msgspec.Struct) -> None:
    body = msgspec.json.decode(msgspec.json.encode(example))
    required = [field.encode_name for field in msgspec.structs.fields(example) if field.required]
    for field in required:
        partial = {key: value for key, value in body.items() if key != field}
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(partial), type=type(example))


def test_every_shape_has_an_example() -> None:
    have = {type(example) for example in EXAMPLES}
    inside = {api.Problem, api.Way, api.TargetView, api.Change, api.AgentView, api.DeniedOperation}
    inside |= {
        audit_requests.RequestEvent,
        audit_requests.OriginalsEvent,
        api_requests.DeadLetter,
        approval.Precedent,
        gateway.SlackPeople,
    }
    inside |= {
        gateway.Option,
        gateway.Control,
        gateway.Login,
        policy.Approval,
        audit_event.Event,
        audit.SessionEvent,
        audit.WatchEvent,
    }
    modules = [
        api,
        api_live,
        api_originals,
        api_requests,
        approval,
        audit,
        audit_event,
        audit_requests,
        capability,
        gateway,
        operation,
        originals,
        policy,
    ]
    for module in [*modules, recording, session, watching]:
        for _, shape in inspect.getmembers(module, inspect.isclass):
            if issubclass(shape, msgspec.Struct) and shape.__module__ == module.__name__ and shape.__name__ != "_Tagged":
                assert shape in have | inside, f"{shape.__name__} has no golden example"
