"""KMS signatures, with a KMS that behaves as AWS does where moto does not."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.adapters.kms import KmsSigner


class Kms:
    """ECDSA_SHA_256 as the AWS KMS API reference describes Sign: RAW up to 4096 bytes, DIGEST not hashed again."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.calls: list[str] = []
        self.wrong = False

    def get_public_key(self, KeyId: str) -> dict[str, bytes]:  # noqa: N803
        self.calls.append("get_public_key")
        return {"PublicKey": self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}

    def sign(self, **asked: Any) -> dict[str, bytes]:
        self.calls.append(asked["MessageType"])
        message = asked["Message"] + (b"!" if self.wrong else b"")
        if asked["MessageType"] == "RAW":
            assert len(asked["Message"]) <= 4096
            return {"Signature": self.key.sign(message, ec.ECDSA(SHA256()))}
        return {"Signature": self.key.sign(message, ec.ECDSA(Prehashed(SHA256())))}


def signer(kms: Kms) -> KmsSigner:
    return KmsSigner(kms, "token", "ssh")  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "kind"), [(10, "RAW"), (6000, "DIGEST")])
def test_long_messages_are_hashed_here(size: int, kind: str) -> None:
    kms = Kms()
    made = signer(kms)
    token = made.sign_token("t+jwt", {"x": "y" * size})
    assert made.verify_token("t+jwt", token) == {"x": "y" * size}
    assert kms.calls.count(kind) == 1


def test_the_public_key_is_read_once() -> None:
    kms = Kms()
    made = signer(kms)
    for _ in range(3):
        made.verify_token("t+jwt", made.sign_token("t+jwt", {}))
    assert kms.calls.count("get_public_key") == 1


def test_a_signature_that_does_not_verify_never_leaves() -> None:
    kms = Kms()
    kms.wrong = True
    with pytest.raises(InvalidSignature):
        signer(kms).sign_token("t+jwt", {})
    with pytest.raises(InvalidSignature):
        signer(kms).sign_ssh(b"x")


def test_another_curve_is_refused() -> None:
    with pytest.raises(RuntimeError):
        signer(Kms(ec.SECP384R1())).token_key()


def test_a_token_without_end_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ValueError, match="too long"):
        signer(Kms()).verify_token("t+jwt", "a" * 20_000)
