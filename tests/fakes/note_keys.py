"""Keys that sign notes in tests: an Ed25519 log or witness, and P-256 as KMS has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.contracts.translog import checkpoints, notes


@dataclass
class NoteKey:
    """A private key and its public :class:`notes.Key`."""

    key: notes.Key
    private: Any

    @classmethod
    def ed25519(cls, name: str, kind: int = notes.ED25519) -> NoteKey:
        private = ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{name} {kind}".encode()).digest())
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls(notes.Key(name, kind, public), private)

    @classmethod
    def p256(cls, name: str) -> NoteKey:
        private = ec.generate_private_key(ec.SECP256R1())
        public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(notes.Key(name, notes.ECDSA, public), private)

    def sign(self, text: str) -> notes.Note:
        return notes.signed(text, [(self.key, self.raw(text.encode()))])

    def raw(self, message: bytes) -> bytes:
        if self.key.kind == notes.ECDSA:
            return bytes(self.private.sign(message, ec.ECDSA(SHA256())))
        return bytes(self.private.sign(message))

    def cosign(self, note: notes.Note, time_s: int) -> notes.Note:
        line = checkpoints.cosignature(self.key, time_s, self.raw(checkpoints.cosigned_text(note.text, time_s)))
        return notes.Note(note.text, [*note.signatures, line])
