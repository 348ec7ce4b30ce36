"""Channels that remember what they were handed, and fail when a test says so."""

from __future__ import annotations

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.ports import Notice, Undelivered


class FakeNotifier:
    """Implements ``chalicelib.ports.Notifier``."""

    def __init__(self, *channels: str) -> None:
        self.names = list(channels) or ["mail"]
        self.failing: set[str] = set()
        self.sent: list[tuple[str, Notice, ApprovalRequest | None]] = []

    def channels(self) -> list[str]:
        return list(self.names)

    def send(self, channel: str, notice: Notice, request: ApprovalRequest | None) -> None:
        if channel in self.failing or channel not in self.names:
            raise Undelivered(f"{channel} is closed")
        self.sent.append((channel, notice, request))

    def told(self) -> list[str]:
        """What was told, in order: ``about > group`` and ``about > person``."""
        return [f"{notice.about} > {who}" for _, notice, _ in self.sent for who in [*notice.groups, *notice.people]]
