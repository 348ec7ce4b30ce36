"""What is sealed can be opened with the private half of its key, for its own session, in its own place, and in no other way."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.effects import Record
from agent.runtime.relay import Performer
from agent.runtime.sealing import Sealer
from chalicelib.contracts import originals
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SealingKey
from tests.fakes import hpke
from tests.fakes.agent_runtime import SID, FakeServing

PRIVATE = X25519PrivateKey.generate()
KEY = SealingKey(target="db", month="2026-11", public=PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def opened(lines: bytes, *, sid: str = SID, target: str = "db", month: str = "2026-11") -> bytes:
    """What the holder of the private key reads."""
    first, *rest = lines.splitlines()
    header = originals.read_header(first)
    content = hpke.opened(PRIVATE.private_bytes_raw(), header.content, originals.info(sid, target, month, KEY.key))
    plain = b""
    for number, line in enumerate(rest):
        record = originals.read_record(line)
        assert record.n == number
        aad = originals.aad(sid, target, month, KEY.key, number)
        plain += AESGCM(content).decrypt(originals.nonce(number), record.sealed, aad)
    return plain


def test_the_second_implementation_is_that_of_the_rfc() -> None:
    """RFC 9180, appendix A.1.1."""
    private = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    encapsulated = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    secret = hpke.shared_secret(private, encapsulated)
    assert secret.hex() == "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"
    key, nonce = hpke.schedule(secret, info, aead=1)
    assert (key.hex(), nonce.hex()) == ("4531685d41d65f03dc48f6b8302c05b0", "56d890e5accaaf011cff4b7d")
    sealed = bytes.fromhex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a")
    assert hpke.opened(private, encapsulated + sealed, info, b"Count-0", aead=1) == b"Beauty is truth, truth beauty"


@given(st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), min_size=1, max_size=5))
@settings(max_examples=30)
def test_what_was_sealed_is_read_back_in_order(writes: list[list[bytes]]) -> None:
    sealer = Sealer(SID, KEY)
    sealed = b"".join(sealer.seal(lines) for lines in writes)
    assert opened(sealed) == b"".join(piece for lines in writes for piece in lines)
    for piece in (each for lines in writes for each in lines if len(each) > 8):
        assert piece not in sealed


def test_a_long_line_becomes_several_records_that_fit_into_a_recording() -> None:
    plain = b"x" * (3 * originals.RECORD_BYTES + 7)
    sealed = Sealer(SID, KEY).seal([plain])
    assert len(sealed.splitlines()) == 1 + 4
    assert max(map(len, sealed.splitlines())) < 1024 * 1024
    assert opened(sealed) == plain


def test_the_heading_says_which_key_and_nothing_else() -> None:
    header = msgspec.json.decode(Sealer(SID, KEY).seal([b"{}\n"]).splitlines()[0])
    assert {name: header[name] for name in header if name != "content"} == {
        "format": "sallyport-sealed",
        "version": 1,
        "sid": SID,
        "target": "db",
        "month": "2026-11",
        "key": KEY.key,
    }


@pytest.mark.parametrize("other", [{"sid": "ses_other"}, {"target": "web"}, {"month": "2026-10"}])
def test_another_session_target_or_month_opens_nothing(other: dict[str, str]) -> None:
    sealed = Sealer(SID, KEY).seal([b"{}\n"])
    with pytest.raises(InvalidTag):
        opened(sealed, **other)


def test_records_cannot_change_places() -> None:
    sealer = Sealer(SID, KEY)
    heading, first, second = (sealer.seal([b"1\n"]) + sealer.seal([b"2\n"])).splitlines()
    swapped = [heading, second.replace(b'"n":1', b'"n":0'), first.replace(b'"n":0', b'"n":1')]
    with pytest.raises(InvalidTag):
        opened(b"\n".join(swapped))


def test_two_sessions_share_nothing() -> None:
    one, other = (Sealer(SID, KEY).seal([b"the same\n"]) for _ in range(2))
    assert not set(one.splitlines()) & set(other.splitlines())
    with pytest.raises(InvalidTag):
        opened(one.splitlines(keepends=True)[0] + other.splitlines(keepends=True)[1])


@pytest.mark.parametrize("public", [b"", b"short", bytes(32), b"x" * 33])
def test_a_key_that_is_none_is_a_session_that_is_not_served(public: bytes) -> None:
    with pytest.raises(Fault) as raised:
        Sealer(SID, SealingKey(target="db", month="2026-11", public=public))
    assert raised.value.code == "recording_failed"


def test_whoever_sealed_has_no_way_back() -> None:
    """Nothing that this object offers returns plain text, and nothing that it wrote holds the content key."""
    sealer = Sealer(SID, KEY)
    assert [name for name in dir(sealer) if not name.startswith("_")] == ["seal"]


class Nowhere:
    """Takes what is performed."""

    def to_target(self, data: bytes) -> None:
        raise AssertionError

    def to_client(self, data: bytes, stream: str) -> None:
        raise AssertionError


@pytest.mark.parametrize("way", ["now", "waiting", "then"])
async def test_originals_are_written_sealed_before_the_lines_that_lack_them(way: str) -> None:
    serving = FakeServing()
    serving.sealer = Sealer(SID, KEY)
    record = Record(1, "jsonl", b'{"text":"[masked]"}\n', durable=way != "now", originals=(b'{"text":"plain"}\n',))
    performer = Performer(serving, Nowhere())
    if way == "now":
        assert performer.perform_now([record]) == []
    elif way == "waiting":
        await performer.perform([record])
    else:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        performer.perform_then([record], lambda rest, error: over.set_result(None))
        await over
    assert [place[1:] for place in serving.happened] == [(0, "sealed"), (1, "jsonl")]
    assert opened(serving.recorder.written[0, "sealed"]) == b'{"text":"plain"}\n'
