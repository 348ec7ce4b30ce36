"""Everybody and everything else: time, policy in force, sockets, chats, the identity provider."""

from __future__ import annotations

from typing import Protocol

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.policy import Policy
from chalicelib.domain.identity import Identity
from chalicelib.ports.rows import Notice, PendingLogin


class Clock(Protocol):
    """Time and chance, so that tests decide both."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...

    def entropy(self, count: int) -> bytes:
        """``count`` bytes that nobody can guess."""
        ...


class Policies(Protocol):
    """The policy in force, compiled."""

    def current(self) -> Policy:
        """Return the policy that decides now. An empty one before the first apply: nothing is permitted."""
        ...


class Routes(Protocol):
    """The relay's stateless routes: who may send frames to which connection."""

    def seal(self, kind: str, *parts: str) -> str:
        """Return a text that names ``parts`` and cannot be made by anybody else."""
        ...

    def unseal(self, kind: str, text: str) -> tuple[str, ...]:
        """Return the parts. Raises ValueError for anything that was not sealed as ``kind``."""
        ...


class Downlink(Protocol):
    """The way back through the WebSocket API."""

    def post(self, connection: str, message: bytes) -> bool:
        """Send one text message. Returns False if the connection is gone."""
        ...

    def close(self, connection: str) -> None:
        """End a connection; nothing happens if it is gone."""
        ...


class Undelivered(Exception):  # noqa: N818 - an outcome that is tried again, not an error
    """A channel did not take a notice. The text is for administrators and holds no secret."""


class Notifier(Protocol):
    """The ways to people's attention. What they are told and when is decided elsewhere; a link in it never decides anything."""

    def channels(self) -> list[str]:
        """Return the names of the channels that this deployment has; none is a valid answer."""
        ...

    def send(self, channel: str, notice: Notice, request: ApprovalRequest | None) -> None:
        """Hand ``notice`` to one channel, which may see it twice and tells it apart by ``nid``. Raises Undelivered."""
        ...


class Chat(Protocol):
    """Slack, as far as requests are answered there: its signature on what comes, and the ways back from a pressed button."""

    def secret(self) -> bytes:
        """Return what Slack signs with; empty where this deployment takes no answers from there."""
        ...

    def show(self, reply: str, request: ApprovalRequest) -> None:
        """Replace the message whose button was pressed by the request as it is now. Raises Undelivered."""
        ...

    def whisper(self, reply: str, text: str) -> None:
        """Tell something to whoever pressed, and to nobody else. Raises Undelivered."""
        ...


class IdentityProvider(Protocol):
    """The OIDC provider that knows the people."""

    def authorize_url(self, login: PendingLogin) -> str:
        """Return where the browser goes: Authorization Code with PKCE (S256), state and nonce."""
        ...

    def identify(self, code: str, login: PendingLogin) -> Identity:
        """Exchange ``code`` and verify the ID token (signature, issuer, audience, nonce, times). Raises Fault."""
        ...
