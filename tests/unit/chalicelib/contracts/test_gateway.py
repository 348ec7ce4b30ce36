from __future__ import annotations

from chalicelib.contracts.gateway import Control, Protocol, chosen

SSH = Protocol(
    name="ssh",
    hint="ssh {target}",
    controls=[
        Control(name="record", enforced=True),
        Control(name="block", enforced=True, except_option="shell", except_value="recorded", why="seen after they ran"),
        Control(name="mask", enforced=False, why="no detectors"),
    ],
)


def test_an_enforced_control_is_not_refused() -> None:
    assert SSH.refuses("record", {}) is None


def test_an_option_can_take_a_control_away() -> None:
    assert SSH.refuses("block", {}) is None
    assert SSH.refuses("block", {"shell": "recorded"}) == "seen after they ran"
    assert SSH.refuses("block", {"shell": ["guarded", "locked"]}) is None
    assert SSH.refuses("block", {"shell": ["guarded", "recorded"]}) == "seen after they ran"


def test_what_is_chosen_has_an_order() -> None:
    assert chosen({}, "shell") == []
    assert chosen({"shell": "guarded"}, "shell") == ["guarded"]
    assert chosen({"shell": ["guarded", "locked"]}, "shell") == ["guarded", "locked"]


def test_a_refusal_says_why() -> None:
    assert SSH.refuses("mask", {}) == "no detectors"


def test_silence_is_not_a_promise() -> None:
    assert SSH.refuses("hold", {}) is not None
