"""Waiting for others in a terminal: who is asked is said, the yes goes on by itself, and nobody is left asked in vain."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from websockets.sync.server import Server, ServerConnection, serve

from chalicelib.contracts import api, relay
from chalicelib.contracts.api_requests import AccessAsk, RequestStanding
from chalicelib.contracts.approval import RequestState, Vote
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Approval
from cli import asking
from cli.control_plane import Refusal
from cli.home import Home, SavedLogin
from cli.patience import Patience
from tests.fakes.http_control_plane import FakeControlPlane, Reply
from tests.patience import HANG_S
from tests.unit.cli.asking_plane import RID, Asking, request
from tests.unit.cli.conftest import NOW_MS

WANTED = AccessAsk(target="prod-db", login="app", reason="INC-4711")
APPROVED = request(state=RequestState.APPROVED, until_ms=NOW_MS + 900_000)


@pytest.fixture
def there(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> Asking:
    monkeypatch.setattr(asking, "POLL_S", 0.01)
    monkeypatch.setattr(asking, "TRY_AGAIN_S", (0.0, 0.0, 0.0))
    return Asking(logged_in)


@pytest.fixture
def saved(there: Asking, home: Home) -> SavedLogin:
    return home.login()


def test_the_yes_goes_on_by_itself(there: Asking, saved: SavedLogin, capsys: pytest.CaptureFixture[str]) -> None:
    there.comes = [request(), request(), APPROVED]
    assert asking.agreed(saved, WANTED) == APPROVED
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "sallyport: A DBA has to agree.",
        "sallyport: waiting for dba to agree, until 10:18 (in 15 min); Ctrl-C withdraws",
        f"sallyport: https://gw.example/approvals/{RID}",
    ]
    assert there.withdrawn == 0


def test_what_is_granted_at_once_waits_for_nobody(there: Asking, saved: SavedLogin, capsys: pytest.CaptureFixture[str]) -> None:
    there.request = APPROVED
    assert asking.agreed(saved, WANTED).state is RequestState.APPROVED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (RequestState.DENIED, "approval_denied", "bob@example.com said no: not today"),
        (RequestState.EXPIRED, "approval_expired", "Nobody answered in time"),
        (RequestState.WITHDRAWN, "approval_withdrawn", "was withdrawn"),
        (RequestState.REVOKED, "approval_revoked", "taken back: not today"),
        (RequestState.USED, "approval_used", "as often as it was granted"),
    ],
)
def test_every_no_is_said(there: Asking, saved: SavedLogin, state: RequestState, code: str, words: str) -> None:
    votes = [Vote(voter="bob@example.com", approve=False, groups=["dba"], time_ms=NOW_MS)]
    there.comes = [request(state=state, votes=votes, answer="not today")]
    with pytest.raises(Fault) as no:
        asking.agreed(saved, WANTED)
    assert (no.value.code, words in no.value.message) == (code, True), no.value.message
    assert there.withdrawn == 0


def test_the_deadline_ends_the_wait_although_nobody_says_so_and_withdraws(there: Asking, saved: SavedLogin) -> None:
    there.request = request(deadline_ms=NOW_MS)
    with pytest.raises(Fault) as late:
        asking.agreed(saved, WANTED)
    assert (late.value.code, there.withdrawn) == ("approval_expired", 1)


def test_a_lost_answer_is_asked_for_again_by_the_same_key(
    there: Asking, saved: SavedLogin, capsys: pytest.CaptureFixture[str]
) -> None:
    there.away = 2
    assert asking.ask(saved, WANTED).request.rid == RID
    keys = {each.key for each in there.asked}
    assert (len(there.asked), len(keys), keys == {""}) == (3, 1, False)
    assert "Asking again (1 of 3)" in capsys.readouterr().err
    asking.ask(saved, WANTED)
    assert there.asked[-1].key not in keys


def test_a_control_plane_that_stays_away_is_not_asked_for_ever(there: Asking, saved: SavedLogin) -> None:
    there.away = 100
    with pytest.raises(Fault, match="busy or away"):
        asking.ask(saved, WANTED)
    assert len(there.asked) == 1 + len(asking.TRY_AGAIN_S)


def test_a_refusal_is_not_asked_again(logged_in: FakeControlPlane, home: Home) -> None:
    refusal = Reply(400, b'{"error": {"code": "too_many", "message": "20 wait.", "hint": ""}}')
    logged_in.overrides["POST", "/requests"] = refusal
    with pytest.raises(Refusal):
        asking.ask(home.login(), WANTED)
    assert len(logged_in.requests) == 1


def test_ctrl_c_between_two_attempts_withdraws_what_may_have_been_asked(
    there: Asking, saved: SavedLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.asking.time.sleep", interrupted)
    there.away = 1
    with pytest.raises(KeyboardInterrupt):
        asking.ask(saved, WANTED)
    assert (there.withdrawn, len({each.key for each in there.asked})) == (1, 1)


def test_ctrl_c_while_it_waits_withdraws(there: Asking, saved: SavedLogin, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.asking._Wait._ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asking.agreed(saved, WANTED)
    assert there.withdrawn == 1


def test_a_wait_outlives_a_control_plane_that_is_away(there: Asking, saved: SavedLogin) -> None:
    standing = RequestStanding(request=request(), link="")
    there.away, there.comes = 3, [APPROVED]
    assert asking.waited(saved, standing) == APPROVED


@contextmanager
def pushing(plane: FakeControlPlane, there: Asking, *, drop: int = 0) -> Iterator[list[str]]:
    """Serve the socket that waits: it says that the request is decided; the first ``drop`` connections are lost instead."""
    asked: list[str] = []

    def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append(connection.request.headers["X-Sallyport-Request"])
        if len(asked) <= drop:
            connection.socket.close()
            return
        there.comes = [APPROVED]
        connection.send(relay.encode(relay.Decided(rid=RID, state="approved")).decode())
        connection.recv(timeout=HANG_S)

    server: Server
    with serve(tell, "127.0.0.1", 0, compression=None) as server:
        port = server.socket.getsockname()[1]
        trust = api.Trust(issuer=plane.url, ssh_ca=plane.ssh_ca, token_key={}, websocket_url=f"ws://127.0.0.1:{port}/")
        plane.overrides["GET", "/trust"] = Reply(200, msgspec.json.encode(trust))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("drop", [0, 2])
def test_a_push_is_heard_also_on_a_socket_that_replaced_a_lost_one(
    logged_in: FakeControlPlane, there: Asking, saved: SavedLogin, monkeypatch: pytest.MonkeyPatch, drop: int
) -> None:
    monkeypatch.setattr(asking, "POLL_S", 600.0)
    monkeypatch.setattr(asking, "_AGAIN_S", 0.0)
    with pushing(logged_in, there, drop=drop) as asked:
        assert asking.waited(saved, RequestStanding(request=request(), link="")) == APPROVED
    assert asked == [RID] * (drop + 1)


@pytest.mark.parametrize(
    ("asks", "words"),
    [([Approval("dba")], "dba"), ([Approval("dba", quorum=2), Approval("leads")], "2 of dba and leads")],
)
def test_who_is_asked(asks: list[Approval], words: str) -> None:
    assert asking.groups(request(asks=asks)) == words


class Watched(Patience):
    """Patience that says when a wait relies on it."""

    def __init__(self) -> None:
        super().__init__()
        self.relied_on = threading.Event()

    def on_loss(self, tell: Callable[[], None]) -> None:
        super().on_loss(tell)
        self.relied_on.set()


def test_whoever_loses_patience_withdraws(there: Asking, saved: SavedLogin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "POLL_S", 600.0)
    patience = Watched()
    waiting = threading.Thread(target=lambda: ended.append(code(lambda: asking.agreed(saved, WANTED, patience))))
    ended: list[str] = []
    waiting.start()
    assert patience.relied_on.wait(HANG_S)
    patience.lose()
    waiting.join(60)
    assert (ended, there.withdrawn) == (["approval_withdrawn"], 1)


def test_patience_that_was_lost_before_waits_for_nobody(there: Asking, saved: SavedLogin) -> None:
    patience = Patience()
    patience.lose()
    assert code(lambda: asking.agreed(saved, WANTED, patience)) == "approval_withdrawn"
    assert there.withdrawn == 1
    there.away = 100
    assert code(lambda: asking.ask(saved, WANTED, patience)) == "control_plane_unreachable"
    assert len(there.asked) == 2


def test_ctrl_c_is_heard_although_it_was_ignored_and_is_ignored_again(
    there: Asking, saved: SavedLogin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr("cli.asking.tell", pressed)
        with pytest.raises(KeyboardInterrupt):
            asking.agreed(saved, WANTED)
        assert there.withdrawn == 1
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def code(act: Callable[[], object]) -> str:
    try:
        act()
    except Fault as fault:
        return fault.code
    return ""
