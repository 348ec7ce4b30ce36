"""Who a person is, as an ID token says it: claims checked (OpenID Connect Core 1.0 §3.1.3.7), a principal chosen.

A principal's name ends up in certificates, file keys and policies, so only names of a plain shape are accepted, and an e-mail
address only where the provider says that it was verified: otherwise anybody who may edit their own profile could become anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any, Final

import msgspec

from chalicelib.contracts.capability import SKEW_S
from chalicelib.contracts.faults import Fault
from chalicelib.domain import base64url

_PRINCIPAL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+'-]{0,253}")
_GROUP_LIMIT: Final = 256
#: Groups travel in every token and certificate, and KMS signs at most 4096 bytes at once.
GROUPS_BYTES: Final = 1_500
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Identity(msgspec.Struct, kw_only=True, frozen=True):
    """What a verified ID token says about a person."""

    principal: str
    groups: list[str]
    mfa: bool
    email: str = ""
    """The e-mail address that the provider verified, in lower case; empty where it verified none."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say to be for us, and which claims speak of the person."""

    issuer: str
    client_id: str
    principal_claim: str = "email"
    groups_claim: str = "groups"


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636 §4.2)."""
    return base64url.encode(hashlib.sha256(verifier.encode()).digest())


def is_challenge(text: str) -> bool:
    """Tell whether ``text`` looks like an S256 challenge."""
    return _CHALLENGE.fullmatch(text) is not None


def answers(verifier: str, expected: str) -> bool:
    """Tell whether ``verifier`` is the one that ``expected`` was made from, in constant time."""
    return _VERIFIER.fullmatch(verifier) is not None and hmac.compare_digest(challenge(verifier), expected)


def identity_of(claims: dict[str, Any], wanted: Wanted, nonce: str, now_s: int) -> Identity:
    """Return the identity that verified ``claims`` speak of. Raises Fault."""
    _check_token(claims, wanted, nonce, now_s)
    principal = claims.get(wanted.principal_claim)
    if not isinstance(principal, str) or not _PRINCIPAL.fullmatch(principal):
        raise Fault(
            "identity_unverified",
            f"Your identity provider did not send a usable {wanted.principal_claim}.",
            hint="Ask whoever runs it to add this claim to the ID token.",
        )
    if wanted.principal_claim == "email" and claims.get("email_verified") is not True:
        raise Fault("identity_unverified", "Your identity provider has not verified your e-mail address.")
    methods = claims.get("amr")
    return Identity(
        principal=principal,
        groups=_groups(claims.get(wanted.groups_claim)),
        # RFC 8176: "mfa" is the only value that speaks of several factors.
        mfa=isinstance(methods, list) and "mfa" in methods,
        email=_email(claims),
    )


def _email(claims: dict[str, Any]) -> str:
    email = claims.get("email")
    verified = claims.get("email_verified") is True and isinstance(email, str) and _PRINCIPAL.fullmatch(email)
    return str(email).casefold() if verified else ""


def _check_token(claims: dict[str, Any], wanted: Wanted, nonce: str, now_s: int) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    expires, issued, said = _time(claims.get("exp")), _time(claims.get("iat")), claims.get("nonce")
    wrong = ""
    if claims.get("iss") != wanted.issuer:
        wrong = "issuer"
    elif wanted.client_id not in audiences:
        wrong = "audience"
    elif (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != wanted.client_id:
        wrong = "authorized party"
    elif not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        wrong = "nonce"
    elif expires is None or expires <= now_s - SKEW_S:
        wrong = "expiry"
    elif issued is None or issued > now_s + SKEW_S:
        wrong = "issue time"
    if wrong:
        raise Fault("login_failed", f"The identity provider's token has the wrong {wrong}.", hint="Run: sallyport login")


def _time(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _groups(claim: Any) -> list[str]:
    if claim is None:
        return []
    found = [claim] if isinstance(claim, str) else claim
    if not isinstance(found, list) or not all(isinstance(each, str) and 0 < len(each) <= _GROUP_LIMIT for each in found):
        raise Fault("identity_unverified", "Your identity provider sent groups in an unknown form.")
    groups = sorted(set(found))
    if len(msgspec.json.encode(groups)) > GROUPS_BYTES:
        raise Fault(
            "identity_unverified",
            f"Your identity provider sent {len(groups)} groups, more than fit into a token.",
            hint="Ask whoever runs it to send only the groups that this gateway's policies name.",
        )
    return groups
