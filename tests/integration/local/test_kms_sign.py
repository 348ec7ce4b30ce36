"""KMS signatures that anybody can verify, in the embedded cloud as on AWS."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from infra.local.cloud import EmbeddedCloud

pytestmark = pytest.mark.servers
ALGORITHM = "ECDSA_SHA_256"


@pytest.fixture
def kms(cloud: EmbeddedCloud) -> Any:
    return cloud.boto("kms")


@pytest.fixture
def key(cloud: EmbeddedCloud) -> str:
    return cloud.resources.signing_key


def holds(kms: Any, key: str, signature: bytes, message: bytes) -> bool:
    public = load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, ec.EllipticCurvePublicKey)
    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def test_a_message_and_its_digest_verify_alike(kms: Any, key: str) -> None:
    message = b"m" * 9_000
    digest = hashlib.sha256(message).digest()
    signed = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm=ALGORITHM)
    assert holds(kms, key, signed["Signature"], message)
    assert not holds(kms, key, signed["Signature"], message + b".")
    raw = kms.sign(KeyId=key, Message=b"short", MessageType="RAW", SigningAlgorithm=ALGORITHM)
    assert holds(kms, key, raw["Signature"], b"short")


@pytest.mark.parametrize(("message", "kind"), [(b"m" * 4097, "RAW"), (b"m" * 31, "DIGEST"), (b"m" * 33, "DIGEST")])
def test_lengths_that_aws_refuses(kms: Any, key: str, message: bytes, kind: str) -> None:
    with pytest.raises(ClientError) as refused:
        kms.sign(KeyId=key, Message=message, MessageType=kind, SigningAlgorithm=ALGORITHM)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
