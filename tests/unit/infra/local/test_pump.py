"""Schedules, streams and expiry with a fake AWS and a clock that tests move."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.pump import EventPump, UnknownScheduleError
from infra.local.s3_shim import Change


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class ConditionError(Exception):
    pass


class FakeAws:
    """A stream that holds `records` and a table that holds `rows` of (pk, sk, ttl)."""

    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionError)

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.rows: dict[tuple[str, str], int] = {}
        self.deleted: list[tuple[str, str]] = []
        self.prolonged: set[tuple[str, str]] = set()

    def __call__(self, service: str) -> "FakeAws":
        return self

    def describe_stream(self, **_: Any) -> Any:
        return {"StreamDescription": {"Shards": [{"ShardId": "s0"}]}}

    def get_shard_iterator(self, **_: Any) -> Any:
        return {"ShardIterator": "0"}

    def get_records(self, ShardIterator: str, Limit: int) -> Any:  # noqa: N803 - boto3's names
        start = int(ShardIterator)
        taken = self.records[start : start + Limit]
        return {"Records": taken, "NextShardIterator": str(start + len(taken))}

    def get_paginator(self, name: str) -> "FakeAws":
        assert name == "scan"
        return self

    def paginate(self, **asked: Any) -> Any:
        now = int(asked["ExpressionAttributeValues"][":now"]["N"])
        found = [{"pk": {"S": pk}, "sk": {"S": sk}} for (pk, sk), ttl in self.rows.items() if ttl < now]
        return [{"Items": found}]

    def delete_item(self, **asked: Any) -> None:
        row = (asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"])
        if row in self.prolonged:
            raise ConditionError
        del self.rows[row]
        self.deleted.append(row)

    def write(self, pk: str, event: str = "INSERT") -> None:
        number = str(len(self.records) + 1)
        self.records.append(
            {
                "eventName": event,
                "dynamodb": {
                    "Keys": {"pk": {"S": pk}, "sk": {"S": "x"}},
                    "NewImage": {"raw": {"B": b"\x00\xff"}},
                    "ApproximateCreationDateTime": datetime(2026, 1, 2, tzinfo=UTC),
                    "SequenceNumber": number,
                },
            }
        )


class App:
    """What the pump reads of an application."""

    def __init__(self) -> None:
        self.event_sources: list[Any] = []
        self.handler_map: dict[str, Any] = {}

    def schedule(self, name: str, expression: str, function: Any, module: str = "app") -> None:
        self.event_sources.append(SimpleNamespace(name=name, handler_string=f"{module}.{name}", schedule_expression=expression))
        self.handler_map[name] = function

    def stream(self, name: str, batch_size: int, function: Any) -> None:
        self.event_sources.append(
            SimpleNamespace(name=name, handler_string=f"app.{name}", stream_arn="any", batch_size=batch_size)
        )
        self.handler_map[name] = function


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws()


@pytest.fixture
def app() -> App:
    return App()


def pump(aws: FakeAws, app: App, clock: Clock, **options: Any) -> EventPump:
    made = EventPump(aws, "sallyport", "arn:stream", clock=clock, **options)
    made.attach(app)
    return made


def test_a_schedule_runs_when_it_is_due_and_not_before(aws: FakeAws, app: App, clock: Clock) -> None:
    events: list[Any] = []
    app.schedule("reap", "rate(5 minutes)", lambda event, context: events.append(event))
    running = pump(aws, app, clock)
    assert running.run_due() == []
    clock.now += 299
    assert running.run_due() == []
    clock.now += 1
    assert running.run_due() == ["reap"]
    assert running.run_due() == []
    assert events[0]["detail-type"] == "Scheduled Event"
    assert events[0]["time"] == "2027-01-15T08:05:00Z"
    assert events[0]["resources"][0].endswith(":rule/reap")


def test_a_late_schedule_runs_once(aws: FakeAws, app: App, clock: Clock) -> None:
    runs: list[Any] = []
    app.schedule("reap", "rate(1 minute)", lambda event, context: runs.append(context.function_name))
    running = pump(aws, app, clock)
    clock.now += 3600
    assert running.run_due() == ["reap"]
    assert running.run_due() == []
    assert runs == ["reap"]


def test_speed_shortens_the_wait(aws: FakeAws, app: App, clock: Clock) -> None:
    app.schedule("reap", "rate(1 minute)", lambda event, context: None)
    running = pump(aws, app, clock, speed=60)
    clock.now += 0.5
    assert running.run_due() == []
    clock.now += 0.5
    assert running.run_due() == ["reap"]


def test_a_failing_schedule_does_not_stop_the_next(aws: FakeAws, app: App, clock: Clock) -> None:
    def broken(event: Any, context: Any) -> None:
        raise RuntimeError("broken")

    app.schedule("broken", "rate(1 minute)", broken)
    app.schedule("sound", "rate(1 minute)", lambda event, context: None)
    running = pump(aws, app, clock)
    clock.now += 60
    assert running.run_due() == ["broken", "sound"]


def test_fire_invokes_by_name_and_raises_what_the_function_raises(aws: FakeAws, app: App, clock: Clock) -> None:
    def broken(event: Any, context: Any) -> None:
        raise RuntimeError("broken")

    app.schedule("broken", "rate(1 minute)", broken)
    app.schedule("sound", "cron(0 3 * * ? *)", lambda event, context: "done")
    running = pump(aws, app, clock)
    assert running.schedules == ["broken", "sound"]
    assert running.fire("sound") == "done"
    with pytest.raises(RuntimeError):
        running.fire("broken")
    with pytest.raises(UnknownScheduleError):
        running.fire("other")


def test_a_schedule_in_a_blueprint_is_refused_as_it_fails_on_aws(aws: FakeAws, app: App, clock: Clock) -> None:
    app.schedule("reap", "rate(1 minute)", lambda event, context: None, module="chalicelib.entrypoints.reap")
    with pytest.raises(ValueError, match=r"only app\.py"):
        pump(aws, app, clock)


def test_stream_records_come_in_order_and_in_batches(aws: FakeAws, app: App, clock: Clock) -> None:
    batches: list[list[str]] = []
    app.stream(
        "index",
        2,
        lambda event, context: batches.append([r["dynamodb"]["SequenceNumber"] for r in event["Records"]]),
    )
    running = pump(aws, app, clock)
    for name in "abcde":
        aws.write(name)
    assert running.drain_streams() == 5
    assert batches == [["1", "2"], ["3", "4"], ["5"]]
    assert running.drain_streams() == 0


def test_stream_records_are_json_as_lambda_gets_them(aws: FakeAws, app: App, clock: Clock) -> None:
    records: list[Any] = []
    app.stream("index", 10, lambda event, context: records.extend(event["Records"]))
    running = pump(aws, app, clock)
    aws.write("a")
    running.drain_streams()
    change = records[0]["dynamodb"]
    assert change["NewImage"] == {"raw": {"B": "AP8="}}
    assert change["ApproximateCreationDateTime"] == 1767312000.0
    assert records[0]["eventSourceARN"] == "arn:stream"
    assert "userIdentity" not in records[0]


def test_a_failing_batch_comes_again_whole(aws: FakeAws, app: App, clock: Clock) -> None:
    seen: list[int] = []

    def index(event: Any, context: Any) -> None:
        seen.append(len(event["Records"]))
        if len(seen) == 1:
            raise RuntimeError("broken")

    app.stream("index", 10, index)
    running = pump(aws, app, clock)
    aws.write("a")
    aws.write("b")
    assert running.drain_streams() == 0
    assert running.drain_streams() == 2
    assert seen == [2, 2]


def test_a_partly_failing_batch_comes_again_from_its_first_failure(aws: FakeAws, app: App, clock: Clock) -> None:
    seen: list[list[str]] = []

    def index(event: Any, context: Any) -> Any:
        numbers = [r["dynamodb"]["SequenceNumber"] for r in event["Records"]]
        seen.append(numbers)
        failures = [{"itemIdentifier": number} for number in ("3", "2") if number in numbers]
        return {"batchItemFailures": failures if len(seen) == 1 else []}

    app.stream("index", 10, index)
    running = pump(aws, app, clock)
    for name in "abc":
        aws.write(name)
    assert running.drain_streams() == 1
    assert running.drain_streams() == 2
    assert seen == [["1", "2", "3"], ["2", "3"]]


def test_one_failing_function_does_not_hold_up_another(aws: FakeAws, app: App, clock: Clock) -> None:
    seen: list[int] = []

    def broken(event: Any, context: Any) -> None:
        raise RuntimeError("broken")

    app.stream("broken", 10, broken)
    app.stream("sound", 10, lambda event, context: seen.append(len(event["Records"])))
    running = pump(aws, app, clock)
    aws.write("a")
    running.drain_streams()
    assert seen == [1]


def test_expired_rows_go_and_say_who_deleted_them(aws: FakeAws, app: App, clock: Clock) -> None:
    records: list[Any] = []
    app.stream("index", 10, lambda event, context: records.extend(event["Records"]))
    running = pump(aws, app, clock)
    now = int(clock.now)
    aws.rows = {("old", "x"): now - 1, ("new", "x"): now, ("newer", "x"): now + 1, ("kept", "x"): now - 5}
    aws.prolonged = {("kept", "x")}
    assert running.sweep() == 1
    assert aws.deleted == [("old", "x")]
    for name in ("old", "kept"):
        aws.write(name, "REMOVE")
    running.drain_streams()
    assert records[0]["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert "userIdentity" not in records[1]


def test_time_does_not_stand_still(aws: FakeAws, clock: Clock) -> None:
    with pytest.raises(ValueError):
        EventPump(aws, "sallyport", "arn:stream", speed=0, clock=clock)


def test_notifications_of_objects_reach_the_functions_that_watch_and_come_again_when_refused() -> None:
    aws, app = FakeAws(), App()
    seen: list[tuple[str, str]] = []
    refusing = [True]

    def watch(event: dict[str, Any], _: Any) -> None:
        if refusing.pop() if refusing else False:
            raise RuntimeError("not now")
        seen.append((event["detail-type"], event["detail"]["object"]["version-id"]))

    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": ["overlay"]}}}
    app.event_sources.append(SimpleNamespace(name="watch", handler_string="app.watch", event_pattern=pattern))
    app.handler_map["watch"] = watch
    pump = EventPump(aws, "t", "any", clock=lambda: 0.0)
    pump.attach(app)
    pump.object_changed(Change("b", "k", "v1", "Object Created", "PutObject"))
    pump.object_changed(Change("b", "k", "v2", "Object Deleted", "Delete Marker Created"))
    assert pump.drain_objects() == 1
    assert seen == []
    assert pump.drain_objects() == 1
    assert seen == [("Object Created", "v1")]
    assert pump.drain_objects() == 0
