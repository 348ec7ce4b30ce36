"""What policy lets the person of a session see, by class of data."""

from __future__ import annotations

from collections.abc import Iterable

from agent.runtime.serving import Serving
from chalicelib.contracts.policy import Moment, Policy


class Reveals:
    """Asks once for each class and version of the policy."""

    def __init__(self, serving: Serving, classes: Iterable[str]) -> None:
        """``classes`` are those that are asked about; no other is revealed."""
        self._serving = serving
        self._classes = frozenset(classes)
        self._policy: Policy | None = None
        self._revealed: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """Return the classes that the policy in force lets this person see; the same object while that is the same."""
        policy = self._serving.policy
        if policy is not self._policy:
            self._policy = policy
            self._revealed = frozenset(name for name in self._classes if self._ask(policy, name))
        return self._revealed

    def _ask(self, policy: Policy, data_class: str) -> bool:
        claims = self._serving.claims
        target = policy.document.target(claims.target)
        if target is None:
            return False
        moment = Moment(now_ms=self._serving.now_ms(), reason=claims.reason, login=claims.login, source_ip=claims.source_ip)
        return policy.reveal(claims.principal, target, data_class, moment).allowed
