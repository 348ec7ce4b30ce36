"""Is this request Slack's, and of now? https://docs.slack.dev/authentication/verifying-requests-from-slack"""

from __future__ import annotations

import hmac
from typing import Final

from chalicelib.contracts.faults import Fault

#: Slack's own bound: "If the timestamp is more than five minutes from local time, it could be a replay attack".
WINDOW_S: Final = 300


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return ``X-Slack-Signature`` for a body: version 0, HMAC-SHA-256 over version, time and the body's own bytes."""
    return "v0=" + hmac.digest(secret, f"v0:{timestamp}:".encode("utf-8", "replace") + body, "sha256").hex()


def check(secret: bytes, timestamp: str, signature: str, body: bytes, now_ms: int) -> None:
    """Raise Fault(signature_invalid) unless Slack signed exactly this, within five minutes. One answer for every reason."""
    # The time is under the signature, so it is only believed once the signature is right; until then it is ten digits or nothing.
    known = hmac.compare_digest(signature.encode("utf-8", "replace"), sign(secret, timestamp, body).encode())
    timely = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
    if not (known and timely and abs(now_ms / 1000 - int(timestamp)) <= WINDOW_S):
        raise invalid()


def invalid() -> Fault:
    """Return the one answer."""
    return Fault("signature_invalid", "This was not signed by Slack for now.")


def button(secret: bytes, rid: str, digest: str) -> str:
    """Return what a button carries: the request and its digest, as only we can say them.

    Slack signs that a button of our app was pressed, and not what stood above it. Whoever has the address of the incoming webhook
    can post a message of their own; without this they could put our buttons under another text.
    """
    return f"{rid}.{digest}.{_mac(secret, rid, digest)}"


def pressed(secret: bytes, value: str) -> tuple[str, str]:
    """Return request and digest of a button's value. Raises Fault(bad_request) for any that was not made by :func:`button`."""
    rid, _, rest = value.partition(".")
    digest, _, mac = rest.partition(".")
    if not hmac.compare_digest(mac.encode("utf-8", "replace"), _mac(secret, rid, digest).encode()):
        raise Fault("bad_request", "This button was not made by this gateway.")
    return rid, digest


def _mac(secret: bytes, rid: str, digest: str) -> str:
    said = f"sallyport-button-v1\0{rid}\0{digest}".encode("utf-8", "replace")
    return hmac.digest(secret, said, "sha256").hex()
