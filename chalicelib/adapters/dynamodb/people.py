"""Logins on their way, and revoked tokens. ``LOGIN#``, ``CODE#`` and ``REVOKED#`` rows delete themselves by ``ttl``.

``PERSON#<principal>`` is what the newest login said of somebody.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chalicelib.adapters.dynamodb.evidence import recording
from chalicelib.adapters.dynamodb.table import Table, fields, struct, ttl
from chalicelib.contracts.audit import AnyEvent
from chalicelib.ports import LoginCode, PendingLogin, Person


class People:
    """What the table knows of people."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def save_login(self, login: PendingLogin) -> None:
        """Keep a pending login."""
        self._table.put(fields(login) | {"pk": f"LOGIN#{login.state}", "sk": "A", "ttl": ttl(login.expires_ms)})

    def take_login(self, state: str, now_ms: int) -> PendingLogin | None:
        """Return and delete a pending login, once."""
        row = self._table.take(f"LOGIN#{state}")
        return msgspec.convert(row, PendingLogin) if row and row["expires_ms"] > now_ms else None

    def save_code(self, code: LoginCode, event: AnyEvent) -> None:
        """Keep a completed login together with its audit event."""
        row = fields(code) | {"pk": f"CODE#{code.code_sha256}", "sk": "A", "ttl": ttl(code.expires_ms)}
        person = Person(principal=code.principal, email=code.email, groups=code.groups, seen_ms=event.time_ms)
        self._table.write([self._table.creating(row), self._knowing(person), recording(self._table, event)])

    def save_person(self, person: Person, event: AnyEvent) -> None:
        """Keep who somebody is as their newest login shows them."""
        self._table.write([self._knowing(person), recording(self._table, event)])

    def person(self, principal: str) -> Person | None:
        """Return somebody as their newest login showed them."""
        return struct(self._table.get(f"PERSON#{principal}"), Person)

    def take_code(self, code_sha256: str, now_ms: int) -> LoginCode | None:
        """Return and delete a completed login, once."""
        row = self._table.take(f"CODE#{code_sha256}")
        return msgspec.convert(row, LoginCode) if row and row["expires_ms"] > now_ms else None

    def revoke_token(self, jti: str, until_ms: int, event: AnyEvent) -> None:
        """Refuse the access token ``jti`` from now on."""
        row = {"pk": f"REVOKED#{jti}", "sk": "A", "ttl": ttl(until_ms)}
        self._table.write([self._table.putting(row), recording(self._table, event)])

    def is_revoked(self, jti: str) -> bool:
        """Tell whether an access token was revoked."""
        return self._table.get(f"REVOKED#{jti}") is not None

    def _knowing(self, person: Person) -> dict[str, Any]:
        return self._table.putting(fields(person) | {"pk": f"PERSON#{person.principal}", "sk": "A"})
