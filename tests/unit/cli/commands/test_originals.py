"""``unmask`` and ``erase-originals``: what is shown once somebody else agreed, and what never is."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.runtime.sealing import Sealer
from chalicelib.contracts import originals
from chalicelib.contracts.api_originals import EraseAsk, Erased, UnmaskAsk, Unmasked, UnmaskUse
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SealingKey
from cli.commands import originals as commands
from tests.fakes import hpke
from tests.fakes.http_control_plane import FakeControlPlane, Reply, Request, failure
from tests.unit.cli.asking_plane import RID, request
from tests.unit.cli.conftest import NOW_MS, Run, session

PRIVATE = X25519PrivateKey.generate()
KEY = SealingKey(target="prod-db", month="2026-11", public=PRIVATE.public_key().public_bytes_raw())
LINES = [
    {"ch": 1, "event": "operation", "statement": 1, "text": "select 1\x1b[2J", "arguments": ["4111 1111"]},
    {"ch": 1, "event": "done", "statement": 1, "columns": ["card", "n"], "values": [["4111 1111", None]]},
    {"ch": 2, "event": "output", "text": "two\nlines"},
    {"ch": 2, "event": "output", "base64": "AAAA"},
    {"ch": 1, "event": "done", "statement": 2, "message": "duplicate 4111"},
]
PLAIN = [json.dumps(line).encode() + b"\n" for line in LINES]


class Gateway:
    """The part of a control plane that originals need, in front of ``plane``."""

    def __init__(self, plane: FakeControlPlane) -> None:
        self.plane = plane
        sealer = Sealer(session(1).sid, KEY)
        parts = [("ch01.jsonl", NOW_MS, b'{"format":"x"}\n')]
        parts += [(originals.KIND, NOW_MS + n, sealer.seal([line])) for n, line in enumerate(PLAIN, 1)]
        self.sid = plane.record(session(1), parts).sid
        self.behind = 1
        self.away = 0
        self.fault: Fault | None = None
        self.asked: list[UnmaskAsk | EraseAsk] = []
        self.uses: list[UnmaskUse] = []
        self.state = RequestState.APPROVED
        self.kind = "unmask"
        self._before = plane._private_route
        plane._private_route = self.answer  # type: ignore[method-assign]

    def standing(self) -> RequestStanding:
        about = {"sid": self.sid} if self.kind == "unmask" else {"month": "2026-10"}
        made: ApprovalRequest = request(kind=self.kind, state=self.state, answer="not now", **about)
        return RequestStanding(request=made, link="https://gw.example/approvals/x")

    def answer(self, asked: Request, path: str, query: dict[str, str]) -> Reply:
        match asked.method, path:
            case "POST", "/originals/erasures":
                self.kind = "erase"
                self.asked.append(msgspec.json.decode(asked.body, type=EraseAsk))
            case "POST", _ if path == f"/sessions/{self.sid}/unmask":
                self.asked.append(msgspec.json.decode(asked.body, type=UnmaskAsk))
            case "GET", _ if path == f"/requests/{RID}":
                pass
            case "POST", _ if path == f"/requests/{RID}/unmask":
                return self._release(msgspec.json.decode(asked.body, type=UnmaskUse))
            case "POST", _ if path == f"/requests/{RID}/erase":
                erased = Erased(target="prod-db", month="2026-10", key="ab" * 32, erased_ms=NOW_MS)
                return Reply(200, msgspec.json.encode(erased))
            case _:
                return self._before(asked, path, query)
        return Reply(200, msgspec.json.encode(self.standing()))

    def _release(self, asked: UnmaskUse) -> Reply:
        self.uses.append(asked)
        if self.fault:
            return failure(self.fault.code, self.fault.message)
        if self.away:
            self.away -= 1
            return failure("control_plane_unreachable", "The gateway is busy.")
        if self.behind:
            self.behind -= 1
            return failure("log_behind", "Not yet.")
        info = originals.info(self.sid, KEY.target, KEY.month, KEY.key)
        content = hpke.opened(PRIVATE.private_bytes_raw(), base64.b64decode(asked.content), info)
        found = Unmasked(
            sid=self.sid, target=KEY.target, month=KEY.month, key=KEY.key,
            content_key=base64.b64encode(content).decode(), leaf=41,
        )  # fmt: skip
        return Reply(200, msgspec.json.encode(found))


@pytest.fixture
def gateway(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(commands, "AGAIN_S", 0.0)
    return Gateway(logged_in)


def test_what_was_masked_is_shown_with_nothing_that_a_terminal_would_obey(run: Run, gateway: Gateway) -> None:
    ran = run("unmask", gateway.sid, "--reason", "case 12")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        "channel 1, statement 1:",
        "  select 1",
        "  $1 = 4111 1111",
        "channel 1, statement 1 returned:",
        "  card=4111 1111, n=NULL",
        "channel 2, output:",
        "  two",
        "  lines",
        "channel 2, output: some 3 bytes that are no text; --json and --output have them in base 64",
        "channel 1, statement 2 returned:",
        "  duplicate 4111",
    ]
    assert "\x1b" not in ran.out
    assert "5 lines as before masking" in ran.err
    assert "entry 41" in ran.err
    assert gateway.asked == [UnmaskAsk(reason="case 12")]


def test_a_log_that_is_behind_is_asked_again_with_the_same_use(run: Run, gateway: Gateway) -> None:
    gateway.behind = 3
    assert run("unmask", gateway.sid, "--request", RID, "--json").status == 0
    assert len(gateway.uses) == 4
    assert len({each.use for each in gateway.uses}) == 1
    assert gateway.asked == []


def test_a_log_may_be_behind_for_longer_than_the_gateway_may_be_away(
    run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "AWAY_S", -1.0)
    gateway.behind = 3
    assert run("unmask", gateway.sid, "--request", RID, "--json").status == 0


def test_a_gateway_that_is_away_for_a_moment_does_not_cost_the_yes(run: Run, gateway: Gateway) -> None:
    gateway.away = 2
    assert run("unmask", gateway.sid, "--request", RID, "--json").status == 0
    assert (len(gateway.uses), len({each.use for each in gateway.uses})) == (4, 1)


def test_a_gateway_that_stays_away(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "AWAY_S", -1.0)
    gateway.away = 2
    ran = run("unmask", gateway.sid, "--request", RID, "--json")
    assert (ran.status, ran.out, len(gateway.uses)) == (5, "", 1)


def test_json_is_what_was_sealed(run: Run, gateway: Gateway) -> None:
    assert run("unmask", gateway.sid, "--request", RID, "--json").out.encode() == b"".join(PLAIN)


def test_a_file_is_for_one_person_alone_and_replaces_nothing(run: Run, gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "case.jsonl"
    ran = run("unmask", gateway.sid, "--request", RID, "--output", str(file))
    assert ran.status == 0
    assert file.read_bytes() == b"".join(PLAIN)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "4111 1111" not in ran.out + ran.err
    assert run("unmask", gateway.sid, "--request", RID, "--output", str(file)).status == 6
    assert len(gateway.uses) == 2, "no yes is used for a file that cannot be written"


def test_only_asking(run: Run, gateway: Gateway) -> None:
    ran = run("unmask", gateway.sid, "--reason", "case 12", "--no-wait")
    assert ran.out == f"{RID}  https://gw.example/approvals/x\n"
    assert json.loads(run("unmask", gateway.sid, "--reason", "c", "--no-wait", "--json").out)["request"]["kind"] == "unmask"
    assert gateway.uses == []


def test_a_no_is_a_no(run: Run, gateway: Gateway) -> None:
    gateway.state = RequestState.DENIED
    ran = run("unmask", gateway.sid, "--reason", "case 12")
    assert (ran.status, ran.out) == (126, "")
    assert "not now" in ran.err
    assert gateway.uses == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("originals_unavailable", 5), ("originals_erased", 6), ("approval_used", 126), ("approval_expired", 126)],
)
def test_refusals_are_told_by_their_codes(run: Run, gateway: Gateway, code: str, status: int) -> None:
    gateway.fault = Fault(code, "No.")
    ran = run("unmask", gateway.sid, "--request", RID)
    assert (ran.status, ran.out) == (status, "")


def test_a_session_without_originals(run: Run, logged_in: FakeControlPlane) -> None:
    sid = logged_in.record(session(2), [("ch01.cast", NOW_MS, b'{"version":3}\n')]).sid
    assert run("unmask", sid, "--reason", "r").status == 4


def test_exchanged_records_show_nothing_at_all(run: Run, logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "AGAIN_S", 0.0)
    gateway = Gateway(logged_in)
    sealer, other = Sealer(session(1).sid, KEY), Sealer(session(1).sid, KEY)
    other.seal([b"{}\n"])
    parts = [(originals.KIND, NOW_MS, sealer.seal(PLAIN)), (originals.KIND, NOW_MS + 1, other.seal([b"{}\n"]))]
    gateway.sid = logged_in.record(session(1), parts).sid
    ran = run("unmask", gateway.sid, "--request", RID)
    assert (ran.status, ran.out) == (7, "")
    assert "record 1 does not open" in ran.err


def test_replay_does_not_show_what_is_sealed(run: Run, gateway: Gateway) -> None:
    listed = json.loads(run("replay", gateway.sid, "--list", "--json").out)
    assert [each["channel"] for each in listed["channels"]] == [1]


@pytest.mark.parametrize("words", [(), ("--reason", "r", "--request", RID)])
def test_a_reason_or_a_request(run: Run, gateway: Gateway, words: tuple[str, ...]) -> None:
    assert run("unmask", gateway.sid, *words).status == 2


def test_erasing_says_what_was_erased(run: Run, gateway: Gateway) -> None:
    ran = run("erase-originals", "prod-db", "2026-10", "--reason", "retention", "--yes")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("erased prod-db 2026-10 (key abab")
    assert gateway.asked == [EraseAsk(target="prod-db", month="2026-10", reason="retention")]
    assert json.loads(run("erase-originals", "prod-db", "2026-10", "--request", RID, "--yes", "--json").out)["month"] == "2026-10"


def test_a_yes_to_erase_something_else_is_not_used(run: Run, gateway: Gateway) -> None:
    gateway.kind = "erase"
    ran = run("erase-originals", "prod-db", "2026-09", "--request", RID, "--yes")
    assert ran.status == 126
    assert not any(each.path.endswith("/erase") for each in gateway.plane.requests)


def test_erasing_asks_first(run: Run, gateway: Gateway) -> None:
    assert run("erase-originals", "prod-db", "2026-10", "--reason", "retention").status != 0
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("month", "said"),
    [("2026-13", "2026-13 is no month. [bad_request]\n  Example: 2026-08"), ("2026-10", "There is nobody to ask")],
)
def test_erasing_asks_somebody_who_can_answer(run: Run, gateway: Gateway, month: str, said: str) -> None:
    ran = run("erase-originals", "prod-db", month, "--reason", "retention")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"sallyport: {said}")
