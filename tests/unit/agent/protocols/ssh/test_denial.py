"""The words."""

from __future__ import annotations

import pytest

from agent.core.policy import Decision
from agent.core.units import Asked
from agent.protocols.ssh.denial import Words, exit_status, say
from chalicelib.contracts.faults import CODES, Notice
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Verdict


def test_a_line_says_what_which_code_and_which_session() -> None:
    assert say(Notice("denied", "Not today."), "ses_1") == b"sallyport: Not today. (denied, ses_1)\n"
    assert say(Notice("denied", "Not today."), "") == b"sallyport: Not today. (denied)\n"


def test_a_next_step_has_its_own_line_and_a_terminal_its_carriage_returns() -> None:
    words = say(Notice("target_host_key", "Wrong.", "Ask."), "ses_1", terminal=True)
    assert words == b"sallyport: Wrong. (target_host_key, ses_1)\r\nsallyport: Ask.\r\n"


@pytest.mark.parametrize("evil", ["a\x1b[2Jb", "a\r\nsallyport: all is well", "a\x9b31mb", "a\0b", "a\u202eb\u2066c\u2028d"])
def test_nobody_can_move_the_cursor_or_add_a_line(evil: str) -> None:
    words = say(Notice("denied", evil, evil), "ses_1")
    assert words.count(b"\n") == 2
    assert not set(words) & (set(range(0x20)) - {0x0A})
    assert not set("\x9b\u202e\u2066\u2028") & set(words.decode())


@pytest.mark.parametrize("code", sorted(CODES))
def test_denials_exit_126_and_failures_255(code: str) -> None:
    denials = {"denied", "hold_unavailable", "not_supported", "own_request", "approval_required"}
    denials |= {
        "approval_mismatch",
        "approval_expired",
        "approval_used",
        "approval_withdrawn",
        "shell_unguarded",
        "approval_pending",
        "approval_denied",
    }
    denials |= {"approval_revoked", "shell_unguarded"}
    assert exit_status(code) == (126 if code in denials else 255)
    assert exit_status("from-a-newer-gateway") == 255


def test_a_denial_uses_the_policys_own_words() -> None:
    asked = Asked(Operation(kind="exec", text="rm", effects=frozenset({"write"})), b"rm")
    decision = Decision(verdict=Verdict("deny", message="Use the runbook."), code="denied")
    assert Words("ses_1", terminal=False).deny(asked, decision) == b"sallyport: Use the runbook. (denied, ses_1)\n"
