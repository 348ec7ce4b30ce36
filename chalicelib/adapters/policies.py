"""The policy in force, compiled once per version and kept: versions never change, so only the pointer is read each time."""

from __future__ import annotations

from chalicelib.contracts.policy import Document, Policy
from chalicelib.ports import Store


class CompiledPolicies:
    """Implements ``ports.Policies`` on any store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._policy = Policy(Document(version=0, rules=[], targets=[]))

    def current(self) -> Policy:
        """Return the policy that decides now. One that cannot be read or compiled raises: no older one decides instead."""
        version = self._store.config_version()
        policy = self._policy
        if policy.version != version:
            document = self._store.config(version)
            if document is None or document.version != version:
                raise RuntimeError(f"configuration version {version} is in force but not there")
            self._policy = policy = Policy(document)
        return policy
