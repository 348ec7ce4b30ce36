"""Transactions whose cost does not grow with the table.

Before a TransactWriteItems moto deep-copies the whole table, and every stream record, once per item of the transaction, so that
it can roll back: a table of a few hundred sessions makes each transaction take tenths of a second. Here the copy that moto asks
for shares everything with the table except the items that the transaction names: only those can change in it.

It leans on moto's internals (`Table.items`, `StreamShard.items`), so a test holds the roll-back to what it must do.
"""

from __future__ import annotations

import copy
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

#: What the transaction under way names, per table; None outside of one. moto is called by one thread at a time (`MotoServices`).
_named: dict[str, list[dict[str, Any]]] | None = None
_original = DynamoDBBackend.transact_write_items


def install() -> None:
    """Make moto's transactions cheap in this process. Doing it twice changes nothing."""
    for owner, name, replacement in (
        (DynamoDBBackend, "transact_write_items", _transact_write_items),
        (Table, "__deepcopy__", _snapshot),
    ):
        setattr(owner, name, replacement)


def _transact_write_items(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    global _named
    _named = {}
    for item in transact_items:
        for operation in item.values():
            _named.setdefault(operation.get("TableName", ""), []).append(operation.get("Key") or operation.get("Item") or {})
    shards = {name: table.stream_shard for name, table in backend.tables.items() if table.stream_shard is not None}
    lengths = {name: len(shard.items) for name, shard in shards.items()}
    try:
        _original(backend, transact_items)
    except Exception:
        for name, shard in shards.items():
            del shard.items[lengths[name] :]
            shard.table = backend.tables[name]
            shard.table.stream_shard = shard
        raise
    finally:
        _named = None


def _snapshot(table: Table, memo: dict[int, Any]) -> Table:
    made = copy.copy(table)
    memo[id(table)] = made
    if _named is None or not table.has_range_key:
        for name, value in vars(table).items():
            setattr(made, name, copy.deepcopy(value, memo))
        return made
    made.items = copy.copy(table.items)
    for key in _named.get(table.name, []):
        _keep(table, made, key)
    return made


def _keep(table: Table, made: Table, key: dict[str, Any]) -> None:
    """Give ``made`` its own copy of the partition that ``key`` is in, and of the item itself."""
    if table.hash_key_attr not in key or table.range_key_attr not in key:
        return
    partition, place = DynamoType(key[table.hash_key_attr]), DynamoType(key[table.range_key_attr])
    if partition not in table.items:
        return
    if made.items[partition] is table.items[partition]:
        made.items[partition] = dict(table.items[partition])
    if place in table.items[partition]:
        made.items[partition][place] = copy.deepcopy(table.items[partition][place])
