"""When a session's time is over."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.policy import Principal
from chalicelib.contracts.session import Session, State
from chalicelib.domain import tickets
from chalicelib.domain.tickets import Promise

T0 = 1_790_000_000_000
OFFERED = Session(
    sid="ses_x",
    state=State.OFFERED,
    principal="a",
    target="t",
    protocol="ssh",
    agent="edge",
    policy_version=1,
    opened_ms=T0,
    deadline_ms=T0 + 3_600_000,
)
LIVE = msgspec.structs.replace(OFFERED, state=State.LIVE)


@pytest.mark.parametrize(("after_s", "over"), [(0, False), (60, False), (120, False), (120.001, True)])
def test_an_offer_ends_a_minute_after_its_ticket(after_s: float, over: bool) -> None:
    found = tickets.overdue(OFFERED, 0, T0 + int(after_s * 1000), 90_000)
    assert (found is not None) is over
    assert found is None or found[0] is State.EXPIRED


@pytest.mark.parametrize(("silent_s", "over"), [(90, False), (90.001, True)])
def test_a_silent_session_is_interrupted(silent_s: float, over: bool) -> None:
    found = tickets.overdue(LIVE, T0, T0 + int(silent_s * 1000), 90_000)
    assert (found is not None) is over
    assert found is None or found[0] is State.INTERRUPTED


@pytest.mark.parametrize(("after_s", "over"), [(3600, False), (3720, False), (3720.001, True)])
def test_a_deadline_holds_however_much_the_agent_speaks(after_s: float, over: bool) -> None:
    now = T0 + int(after_s * 1000)
    found = tickets.overdue(LIVE, now, now, 90_000)
    assert (found is not None) is over
    assert found is None or "time was over" in found[1]


@pytest.mark.parametrize("state", [State.DENIED, State.EXPIRED, State.ENDED, State.KILLED, State.INTERRUPTED])
def test_what_is_over_is_not_overdue(state: State) -> None:
    assert tickets.overdue(msgspec.structs.replace(LIVE, state=state), 0, T0 * 2, 1) is None


def test_a_ticket_lives_a_minute_from_the_opening() -> None:
    found = tickets.claims("https://gw", "agt_1", OFFERED, Principal(name="a", groups=["g"], mfa=True), Promise("evt_1", "ab"))
    assert (found.event, found.leaf) == ("evt_1", "ab")
    assert (found.iat, found.exp, found.aud, found.groups, found.mfa) == (T0 // 1000, T0 // 1000 + 60, "agt_1", ["g"], True)
