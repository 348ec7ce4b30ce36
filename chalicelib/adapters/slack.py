"""Slack's ways back: the ``response_url`` of a pressed button. The secret that Slack signs with is in the channels' secret."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec
import urllib3

from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.domain.slack_message import escaped, message
from chalicelib.domain.slack_signature import button
from chalicelib.ports import Undelivered

#: Slack waits three seconds for us, and this is inside of them.
_TIMEOUT: Final = urllib3.Timeout(connect=0.8, read=1.0)
_ANSWER: Final = 4_096


class SlackChat:
    """Implements ``ports.Chat``."""

    def __init__(
        self,
        read: Callable[[], str],
        link: Callable[[str], str],
        pool: urllib3.PoolManager | None = None,
    ) -> None:
        """``read`` returns the signing secret, or nothing; it is asked once. ``link`` names a request's page."""
        self._secret = functools.cache(read)
        self._link = link
        self._pool = pool or urllib3.PoolManager(timeout=_TIMEOUT, retries=False, maxsize=2)

    def secret(self) -> bytes:
        """Return what Slack signs with; empty where nothing is taken from there."""
        return self._secret().encode()

    def show(self, reply: str, request: ApprovalRequest) -> None:
        """Replace the message by the request as it is now."""
        about = "asked" if request.state is RequestState.PENDING else str(request.state)
        shown = message(request, about, self._link(request.rid), button(self.secret(), request.rid, request.digest))
        self._post(reply, {"replace_original": True} | shown)

    def whisper(self, reply: str, text: str) -> None:
        """Tell something to whoever pressed."""
        self._post(reply, {"response_type": "ephemeral", "replace_original": False, "text": escaped(text)})

    def _post(self, url: str, body: dict[str, Any]) -> None:
        headers = {"content-type": "application/json", "user-agent": "sallyport"}
        try:
            answer = self._pool.request(
                "POST", url, body=msgspec.json.encode(body), headers=headers, redirect=False, preload_content=False
            )
            try:
                answer.read(_ANSWER)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            # The address is a secret for half an hour, and errors quote it.
            raise Undelivered(f"slack-reply: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise Undelivered(f"slack-reply answered {answer.status}")
