"""Signed notes (https://c2sp.org/signed-note): a text, an empty line, and signatures that anybody can read.

    text of the note
    <empty line>
    — gateway.example.com UmVhbGx5Pw…

A signature line names its key and carries a 4-byte key identifier before the signature; lines of unknown keys are passed over,
so that a note may gather signatures. Keys are written as ``name+id+base64(kind ‖ public key)``:

    kind 1  Ed25519               id = SHA-256(name ‖ "\\n" ‖ 1 ‖ key)[:4]      made by KMS keys of ECC_NIST_EDWARDS25519
    kind 2  ECDSA P-256, SHA-256  id = SHA-256(SubjectPublicKeyInfo)[:4]       made by KMS keys of ECC_NIST_P256
    kind 4  cosignature/v1        id = SHA-256(name ‖ "\\n" ‖ 4 ‖ key)[:4]      made by witnesses, over text and time
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

ED25519: Final = 1
ECDSA: Final = 2
COSIGNATURE: Final = 4
KINDS: Final = frozenset({ED25519, ECDSA, COSIGNATURE})

NOTE_LIMIT: Final = 1 << 20
SIGNATURES_LIMIT: Final = 100
_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_KEY: Final = re.compile(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})")

Check = Callable[[int, bytes, bytes, bytes], bool]
"""``check(kind, public key, message, signature)``: ``signatures.check`` does it."""


class Key(msgspec.Struct, frozen=True):
    """A public key that checks notes. ``public`` is raw (Ed25519) or a DER SubjectPublicKeyInfo (ECDSA)."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that signature lines name it by."""
        if self.kind == ECDSA:
            return hashlib.sha256(self.public).digest()[:4]
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


class Signature(msgspec.Struct, frozen=True):
    """One line under a note."""

    name: str
    key_id: bytes
    body: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.body).decode()}"


class Note(msgspec.Struct, frozen=True):
    """A text, which ends with a newline, and its signatures."""

    text: str
    signatures: list[Signature]

    def by(self, key: Key) -> list[Signature]:
        """Return the lines that claim to be made by ``key``."""
        return [line for line in self.signatures if (line.name, line.key_id) == (key.name, key.id)]

    def __str__(self) -> str:
        return f"{self.text}\n" + "".join(f"{line}\n" for line in self.signatures)


def check_name(name: str) -> str:
    """Return ``name`` if a key may have it. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("a key's name has no spaces and no plus sign")
    return name


def read_key(text: str) -> Key:
    """Return the key of one line. Raises ValueError."""
    match = _KEY.fullmatch(text.strip())
    raw = _decode(match[3]) if match else b""
    if match is None or len(raw) < 2 or raw[0] not in KINDS:
        raise ValueError("a key reads like name+0123abcd+BASE64")
    key = Key(match[1], raw[0], raw[1:])
    if key.id.hex() != match[2]:
        raise ValueError(f"the identifier of key {key.name} is not its own")
    return key


def read_keys(text: str) -> list[Key]:
    """Return the keys of a file: one on a line, ``#`` begins a comment. Raises ValueError naming the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line := line.partition("#")[0].strip():
            try:
                found.append(read_key(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    return found


def parse(raw: bytes) -> Note:
    """Return the note that ``raw`` is. Raises ValueError; whether a signature is any good is not looked at."""
    if len(raw) > NOTE_LIMIT:
        raise ValueError("the note is too long")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("the note is not UTF-8") from None
    if any(ord(letter) < 0x20 and letter != "\n" for letter in text):
        raise ValueError("the note holds control characters")
    body, gap, tail = text.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise ValueError("the note has no signatures under it")
    lines = tail.removesuffix("\n").split("\n")
    if len(lines) > SIGNATURES_LIMIT:
        raise ValueError("the note has too many signatures")
    return Note(f"{body}\n", [read_signature(line) for line in lines])


def read_signature(line: str) -> Signature:
    """Return the signature of one line. Raises ValueError."""
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _decode(encoded)
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name) or len(raw) < 5:
        raise ValueError("a signature's line reads like: \u2014 name BASE64")
    return Signature(name, raw[:4], raw[4:])


def signers(note: Note, keys: Iterable[Key], check: Check) -> list[Key]:
    """Return the keys of kind 1 and 2 whose signature under ``note`` is good."""
    message = note.text.encode()
    plain = [key for key in keys if key.kind != COSIGNATURE]
    return [key for key in plain if any(check(key.kind, key.public, message, line.body) for line in note.by(key))]


def signed(text: str, made: Sequence[tuple[Key, bytes]]) -> Note:
    """Return ``text`` with the signatures that were made over it. Raises ValueError for a text that cannot be a note."""
    if not text.endswith("\n") or "\n\n" in text or text.startswith("\n"):
        raise ValueError("a note's text is lines without an empty one")
    return Note(text, [Signature(key.name, key.id, body) for key, body in made])


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
