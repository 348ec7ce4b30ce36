"""Ports: what use cases need from the world, and nothing about how it is done.

Adapters implement these (``adapters/``), fakes implement them for tests (``tests/fakes/``), and one conformance suite runs on
both. Every method that writes evidence takes the audit event and stores it in the *same* transaction as the fact.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.ports.evidence import Archive, Blobs, LogHead, LogIndex, Notary, Signer, StoredObject, Unavailable, Vault, Version
from chalicelib.ports.outside import Chat, Clock, Downlink, IdentityProvider, Notifier, Policies, Routes, Undelivered
from chalicelib.ports.rows import (
    Agent,
    AskName,
    CaseQuery,
    Connection,
    Custody,
    Enrolment,
    Link,
    LoginCode,
    Notice,
    OriginalsKey,
    PendingLogin,
    Person,
    Progress,
    SessionQuery,
    Settings,
)
from chalicelib.ports.store import Conflict, Store

__all__ = [
    "Agent",
    "Archive",
    "AskName",
    "Blobs",
    "CaseQuery",
    "Chat",
    "Clock",
    "Conflict",
    "Connection",
    "Custody",
    "Downlink",
    "Enrolment",
    "IdentityProvider",
    "Link",
    "LogHead",
    "LogIndex",
    "LoginCode",
    "Notary",
    "Notice",
    "Notifier",
    "OriginalsKey",
    "PendingLogin",
    "Person",
    "Policies",
    "Ports",
    "Progress",
    "Routes",
    "SessionQuery",
    "Settings",
    "Signer",
    "Store",
    "StoredObject",
    "Unavailable",
    "Undelivered",
    "Vault",
    "Version",
]


@dataclass(frozen=True)
class Ports:
    """Everything a use case may need. Chosen once, in ``bootstrap.py``; tests choose fakes."""

    settings: Settings
    clock: Clock
    store: Store
    policies: Policies
    blobs: Blobs
    signer: Signer
    routes: Routes
    downlink: Downlink
    identity: IdentityProvider
    notary: Notary
    archive: Archive
    log: LogIndex
    notifier: Notifier
    vault: Vault
    chat: Chat
    second: Archive | None = None
    """A bucket of somebody else's, where checkpoints are copied to; None where there is none."""
