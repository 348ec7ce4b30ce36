"""Each key of the spool opens one kind of thing, of one session, of one run of one agent."""

from __future__ import annotations

import itertools

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime.spool_keys import SALT_BYTES, SpoolKeys, spool_secret

NONCE = bytes(12)
KEYS, OTHERS = SpoolKeys(spool_secret(b"a" * 32)), SpoolKeys(spool_secret(b"b" * 32))
SALT, ANOTHER = bytes(SALT_BYTES), b"x" * SALT_BYTES


def every() -> dict[str, AESGCM]:
    found = {}
    for (agent, keys), (run, salt) in itertools.product({"a": KEYS, "b": OTHERS}.items(), {"1": SALT, "2": ANOTHER}.items()):
        found[f"{agent}{run} log"] = keys.log(salt)
        for sid in ("ses_1", "ses_2"):
            found[f"{agent}{run} lines {sid}"] = keys.lines(salt, sid)
            found[f"{agent}{run} chunks {sid}"] = keys.chunks(salt, sid)
    return found


def test_no_key_opens_what_another_one_sealed() -> None:
    made = every()
    assert len(made) == 20
    for (sealer, one), (opener, other) in itertools.product(made.items(), repeat=2):
        sealed = one.encrypt(NONCE, b"plain", b"")
        if sealer == opener:
            assert other.decrypt(NONCE, sealed, b"") == b"plain"
        else:
            with pytest.raises(InvalidTag):
                other.decrypt(NONCE, sealed, b"")


def test_the_same_key_is_derived_again_after_a_restart() -> None:
    sealed = KEYS.chunks(KEYS.salt, "ses_1").encrypt(NONCE, b"plain", b"")
    again = SpoolKeys(spool_secret(b"a" * 32))
    assert again.chunks(KEYS.salt, "ses_1").decrypt(NONCE, sealed, b"") == b"plain"
    assert again.salt != KEYS.salt, "and this run's own are new ones"
