"""OpenSSH certificates for Ed25519 keys, signed by an ECDSA P-256 authority that lives in KMS (OpenSSH PROTOCOL.certkeys).

    string  "ssh-ed25519-cert-v01@openssh.com"
    string  nonce          string  pk             uint64  serial        uint32  type (1 user, 2 host)
    string  key id         string  principals     uint64  valid after   uint64  valid before
    string  critical options      string  extensions     string  reserved     string  authority's public key
    string  signature over everything above

A certificate without principals is valid for *every* name, so one is never made. A person's certificate carries who they are for
policy (groups, second factor, the token it came with) in extensions of our own, because an agent that meets a native client has
nothing else to show the control plane.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.domain.ssh_wire import ECDSA, Wire, blob_of_line, line_of_blob, string, u32, u64

KIND: Final = "ssh-ed25519-cert-v01@openssh.com"
USER: Final = 1
HOST: Final = 2
HOST_HOURS: Final = 48
#: Clocks differ: a certificate is good from a little before it was made.
BACKDATE_S: Final = 60

_GROUPS: Final = "groups@sallyport"
_MFA: Final = "mfa@sallyport"
_TOKEN: Final = "token@sallyport"  # noqa: S105 - the name of an extension
_PTY: Final = "permit-pty"


class Person(msgspec.Struct, kw_only=True, frozen=True):
    """What a user certificate says about its owner."""

    principal: str
    groups: list[str]
    mfa: bool
    token: str
    """``jti`` of the access token that was issued with it; revoking that ends both."""


class Certificate(msgspec.Struct, kw_only=True, frozen=True):
    """The fields of a certificate that are ours to choose. Times are Unix seconds."""

    type: int
    public_key: bytes
    """32 raw bytes."""
    key_id: str
    principals: list[str]
    valid_after: int
    valid_before: int
    serial: int
    extensions: dict[str, bytes] = {}


def host_alias(target: str) -> str:
    """Return the name that an agent's host certificate gives a target."""
    return f"{target}.sallyport"


def for_person(person: Person, public_key: bytes, now_s: int, until_s: int, serial: int) -> Certificate:
    """Return a user certificate: a terminal and nothing else, no forwarding of any kind, as long as the access token."""
    extensions = {_GROUPS: string(msgspec.json.encode(person.groups)), _PTY: b"", _TOKEN: string(person.token)}
    if person.mfa:
        extensions[_MFA] = b""
    return Certificate(
        type=USER,
        public_key=public_key,
        key_id=person.principal,
        principals=[person.principal],
        valid_after=now_s - BACKDATE_S,
        valid_before=until_s,
        serial=serial,
        extensions=extensions,
    )


def for_agent(name: str, targets: list[str], public_key: bytes, now_s: int, serial: int) -> Certificate:
    """Return a host certificate for the listener of the agent ``name``, which serves ``targets``."""
    # Target names hold no dots, so this stand-in matches no target; without any principal it would match all of them.
    principals = [host_alias(target) for target in targets] or [f"{name}.agent.sallyport"]
    return Certificate(
        type=HOST,
        public_key=public_key,
        key_id=f"agent:{name}",
        principals=principals,
        valid_after=now_s - BACKDATE_S,
        valid_before=now_s + HOST_HOURS * 3600,
        serial=serial,
    )


def to_be_signed(certificate: Certificate, nonce: bytes, authority: bytes) -> bytes:
    """Return everything before the signature. ``authority`` is the blob of the CA's public key."""
    if not certificate.principals or not all(certificate.principals):
        raise ValueError("a certificate without principals would be valid for everybody")
    return b"".join(
        (
            string(KIND),
            string(nonce),
            string(certificate.public_key),
            u64(certificate.serial),
            u32(certificate.type),
            string(certificate.key_id),
            string(b"".join(string(name) for name in certificate.principals)),
            u64(certificate.valid_after),
            u64(certificate.valid_before),
            string(b""),
            # PROTOCOL.certkeys: options must be in lexical order, each once.
            string(b"".join(string(name) + string(certificate.extensions[name]) for name in sorted(certificate.extensions))),
            string(b""),
            string(authority),
        )
    )


def line(body: bytes, signature: bytes) -> str:
    """Return the certificate as one line."""
    return line_of_blob(KIND, body + string(signature))


def read_person(text: str, authority_line: str, now_s: int) -> Person:
    """Return who a user certificate of ours belongs to. Raises ValueError for anything that is not one, or not now."""
    blob = blob_of_line(text, KIND)
    wire = Wire(blob)
    wire.string()  # the kind, which blob_of_line has compared
    wire.string()  # nonce
    if len(wire.string()) != 32:
        raise ValueError("an Ed25519 key has 32 bytes")
    wire.u64()  # serial
    kind, key_id, principals = wire.u32(), wire.text(), _strings(wire.string())
    after, before = wire.u64(), wire.u64()
    critical, extensions = wire.string(), _options(wire.string())
    wire.string()  # reserved
    authority = wire.string()
    signed = blob[: wire.position]
    signature = wire.string()
    wire.end()
    # The authority inside the certificate proves nothing by itself; only the one we know does.
    if authority != blob_of_line(authority_line, ECDSA):
        raise ValueError("another authority signed the certificate")
    _verify(authority, signature, signed)
    if kind != USER or critical or principals != [key_id.encode()]:
        raise ValueError("not a person's certificate of this gateway")
    if not after <= now_s < before:
        raise ValueError("the certificate is not valid now")
    return _person(key_id, extensions)


def _person(principal: str, extensions: dict[str, bytes]) -> Person:
    if _GROUPS not in extensions or _TOKEN not in extensions:
        raise ValueError("the certificate does not say whose it is")
    groups = msgspec.json.decode(Wire(extensions[_GROUPS]).string(), type=list[str])
    return Person(principal=principal, groups=groups, mfa=_MFA in extensions, token=Wire(extensions[_TOKEN]).text())


def _strings(packed: bytes) -> list[bytes]:
    wire, found = Wire(packed), []
    while not wire.done():
        found.append(wire.string())
    return found


def _options(packed: bytes) -> dict[str, bytes]:
    wire, found = Wire(packed), dict[str, Any]()
    while not wire.done():
        name = wire.text()
        if name in found:
            raise ValueError("an extension is there twice")
        found[name] = wire.string()
    return found


def _verify(authority: bytes, signature: bytes, signed: bytes) -> None:
    outer = Wire(signature)
    if outer.text() != ECDSA:
        raise ValueError("the signature is of another kind")
    inner = Wire(outer.string())
    outer.end()
    r, s = (int.from_bytes(inner.string(), "big") for _ in range(2))
    inner.end()
    key_wire = Wire(authority)
    key_wire.string(), key_wire.string()
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key_wire.string())
    try:
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise ValueError("the certificate's signature is wrong") from None
