from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts import audit, audit_event


@pytest.mark.parametrize("event", audit.EVENTS, ids=lambda event: event.__name__)
def test_every_field_is_classified_and_none_is_secret(event: type[audit_event.Event]) -> None:
    assert audit_event.Class.SECRET not in audit_event.classification(event).values()


def test_a_field_without_a_class_is_secret() -> None:
    class Careless(audit_event.Event, frozen=True, kw_only=True, tag="careless"):
        password: str

    assert audit_event.classification(Careless)["password"] is audit_event.Class.SECRET
    assert "password" not in audit_event.public_view(Careless(id="e", time_ms=1, actor="a", password="p"))


def test_a_log_sees_public_fields_only() -> None:
    event = audit.OperationDenied(
        id="e", time_ms=1, actor="alice", sid="s", target="t", kind="exec", text="rm", digest="d", rules=["r"], message="m"
    )
    view = audit_event.public_view(event)
    assert view == {
        "type": "operation.denied",
        "id": "e",
        "time_ms": 1,
        "sid": "s",
        "kind": "exec",
        "digest": "d",
        "rules": ["r"],
    }


def test_tags_are_unique_and_decode_to_their_own_type() -> None:
    tags = [event.__struct_config__.tag for event in audit.EVENTS]
    assert len(set(tags)) == len(tags)
    event = audit.LoggedOut(id="e", time_ms=1, actor="a", token="t")
    assert msgspec.json.decode(msgspec.json.encode(event), type=audit.AnyEvent) == event
