"""One DynamoDB table: attribute values, conditional writes and transactions. The rooms beside this file say what the rows are.

Every read is strongly consistent unless it goes through an index, where DynamoDB offers no choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from botocore.exceptions import ClientError

from chalicelib.ports import Conflict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Row = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)

#: How much of a partition one listing looks through for its matches before it hands back a cursor.
_LOOKED_AT: Final = 2_000
_LOST: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
#: In expressions every attribute is written ``#name``: DynamoDB reserves 573 words, and new ones come.
_NAME: Final = re.compile(r"#(\w+)")


def pack(value: Any) -> dict[str, Any]:
    """Return the DynamoDB attribute value of a builtin."""
    match value:
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [pack(each) for each in value]}
        case dict():
            return {"M": {name: pack(each) for name, each in value.items()}}
        case None:
            return {"NULL": True}
    raise TypeError(f"cannot be stored: {type(value).__name__}")


def unpack(attribute: Mapping[str, Any]) -> Any:
    """Return the builtin of a DynamoDB attribute value."""
    ((kind, value),) = attribute.items()
    match kind:
        case "N":
            return int(value)
        case "L":
            return [unpack(each) for each in value]
        case "M":
            return {name: unpack(each) for name, each in value.items()}
        case "NULL":
            return None
    return value


def pack_row(row: Row) -> dict[str, Any]:
    """Return ``row`` as an item."""
    return {name: pack(value) for name, value in row.items()}


def unpack_row(item: Mapping[str, Any]) -> Row:
    """Return an item as a row."""
    return {name: unpack(value) for name, value in item.items()}


def fields(struct: msgspec.Struct) -> Row:
    """Return every field of ``struct`` as builtins, defaults included, so that conditions can be put on any of them."""
    return {name: msgspec.to_builtins(getattr(struct, name)) for name in struct.__struct_fields__}


def struct(row: Row | None, kind: type[S]) -> S | None:
    """Return a row as ``kind``; attributes that are not its fields are ignored."""
    return msgspec.convert(row, kind) if row is not None else None


def ttl(until_ms: int) -> int:
    """Return when DynamoDB may delete a row, in Unix seconds. It may take days, so no rule relies on it."""
    return until_ms // 1000 + 1


class Table:
    """Calls on the table."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self.client, self.name = client, name

    def get(self, pk: str, sk: str = "A") -> Row | None:
        """Return a row, read consistently."""
        answer = self.client.get_item(TableName=self.name, Key=pack_row({"pk": pk, "sk": sk}), ConsistentRead=True)
        return unpack_row(answer["Item"]) if "Item" in answer else None

    def put(self, row: Row, condition: str = "", values: Row | None = None) -> None:
        """Write a row. Raises Conflict if ``condition`` does not hold."""
        self.write([self.putting(row, condition, values)])

    def putting(self, row: Row, condition: str = "", values: Row | None = None) -> dict[str, Any]:
        """Return a write for :meth:`write`."""
        return {"Put": {"Item": pack_row(row)} | _condition(condition, values)}

    def creating(self, row: Row) -> dict[str, Any]:
        """Return a write that succeeds only where there was no such row."""
        return self.putting(row, "attribute_not_exists(pk)")

    def deleting(self, pk: str, sk: str, condition: str, values: Row | None = None) -> dict[str, Any]:
        """Return a conditional delete."""
        return {"Delete": {"Key": pack_row({"pk": pk, "sk": sk})} | _condition(condition, values)}

    def updating(self, pk: str, sk: str, update: str, condition: str, values: Row) -> dict[str, Any]:
        """Return a conditional update."""
        return {
            "Update": {"Key": pack_row({"pk": pk, "sk": sk}), "UpdateExpression": update} | _condition(condition, values, update)
        }

    def write(self, writes: list[dict[str, Any]]) -> None:
        """Do all of ``writes`` or none. Raises Conflict if a condition does not hold or another write was faster."""
        for write in writes:
            for operation in write.values():
                operation["TableName"] = self.name
        try:
            if len(writes) > 1:
                self.client.transact_write_items(TransactItems=writes)  # type: ignore[arg-type]
                return
            ((kind, arguments),) = writes[0].items()
            call: Any = {"Put": self.client.put_item, "Update": self.client.update_item, "Delete": self.client.delete_item}[kind]
            call(**arguments)
        except ClientError as error:
            if _is_lost_race(error):
                raise Conflict from None
            raise

    def update(self, pk: str, sk: str, update: str, condition: str, values: Row, *, returning: str = "ALL_NEW") -> Row | None:
        """Update a row and return it as ``returning`` says; None if ``condition`` does not hold."""
        try:
            answer = self.client.update_item(
                TableName=self.name,
                Key=pack_row({"pk": pk, "sk": sk}),
                UpdateExpression=update,
                ReturnValues=returning,  # type: ignore[arg-type]
                **_condition(condition, values, update),
            )
        except ClientError as error:
            if _is_lost_race(error):
                return None
            raise
        return unpack_row(answer.get("Attributes", {}))

    def take(self, pk: str, condition: str = "attribute_exists(pk)", values: Row | None = None) -> Row | None:
        """Delete a row and return it: for one caller only. None if there was none or ``condition`` does not hold."""
        try:
            answer = self.client.delete_item(
                TableName=self.name, Key=pack_row({"pk": pk, "sk": "A"}), ReturnValues="ALL_OLD", **_condition(condition, values)
            )
        except ClientError as error:
            if _is_lost_race(error):
                return None
            raise
        return unpack_row(answer["Attributes"]) if "Attributes" in answer else None

    def query(self, expression: str, values: Row, **more: Any) -> Iterator[Row]:
        """Yield every row that a key condition selects, page by page."""
        for page in self.client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression=expression,
            ExpressionAttributeValues={f":{name}": pack(value) for name, value in values.items()},
            **more,
        ):
            for item in page["Items"]:
                yield unpack_row(item)


def newest_first(table: Table, partition: str, wanted: Row, limit: int, start: Row | None) -> tuple[list[Row], str]:
    """Return at most ``limit`` rows of a ``gsi1`` partition that have the ``wanted`` attributes, and where the next page begins.

    ``start`` is the key behind which to begin. The second part is the ``gsi1sk`` of the last row that was looked at, or empty.
    """
    arguments: dict[str, Any] = {
        "TableName": table.name,
        "IndexName": "gsi1",
        "KeyConditionExpression": "gsi1pk = :pk",
        "ScanIndexForward": False,
        "Limit": 500,
        "ExpressionAttributeValues": pack_row({":pk": partition} | {f":{name}": value for name, value in wanted.items()}),
    }
    if wanted:
        arguments["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in wanted)
        arguments["ExpressionAttributeNames"] = {f"#{name}": name for name in wanted}
    key = pack_row(start) if start else None
    found: list[Row] = []
    looked_at = 0
    while True:
        if key:
            arguments["ExclusiveStartKey"] = key
        answer = table.client.query(**arguments)
        looked_at += answer["ScannedCount"]
        for item in answer["Items"]:
            found.append(unpack_row(item))
            if len(found) == limit:
                return found, str(found[-1]["gsi1sk"])
        key = answer.get("LastEvaluatedKey")
        if not key:
            return found, ""
        if looked_at >= _LOOKED_AT:
            return found, str(unpack_row(key)["gsi1sk"])


def _condition(condition: str, values: Row | None, update: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if names := set(_NAME.findall(condition + update)):
        found["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if condition:
        found["ConditionExpression"] = condition
    if values:
        found["ExpressionAttributeValues"] = {f":{name}": pack(value) for name, value in values.items()}
    return found


def _is_lost_race(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    if code in {"ConditionalCheckFailedException", "TransactionConflictException"}:
        return True
    if code != "TransactionCanceledException":
        return False
    reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
    return bool(reasons & _LOST)
