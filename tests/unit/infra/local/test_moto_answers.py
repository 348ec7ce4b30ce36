"""Cheap answers must still be moto's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import serialize
from moto.core.utils import get_service_model

from infra.local import moto_answers

VALUES: dict[str, Any] = {
    "text": {"S": "grün"},
    "empty": {"S": ""},
    "number": {"N": "-1.50"},
    "bytes": {"B": b"\x00\xff"},
    "yes": {"BOOL": True},
    "no": {"BOOL": False},
    "nothing": {"NULL": True},
    "texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2"]},
    "several bytes": {"BS": [b"\x01", b"\x02"]},
    "list": {"L": [{"S": "x"}, {"L": []}, {"M": {"S": {"N": "1"}}}]},
    "map": {"M": {"L": {"S": "named as a kind"}, "deep": {"M": {"deeper": {"NULL": True}}}, "none": {"M": {}}}},
}


@pytest.fixture(autouse=True)
def moto() -> Iterator[None]:
    with mock_aws():
        yield


def client(service: str) -> Any:
    # moto answers at the addresses that name no account.
    config = Config(account_id_endpoint_mode="disabled")
    return boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x", config=config)


def furnish() -> Any:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "text")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-text",
                "KeySchema": [{"AttributeName": "text", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for number in range(3):
        dynamodb.put_item(TableName="t", Item=key(number) | VALUES)
    return dynamodb


def key(number: int) -> dict[str, Any]:
    return {"pk": {"S": "a"}, "sk": {"S": str(number)}}


def refused(dynamodb: Any, condition: str) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        dynamodb.put_item(
            TableName="t", Item=key(0), ConditionExpression=condition, ReturnValuesOnConditionCheckFailure="ALL_OLD"
        )
    return dict(raised.value.response)


def cancelled(dynamodb: Any) -> dict[str, Any]:
    put = {"TableName": "t", "Item": key(0), "ConditionExpression": "attribute_not_exists(pk)"}
    with pytest.raises(ClientError) as raised:
        dynamodb.transact_write_items(TransactItems=[{"Put": put | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}}])
    return dict(raised.value.response)


def streamed(dynamodb: Any) -> dict[str, Any]:
    dynamodb.delete_item(TableName="t", Key=key(1))
    streams = client("dynamodbstreams")
    arn = dynamodb.describe_table(TableName="t")["Table"]["LatestStreamArn"]
    described = streams.describe_stream(StreamArn=arn)
    shard = described["StreamDescription"]["Shards"][0]["ShardId"]
    place = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    return {"stream": described, "records": streams.get_records(ShardIterator=place)["Records"]}


ASKED: dict[str, Callable[[Any], Any]] = {
    "get": lambda d: d.get_item(TableName="t", Key=key(0), ReturnConsumedCapacity="TOTAL"),
    "get nothing": lambda d: d.get_item(TableName="t", Key=key(9)),
    "get in part": lambda d: d.get_item(
        TableName="t", Key=key(0), ProjectionExpression="#m.deep, #l", ExpressionAttributeNames={"#m": "map", "#l": "list"}
    ),
    "query": lambda d: d.query(
        TableName="t", KeyConditionExpression="pk = :a", ExpressionAttributeValues={":a": {"S": "a"}}, Limit=2
    ),
    "query an index": lambda d: d.query(
        TableName="t",
        IndexName="by-text",
        KeyConditionExpression="#t = :a",
        ExpressionAttributeNames={"#t": "text"},
        ExpressionAttributeValues={":a": VALUES["text"]},
    ),
    "count": lambda d: d.scan(TableName="t", Select="COUNT"),
    "scan": lambda d: d.scan(TableName="t"),
    "several": lambda d: d.batch_get_item(RequestItems={"t": {"Keys": [key(0), key(2)]}}),
    "several at once": lambda d: d.transact_get_items(TransactItems=[{"Get": {"TableName": "t", "Key": key(n)}} for n in (0, 9)]),
    "what was there": lambda d: d.put_item(TableName="t", Item=key(0), ReturnValues="ALL_OLD"),
    "what changed": lambda d: d.update_item(
        TableName="t",
        Key=key(0),
        UpdateExpression="SET #n = #n + :one",
        ExpressionAttributeNames={"#n": "number"},
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    ),
    "what was deleted": lambda d: d.delete_item(TableName="t", Key=key(0), ReturnValues="ALL_OLD"),
    "the table": lambda d: d.describe_table(TableName="t"),
    "tables": lambda d: d.list_tables(),
    "no such table": lambda d: _said(d.describe_table, TableName="elsewhere"),
    "a condition": lambda d: refused(d, "attribute_not_exists(pk)"),
    "a transaction": cancelled,
    "a stream": streamed,
}

#: What no two answers share.
OF_THE_MOMENT = {
    "ResponseMetadata", "CreationDateTime", "ApproximateCreationDateTime", "TableId", "LatestStreamArn", "LatestStreamLabel",
    "StreamArn", "StreamLabel", "CreationRequestDateTime", "ShardId", "EventID", "eventID", "SequenceNumber",
    "StartingSequenceNumber", "EndingSequenceNumber", "SizeBytes",
}  # fmt: skip


def _said(ask: Callable[..., Any], **words: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        ask(**words)
    return dict(raised.value.response)


def lasting(answer: Any) -> Any:
    """Return an answer with whatever is of the moment replaced by its type: it still has to be there."""
    if isinstance(answer, dict):
        return {name: type(value) if name in OF_THE_MOMENT else lasting(value) for name, value in answer.items()}
    return [lasting(each) for each in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("asked", ASKED)
def test_an_answer_is_what_moto_itself_says(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "SERVICE_SPECIFIC_SERIALIZERS", {})
    of_moto = lasting(ASKED[asked](furnish()))
    client("dynamodb").delete_table(TableName="t")
    moto_answers.install()
    assert lasting(ASKED[asked](furnish())) == of_moto


def test_every_kind_of_value_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "SERVICE_SPECIFIC_SERIALIZERS", {})
    moto_answers.install()
    assert furnish().get_item(TableName="t", Key=key(0))["Item"] == key(0) | VALUES


def test_nothing_is_searched_for_in_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "SERVICE_SPECIFIC_SERIALIZERS", {})
    moto_answers.install()
    dynamodb = furnish()
    looked: list[str] = []
    pick = serialize.AttributePicker.__call__
    monkeypatch.setattr(serialize.AttributePicker, "__call__", lambda self, of: [looked.append(of.key), pick(self, of)][1])
    assert dynamodb.scan(TableName="t")["Items"]
    assert not looked


@pytest.mark.parametrize("said", [{"Item": None, "ConsumedCapacity": {"TableName": "t"}}, {"item": {"a": {"S": "x"}}}])
def test_what_is_missing_or_named_otherwise_is_written_as_moto_does(said: dict[str, Any]) -> None:
    model = get_service_model("dynamodb").operation_model("GetItem")
    ours, of_moto = (
        kind(operation_model=model, value_picker=serialize.XFormedAttributePicker()).serialize(said)
        for kind in (moto_answers.NamedAsModelled, serialize.JSONSerializer)
    )
    assert ours == of_moto
