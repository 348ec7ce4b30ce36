"""Turn the one-time code of a login into an access token and an SSH certificate that live equally long."""

from __future__ import annotations

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api import LoggedIn, LoginRedeem
from chalicelib.contracts.capability import ACCESS_TYP, AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import identity, ssh_certificate
from chalicelib.domain.ssh_wire import ed25519_of_line
from chalicelib.ports import LoginCode, Ports
from chalicelib.usecases.certify import certify
from chalicelib.usecases.minting import digest, mint


def redeem_login(ports: Ports, asked: LoginRedeem) -> LoggedIn:
    """Return the token and the certificate. Raises Fault: login_expired, login_failed, bad_request."""
    public_key = _public_key(asked.ssh_public_key)
    now_ms = ports.clock.now_ms()
    code = ports.store.take_code(digest(asked.code), now_ms)
    if code is None:
        raise Fault("login_expired", "This login code was used already or took too long.", hint="Run: sallyport login")
    if not identity.answers(asked.verifier, code.challenge):
        # The code is spent: whoever holds it without the verifier gets one try.
        raise Fault("login_failed", "The login was begun by another command line.", hint="Run: sallyport login")
    claims = _claims(ports, code, now_ms)
    person = ssh_certificate.Person(principal=code.principal, groups=code.groups, mfa=code.mfa, token=claims.jti)
    serial = int.from_bytes(ports.clock.entropy(8), "big")
    certificate = ssh_certificate.for_person(person, public_key, claims.iat, claims.exp, serial)
    return LoggedIn(
        access_token=ports.signer.sign_token(ACCESS_TYP, msgspec.to_builtins(claims)),
        expires_ms=claims.exp * 1000,
        principal=code.principal,
        groups=code.groups,
        ssh_certificate=certify(ports, certificate),
    )


def _claims(ports: Ports, code: LoginCode, now_ms: int) -> AccessClaims:
    issued = now_ms // 1000
    return AccessClaims(
        iss=ports.settings.issuer,
        sub=code.principal,
        jti=mint(ports.clock, ids.LOGIN),
        iat=issued,
        exp=issued + ports.settings.login_hours * 3600,
        groups=code.groups,
        mfa=code.mfa,
        email=code.email,
    )


def _public_key(line: str) -> bytes:
    try:
        return ed25519_of_line(line)
    except ValueError as error:
        raise Fault("bad_request", f"ssh_public_key: {error}.", hint="Send one line: ssh-ed25519 AAAA…") from None
