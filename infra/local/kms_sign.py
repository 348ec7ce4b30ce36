"""KMS ``Sign`` as AWS does it, where moto does not: a DIGEST is signed as it is, and a RAW message has at most 4096 bytes.

moto hashes a digest once more (so that nobody outside can verify it) and signs a message of any length. Everything else of KMS
is moto's; this only answers the calls that moto would get wrong.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

RAW_LIMIT: Final = 4096
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "ECDSA_SHA_256": hashes.SHA256(),
    "ECDSA_SHA_384": hashes.SHA384(),
    "ECDSA_SHA_512": hashes.SHA512(),
}


def sign(body: bytes, region: str) -> tuple[int, bytes] | None:
    """Answer a ``TrentService.Sign`` request: status and JSON, or None where moto is right and shall answer."""
    try:
        asked = json.loads(body)
        message = base64.b64decode(asked.get("Message", ""))
    except (ValueError, AttributeError, TypeError):
        return None  # moto says what is wrong with it
    if asked.get("MessageType", "RAW") == "RAW":
        return None if len(message) <= RAW_LIMIT else _refused(f"a RAW message has at most {RAW_LIMIT} bytes")
    algorithm = _HASHES.get(asked.get("SigningAlgorithm", ""))
    if algorithm is None:
        return None
    if len(message) != algorithm.digest_size:
        return _refused("the digest has another length than the signing algorithm's")
    key = _key(asked["KeyId"], region)
    if key is None:
        return None
    signature = key.private_key.private_key.sign(message, ec.ECDSA(utils.Prehashed(algorithm)))
    answer = {
        "KeyId": key.arn,
        "Signature": base64.b64encode(signature).decode(),
        "SigningAlgorithm": asked["SigningAlgorithm"],
    }
    return 200, json.dumps(answer).encode()


def _key(key_id: str, region: str) -> Any:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.kms.models import kms_backends

    return kms_backends[DEFAULT_ACCOUNT_ID][region].keys.get(key_id.rsplit("/", 1)[-1])


def _refused(why: str) -> tuple[int, bytes]:
    return 400, json.dumps({"__type": "ValidationException", "message": f"1 validation error detected: {why}"}).encode()
