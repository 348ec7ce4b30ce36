"""Keys of sealed originals: the vault on the fake and on KMS, their rows on the fake and on DynamoDB."""

from __future__ import annotations

from typing import Any

import boto3
import msgspec
import pytest
from botocore.config import Config

from agent.runtime.sealing import Sealer
from chalicelib.adapters.kms_vault import KmsVault
from chalicelib.contracts import originals
from chalicelib.contracts.approval import RequestState
from chalicelib.contracts.originals import SealingKey
from chalicelib.ports import Conflict, OriginalsKey, Store, Unavailable, Vault
from tests.conformance.conftest import Cloud
from tests.conformance.rows import NOW, event
from tests.conformance.test_races import RACERS, winners
from tests.conformance.test_requests import case

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
replace = msgspec.structs.replace


def made(vault: Vault, target: str = "db-1", month: str = "2026-11") -> OriginalsKey:
    public, wrapped = vault.make(target, month)
    return OriginalsKey(target=target, month=month, public=public, wrapped=wrapped, signed="a.b.c", made_ms=NOW)


def sealed(key: OriginalsKey) -> bytes:
    """A content key as an agent seals it."""
    sealer = Sealer(SID, SealingKey(target=key.target, month=key.month, public=key.public))
    return originals.read_header(sealer.seal([b"x\n"]).splitlines()[0]).content


def info(key: OriginalsKey, sid: str = SID) -> bytes:
    return originals.info(sid, key.target, key.month, key.name)


# --- the vault


def test_what_an_agent_sealed_is_opened_for_its_session_alone(vault: Vault) -> None:
    key = made(vault)
    content = sealed(key)
    assert len(vault.open(key, content, info(key))) == originals.KEY_BYTES
    with pytest.raises(ValueError):
        vault.open(key, content, info(key, "ses_other"))


def test_every_key_is_another_one(vault: Vault) -> None:
    one, other = made(vault), made(vault)
    assert one.public != other.public
    with pytest.raises(ValueError):
        vault.open(other, sealed(one), info(one))


@pytest.mark.parametrize("changed", [{"month": "2026-10"}, {"target": "web-1"}])
def test_a_wrapped_key_is_unwrapped_for_its_target_and_month_alone(vault: Vault, changed: dict[str, str]) -> None:
    key = made(vault)
    content = sealed(key)
    assert vault.open(key, content, info(key))
    with pytest.raises(ValueError):
        vault.open(replace(key, **changed), content, info(key))


def test_a_wrapped_key_of_another_public_half_is_refused(vault: Vault) -> None:
    one, other = made(vault), made(vault)
    with pytest.raises(ValueError):
        vault.open(replace(one, wrapped=other.wrapped), sealed(one), info(one))


@pytest.mark.parametrize("wrapped", [b"", b"not wrapped by anybody", bytes(200)])
def test_what_was_never_wrapped_is_refused(vault: Vault, wrapped: bytes) -> None:
    key = made(vault)
    with pytest.raises((ValueError, Unavailable)):
        vault.open(replace(key, wrapped=wrapped), sealed(key), info(key))


@pytest.mark.parametrize("junk", [b"", b"x", bytes(80), b"\xff" * 80])
def test_junk_does_not_open(vault: Vault, junk: bytes) -> None:
    key = made(vault)
    with pytest.raises(ValueError):
        vault.open(key, junk, info(key))


def test_kms_that_is_away_or_unwilling_is_told_as_such(cloud: Cloud) -> None:
    key = made(cloud.vault())
    content = sealed(key)
    unknown = KmsVault(cloud.client("kms"), "00000000-0000-0000-0000-000000000000")
    with pytest.raises(Unavailable):
        unknown.make("db-1", "2026-11")
    nobody: Any = boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )
    for attempt in (lambda: KmsVault(nobody, "k").make("t", "2026-11"), lambda: KmsVault(nobody, "k").open(key, content, b"")):
        with pytest.raises(Unavailable):
            attempt()


def test_kms_is_told_for_what(cloud: Cloud) -> None:
    """Its own audit trail then says whose originals were opened, whatever this code writes."""
    key = made(cloud.vault())
    with pytest.raises(Exception, match="InvalidCiphertext"):
        cloud.client("kms").decrypt(KeyId=cloud.made.originals_key, CiphertextBlob=key.wrapped)


# --- the rows


def row(**changed: Any) -> OriginalsKey:
    fields = {"target": "db-1", "month": "2026-11", "public": b"p" * 32, "wrapped": b"\0w\xff", "signed": "a.b.c", "made_ms": NOW}
    return OriginalsKey(**(fields | changed))


def test_a_key_is_kept_as_it_is_once_for_its_target_and_month(store: Store) -> None:
    assert store.originals_key("db-1", "2026-11") is None
    store.add_originals_key(row(), event(1))
    assert store.originals_key("db-1", "2026-11") == row()
    assert store.originals_key("db-1", "2026-10") is None
    assert store.originals_key("db", "2026-11") is None
    with pytest.raises(Conflict):
        store.add_originals_key(row(public=b"q" * 32), event(2))
    assert store.originals_key("db-1", "2026-11") == row()


def test_of_many_that_make_it_one_is_first(store: Store) -> None:
    keys = [row(public=bytes([n]) * 32) for n in range(RACERS)]

    def add(n: int) -> bool:
        store.add_originals_key(keys[n], event(n))
        return True

    assert winners(add) == 1
    assert store.originals_key("db-1", "2026-11") in keys


def erasing() -> tuple[OriginalsKey, Any]:
    approved = case(state=RequestState.APPROVED, kind="erase", operation=None, sid="", month="2026-11")
    return row(wrapped=b"", erased_ms=NOW + 1, erased_by=approved.request.rid), approved


def test_the_key_goes_with_the_request_and_the_event_or_not_at_all(store: Store) -> None:
    gone, approved = erasing()
    store.add_originals_key(row(), event(1))
    store.add_case(approved, [], [])
    used = approved.step(RequestState.USED)
    with pytest.raises(Conflict):
        store.erase_originals_key(gone, used.step(RequestState.USED), [event(2)])  # another version of the request
    assert store.originals_key("db-1", "2026-11") == row()
    store.erase_originals_key(gone, used, [event(2)])
    assert store.originals_key("db-1", "2026-11") == gone
    found = store.case(approved.request.rid)
    assert found is not None
    assert found.request.state is RequestState.USED
    with pytest.raises(Conflict):
        store.erase_originals_key(replace(gone, erased_ms=NOW + 2), used.step(RequestState.USED), [event(3)])
    with pytest.raises(Conflict):
        store.add_originals_key(row(), event(4))


def test_a_key_that_is_not_there_or_another_one_is_not_erased(store: Store) -> None:
    gone, approved = erasing()
    store.add_case(approved, [], [])
    used = approved.step(RequestState.USED)
    with pytest.raises(Conflict):
        store.erase_originals_key(gone, used, [event(2)])
    store.add_originals_key(row(public=b"q" * 32), event(1))
    with pytest.raises(Conflict):
        store.erase_originals_key(gone, used, [event(2)])
    assert store.originals_key("db-1", "2026-11") == row(public=b"q" * 32)
