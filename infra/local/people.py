"""Who can sign in to the embedded cloud."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in."""

    username: str
    groups: tuple[str, ...] = ()
    amr: tuple[str, ...] = ("pwd", "mfa")
    email_verified: bool = True

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"

    @property
    def name(self) -> str:
        return self.username.capitalize()

    def claims(self) -> dict[str, Any]:
        """What an ID token and /userinfo say about this person."""
        return {
            "sub": f"dev|{self.username}",
            "preferred_username": self.username,
            "name": self.name,
            "email": self.email,
            "email_verified": self.email_verified,
            "groups": list(self.groups),
        }


PEOPLE = (
    Person("alice", ("engineering", "sre")),
    Person("bob", ("engineering", "dba")),
    Person("carol", ("auditors",)),
    Person("pat", ("platform", "sre")),
    Person("mallory"),
)
