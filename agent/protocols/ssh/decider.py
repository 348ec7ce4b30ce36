"""Who decides what a client asks for."""

from __future__ import annotations

from agent.core.policy import Decider
from agent.runtime.serving import Serving


def decider(serving: Serving) -> Decider:
    """Return who decides the operations of ``serving``, under whatever policy is in force by then."""
    return Decider(serving.claims, lambda: serving.policy)
