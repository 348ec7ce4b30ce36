"""An identity provider that knows whoever a test put there, by code."""

from __future__ import annotations

from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Identity
from chalicelib.ports import PendingLogin


class FakeIdentityProvider:
    """Implements ``chalicelib.ports.IdentityProvider``."""

    def __init__(self) -> None:
        self.people: dict[str, Identity] = {}

    def authorize_url(self, login: PendingLogin) -> str:
        return f"https://idp.invalid/authorize?state={login.state}&nonce={login.nonce}"

    def identify(self, code: str, login: PendingLogin) -> Identity:
        if code not in self.people:
            raise Fault("login_failed", "The identity provider refused the login.")
        return self.people[code]
