"""What the agent serves and how it decides, as the control plane last said: read by every session, replaced as a whole."""

from __future__ import annotations

from agent.telemetry import logger
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import Document, Policy


class Configuration:
    """The document in force and its compiled policy. Before the first announcement it permits nothing."""

    def __init__(self) -> None:
        self.policy = _nothing(0)

    @property
    def version(self) -> int:
        """Version of the document in force."""
        return self.policy.version

    def replace(self, document: Document) -> None:
        """Put ``document`` in force. One whose rules do not compile puts a policy in force that permits nothing."""
        if document.version < self.version:
            return  # an answer that was overtaken by a newer one
        try:
            self.policy = Policy(document)
        except (ValueError, RecursionError) as error:
            logger(version=document.version).error("policy.unusable", detail=str(error))
            self.policy = _nothing(document.version)

    def target(self, name: str) -> Target:
        """Return a target of this agent. Raises Fault(unknown_target)."""
        target = self.policy.document.target(name)
        if target is None:
            raise Fault("unknown_target", "The agent does not serve this target.")
        return target


def _nothing(version: int) -> Policy:
    return Policy(Document(version=version, rules=[], targets=[]))
