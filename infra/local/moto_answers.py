"""Answers of DynamoDB and its streams, written without searching for names.

moto's backends may call a member of an answer by many names, so moto's serializer looks for each member of the service's model
under all of them: for every value of every item, ten kinds of value under half a dozen names each. That was more than a third
of what this cloud did. DynamoDB's answers are dictionaries that use the model's own names, so what is in them is all there is.
Whatever is not of that form is still written by moto's own way.

It leans on moto's internals (`SERVICE_SPECIFIC_SERIALIZERS`), so a test holds the answers to what moto's own way gives.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from moto.core import serialize

_SERVICES = ("dynamodb", "dynamodbstreams")


class NamedAsModelled(serialize.JSONSerializer):
    """Takes the members of a structure from a dictionary whose keys are all members of it."""

    def _serialize_type_structure(self, serialized: MutableMapping[str, Any], value: Any, shape: Any, key: str) -> None:
        members = shape.members
        if type(value) is not dict or not value.keys() <= members.keys() or self._value_picker.response_transformers:
            super()._serialize_type_structure(serialized, value, shape, key)
            return
        written: MutableMapping[str, Any] = {} if key else serialized
        for name, member in value.items():
            if member is not None:
                self._serialize(written, member, members[name], name)
        if key:
            self._default_serialize(serialized, written, shape, key)


def install() -> None:
    """Make moto's answers cheap in this process. Doing it twice changes nothing."""
    for service in _SERVICES:
        serialize.SERVICE_SPECIFIC_SERIALIZERS[service] = {"json": NamedAsModelled}
