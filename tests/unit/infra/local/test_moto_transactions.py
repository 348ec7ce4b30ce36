"""Cheap transactions must still be transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.dynamodb.models.table import Table
from moto.dynamodbstreams.models import dynamodbstreams_backends

from infra.local import moto_transactions


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(Table, "__deepcopy__", None, raising=False)
    moto_transactions.install()
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_table(
            TableName="t",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        yield client


def put(pk: str, sk: str, value: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": "t", "Item": {"pk": {"S": pk}, "sk": {"S": sk}, "v": {"S": value}}, **more}}


def update(pk: str, sk: str, value: str) -> dict[str, Any]:
    of = {"TableName": "t", "Key": {"pk": {"S": pk}, "sk": {"S": sk}}}
    return {"Update": of | {"UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": {"S": value}}}}


def everything(dynamodb: Any) -> dict[tuple[str, str], str]:
    return {(i["pk"]["S"], i["sk"]["S"]): i["v"]["S"] for i in dynamodb.scan(TableName="t")["Items"]}


NEVER = {"ConditionExpression": "attribute_exists(nothing)"}


def test_all_of_it_happens(dynamodb: Any) -> None:
    dynamodb.transact_write_items(TransactItems=[put("a", "1", "x"), put("b", "1", "y")])
    dynamodb.transact_write_items(TransactItems=[update("a", "1", "z"), put("a", "2", "w")])
    assert everything(dynamodb) == {("a", "1"): "z", ("a", "2"): "w", ("b", "1"): "y"}


@pytest.mark.parametrize(
    "writes",
    [
        [update("a", "1", "changed"), put("z", "1", "no", **NEVER)],
        [put("a", "1", "changed"), put("z", "1", "no", **NEVER)],
        [put("a", "9", "new"), put("n", "1", "new"), put("z", "1", "no", **NEVER)],
        [{"Delete": {"TableName": "t", "Key": {"pk": {"S": "a"}, "sk": {"S": "1"}}}}, put("z", "1", "no", **NEVER)],
        [
            update("b", "1", "changed"),
            {"Delete": {"TableName": "t", "Key": {"pk": {"S": "a"}, "sk": {"S": "2"}}}},
            put("z", "1", "no", **NEVER),
        ],
    ],
)
def test_or_none_of_it(dynamodb: Any, writes: list[dict[str, Any]]) -> None:
    dynamodb.transact_write_items(TransactItems=[put("a", "1", "x"), put("a", "2", "w"), put("b", "1", "y")])
    before = everything(dynamodb)
    with pytest.raises(ClientError, match="TransactionCanceled"):
        dynamodb.transact_write_items(TransactItems=writes)
    assert everything(dynamodb) == before
    # What came back must be the table itself: later writes are seen.
    dynamodb.put_item(TableName="t", Item={"pk": {"S": "a"}, "sk": {"S": "1"}, "v": {"S": "later"}})
    assert everything(dynamodb) == before | {("a", "1"): "later"}


def test_whoever_follows_the_stream_goes_on_after_a_rollback(dynamodb: Any) -> None:
    streams = dynamodbstreams_backends["123456789012"]["us-east-1"]
    arn = dynamodb.describe_table(TableName="t")["Table"]["LatestStreamArn"]
    shard = streams.describe_stream(arn)["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(arn, shard, "TRIM_HORIZON").arn

    def seen() -> list[str]:
        nonlocal iterator
        page = streams.get_records(iterator, 100)
        iterator = page["NextShardIterator"]
        return [record["dynamodb"]["NewImage"]["v"]["S"] for record in page["Records"]]

    dynamodb.transact_write_items(TransactItems=[put("a", "1", "first")])
    assert seen() == ["first"]
    with pytest.raises(ClientError, match="TransactionCanceled"):
        dynamodb.transact_write_items(TransactItems=[update("a", "1", "never"), put("z", "1", "no", **NEVER)])
    dynamodb.transact_write_items(TransactItems=[put("b", "1", "second"), put("c", "1", "third")])
    assert seen() == ["second", "third"]
