"""Signed notes and their keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.translog import notes
from chalicelib.contracts.translog.signatures import check
from tests.fakes.note_keys import NoteKey

TEXT = "first line\nsecond line\n"
MAKERS = [NoteKey.ed25519, NoteKey.p256]


@pytest.mark.parametrize("make", MAKERS)
def test_a_note_survives_its_own_text(make) -> None:  # type: ignore[no-untyped-def]
    key = make("gw.example/log")
    raw = str(key.sign(TEXT)).encode()
    note = notes.parse(raw)
    assert note.text == TEXT
    assert str(note).encode() == raw
    assert notes.signers(note, [key.key], check) == [key.key]
    assert notes.read_key(str(key.key)) == key.key


@pytest.mark.parametrize("make", MAKERS)
def test_every_change_of_the_text_is_seen(make) -> None:  # type: ignore[no-untyped-def]
    key = make("gw.example/log")
    note = key.sign(TEXT)
    for text in ("first line\nsecond lime\n", "first line\n", TEXT + "third\n"):
        assert notes.signers(notes.Note(text, note.signatures), [key.key], check) == []


def test_signatures_of_others_are_passed_over_and_never_counted() -> None:
    ours, theirs = NoteKey.ed25519("ours"), NoteKey.ed25519("theirs")
    both = notes.Note(TEXT, [*theirs.sign(TEXT).signatures, *ours.sign(TEXT).signatures])
    assert notes.signers(both, [ours.key], check) == [ours.key]
    # Another key under our name has another identifier, and a copied identifier does not make its signature ours.
    impostor = notes.Signature("ours", ours.key.id, theirs.raw(TEXT.encode()))
    assert notes.signers(notes.Note(TEXT, [impostor]), [ours.key], check) == []


def test_a_witness_does_not_sign_as_a_log() -> None:
    witness = NoteKey.ed25519("w", notes.COSIGNATURE)
    assert notes.signers(witness.sign(TEXT), [witness.key], check) == []


def test_the_ed25519_key_of_the_specification_has_its_identifier() -> None:
    # https://pkg.go.dev/golang.org/x/mod/sumdb/note, the package's own example.
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    key = notes.read_key(text)
    assert (key.name, key.kind, str(key)) == ("PeterNeumann", notes.ED25519, text)
    example = (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert notes.signers(notes.parse(example.encode()), [key], check) == [key]


def test_a_file_of_keys_has_comments_and_names_its_mistakes() -> None:
    one, two = NoteKey.ed25519("one"), NoteKey.p256("two")
    text = f"# who vouches\n{one.key}  # the log\n\n{two.key}\n"
    assert notes.read_keys(text) == [one.key, two.key]
    with pytest.raises(ValueError, match="line 2"):
        notes.read_keys(f"{one.key}\nnonsense\n")
    stolen = str(one.key).replace("one+", "two+")
    with pytest.raises(ValueError, match="not its own"):
        notes.read_keys(stolen)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name",
        b"text\n\nname AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name !!!!\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"te\x00xt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"x" * (notes.NOTE_LIMIT + 1),
        b"text\n\n" + b"\xe2\x80\x94 name AAAAAAAA\n" * 101,
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        notes.parse(raw)


@given(st.binary(max_size=300))
def test_garbage_is_a_note_or_a_value_error(raw: bytes) -> None:
    try:
        note = notes.parse(raw)
    except ValueError:
        return
    assert notes.parse(str(note).encode()) == note


@given(st.sampled_from([0, 1, 2, 3, 4]), st.binary(max_size=100), st.binary(max_size=80))
def test_no_key_and_no_signature_makes_the_check_raise(kind: int, public: bytes, signature: bytes) -> None:
    assert not check(kind, public, b"message", signature)


@pytest.mark.parametrize("text", ["no newline", "a\n\nb\n", "\na\n"])
def test_only_lines_are_signed(text: str) -> None:
    with pytest.raises(ValueError, match="lines"):
        notes.signed(text, [])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_names_of_keys(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        notes.check_name(name)
