"""Every shape that crosses a process boundary, as JSON. A change here is a change for agents and command lines in the field."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from chalicelib.contracts import (
    api,
    api_live,
    api_originals,
    api_requests,
    approval,
    audit,
    audit_event,
    audit_requests,
    capability,
    gateway,
    operation,
    originals,
    policy,
    recording,
    session,
    watching,
)
from tests.golden import golden
from tests.golden.contract_examples import EXAMPLES


def name_of(example: msgspec.Struct) -> str:
    return f"{type(example).__module__.rsplit('.', 1)[1]}.{type(example).__name__}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_golden_json(example: msgspec.Struct) -> None:
    text = msgspec.json.format(msgspec.json.encode(example, order="deterministic"), indent=2).decode() + "\n"
    golden.check(f"contracts/{name_of(example)}.json", text)
    assert msgspec.json.decode(text, type=type(example)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_unknown_fields_are_ignored(example: msgspec.Struct) -> None:
    body = msgspec.json.decode(msgspec.json.encode(example)) | {"a_field_of_tomorrow": [1]}
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(example)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_missing_fields_are_refused(example: msgspec.Struct) -> None:
    body = msgspec.json.decode(msgspec.json.encode(example))
    required = [field.encode_name for field in msgspec.structs.fields(example) if field.required]
    for field in required:
        partial = {key: value for key, value in body.items() if key != field}
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(partial), type=type(example))


def test_every_shape_has_an_example() -> None:
    have = {type(example) for example in EXAMPLES}
    inside = {api.Problem, api.Way, api.TargetView, api.Change, api.AgentView, api.DeniedOperation, api.LearnedHostKey}
    inside |= {
        audit_requests.RequestEvent,
        audit_requests.OriginalsEvent,
        api_requests.DeadLetter,
        approval.Precedent,
        gateway.SlackPeople,
    }
    inside |= {
        gateway.Option,
        gateway.Control,
        gateway.Login,
        policy.Approval,
        audit_event.Event,
        audit.SessionEvent,
        audit.WatchEvent,
    }
    modules = [
        api,
        api_live,
        api_originals,
        api_requests,
        approval,
        audit,
        audit_event,
        audit_requests,
        capability,
        gateway,
        operation,
        originals,
        policy,
    ]
    for module in [*modules, recording, session, watching]:
        for _, shape in inspect.getmembers(module, inspect.isclass):
            if issubclass(shape, msgspec.Struct) and shape.__module__ == module.__name__ and shape.__name__ != "_Tagged":
                assert shape in have | inside, f"{shape.__name__} has no golden example"
