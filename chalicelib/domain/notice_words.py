"""What people are told of a request: who, where, why and the link. Never the statement, which may hold what nobody else may read.

Every value is other people's text: one bounded line each, without anything that cannot be seen. Escaping is the channel's.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.domain.plain_text import one_line

_HAPPENED: Final = {
    "asked": "asks for approval",
    "emergency": "went ahead in an emergency; somebody has to review it",
    "approved": "was given approval",
    "denied": "was denied",
    "withdrawn": "does not ask any more",
    "expired": "got no answer in time",
    "revoked": "lost an approval again",
    "used": "was given approval, and used it",
}
_NAME: Final = 80
#: Letters of a reason in a notification; all of it is on the request's page.
REASON_LIMIT: Final = 300
_ALARM: Final = 600


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """A headline, and facts by name."""

    title: str
    facts: list[tuple[str, str]]
    link: str

    @property
    def text(self) -> str:
        """All of it as plain lines."""
        end = ["", self.link] if self.link else []
        return "\n".join([self.title, "", *(f"{name}: {value}" for name, value in self.facts), *end])


def span(seconds: int) -> str:
    """``1 h 30 min``, ``45 s``."""
    hours, rest = divmod(max(seconds, 0), 3600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{left} s" if left and not hours else ""]
    return " ".join(part for part in parts if part) or "0 s"


def alarm(text: str) -> Words:
    """Return what to say of evidence. There is no page for it: whoever is told looks at the bucket and the log themselves."""
    return Words(title="Sallyport: evidence needs somebody to look at it now", facts=[("What", one_line(text, _ALARM))], link="")


def words(about: str, request: ApprovalRequest, link: str) -> Words:
    """Return what to say of ``about``, as notices call it."""
    who, where = one_line(request.principal, _NAME), one_line(request.target, _NAME)
    facts = [("Target", f"{where} as {one_line(request.login, _NAME)}" if request.login else where)]
    what = "one operation in a session" if request.kind == "operation" else one_line(request.matter, REASON_LIMIT) or "access"
    facts.append(("What", what))
    if request.reason:
        facts.append(("Reason", one_line(request.reason, REASON_LIMIT)))
    if about == "denied" and request.answer:
        facts.append(("Answer", one_line(request.answer, REASON_LIMIT)))
    return Words(title=f"{who} {_HAPPENED.get(about, about)}: {where}", facts=facts, link=link)
