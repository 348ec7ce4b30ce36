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


class FakeChat:
    """Implements ``chalicelib.ports.Chat``."""

    def __init__(self) -> None:
        self.signs_with = b""
        self.failing = False
        self.shown: list[tuple[str, ApprovalRequest]] = []
        self.whispered: list[tuple[str, str]] = []

    def secret(self) -> bytes:
        return self.signs_with

    def show(self, reply: str, request: ApprovalRequest) -> None:
        self._fail()
        self.shown.append((reply, request))

    def whisper(self, reply: str, text: str) -> None:
        self._fail()
        self.whispered.append((reply, text))

    def _fail(self) -> None:
        if self.failing:
            raise Undelivered("the chat is closed")
