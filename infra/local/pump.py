"""Runs what AWS would start by itself: schedules, table streams, notifications of objects, and the deletion of expired rows.

Schedules come from the application's own declarations. Stream batches are delivered in order, and again until they
succeed, as Lambda's event source mapping does. Rows past their `ttl` go within `sweep_every_s`; on AWS it may take days.
"""

import base64
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.local import schedule
from infra.local.functions import ACCOUNT_ID, Event, LambdaContext, LambdaFunction, resolve
from infra.local.s3_shim import Change

log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LAST_RETRY_S = 0.2, 10.0
_TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


class UnknownScheduleError(KeyError):
    """The application declares no schedule of this name."""


class _Schedule:
    def __init__(self, name: str, function: LambdaFunction, expression: str, now: float) -> None:
        self.name, self.function = name, function
        self.plan = schedule.parse(expression)
        self.due = self.plan.after(now)


class EventPump:
    """`speed` makes schedules' time run faster: at 60, `rate(1 minute)` is due every second.

    `boto(service)` makes a client. Tests call `run_due`, `fire`, `drain_streams` and `sweep` instead of waiting.
    """

    def __init__(
        self,
        boto: Callable[[str], Any],
        table: str,
        stream_arn: str,
        *,
        speed: float = 1.0,
        sweep_every_s: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if speed <= 0:
            raise ValueError("speed is a positive factor")
        self._dynamodb, self._streams = boto("dynamodb"), boto("dynamodbstreams")
        self._table, self._stream_arn = table, stream_arn
        self._speed, self._sweep_every_s, self._clock = speed, sweep_every_s, clock
        self._origin = clock()
        self._schedules: list[_Schedule] = []
        self._tails: list[_Tail] = []
        self._watchers: list[_Watcher] = []
        self._changes: deque[Event] = deque()
        self._expired: set[tuple[str, str]] = set()
        self._stopping = threading.Event()
        self._written = threading.Event()
        self._draining = threading.Lock()
        self._threads: list[threading.Thread] = []

    def attach(self, app: Any) -> None:
        """Reads the schedules and stream functions that `app` declares. Raises when one could not work on AWS."""
        for source in app.event_sources:
            if hasattr(source, "schedule_expression"):
                expression = source.schedule_expression
                text = expression if isinstance(expression, str) else expression.to_string()
                self._schedules.append(_Schedule(source.name, resolve(app, source), text, self.now()))
            elif hasattr(source, "stream_arn"):
                iterator = self._oldest_record()
                self._tails.append(_Tail(source.name, resolve(app, source), source.batch_size, iterator))
            elif hasattr(source, "event_pattern"):
                self._watchers.append(_Watcher(source.name, resolve(app, source), source.event_pattern))

    def start(self) -> None:
        """Runs everything in the background from now on."""
        for work in (self._keep_time, self._follow_streams):
            thread = threading.Thread(target=work, name=f"pump{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._written.set()
        for thread in self._threads:
            thread.join()

    def wake(self) -> None:
        """Says that the table was written to, so its stream has something."""
        self._written.set()

    def object_changed(self, change: Change) -> None:
        """Has EventBridge tell the functions that watch the bucket of `change`."""
        self._changes.append(_object_event(change, self._clock()))
        self._written.set()

    def now(self) -> float:
        """Schedules' time, in seconds since 1970: the clock's, made faster by `speed`."""
        return self._origin + (self._clock() - self._origin) * self._speed

    # -- schedules --------------------------------------------------------------------------------------------------

    @property
    def schedules(self) -> list[str]:
        """The names of the declared schedules."""
        return [entry.name for entry in self._schedules]

    def run_due(self) -> list[str]:
        """Invokes every schedule that is due, once each however late, and returns their names."""
        now = self.now()
        due = [entry for entry in self._schedules if entry.due <= now]
        for entry in due:
            entry.due = entry.plan.after(now)
            self._invoke(entry, now)
        return [entry.name for entry in due]

    def fire(self, name: str) -> Any:
        """Invokes one schedule at once and returns (or raises) what it does."""
        for entry in self._schedules:
            if entry.name == name:
                return entry.function(_scheduled_event(name, self.now()), LambdaContext(name))
        raise UnknownScheduleError(name)

    def _invoke(self, entry: _Schedule, now: float) -> None:
        try:
            entry.function(_scheduled_event(entry.name, now), LambdaContext(entry.name))
        except Exception:
            log.exception("schedule %s failed", entry.name)

    def _keep_time(self) -> None:
        next_sweep = time.monotonic() + self._sweep_every_s
        while True:
            self.run_due()
            if time.monotonic() >= next_sweep:
                self._sweep_safely()
                next_sweep = time.monotonic() + self._sweep_every_s
            waits = [(entry.due - self.now()) / self._speed for entry in self._schedules]
            wait = min([next_sweep - time.monotonic(), *waits])
            if self._stopping.wait(max(wait, 0.0)):
                return

    # -- objects ----------------------------------------------------------------------------------------------------

    def drain_objects(self) -> int:
        """Delivers every notification that waits and returns how many; what a function refuses comes again, later."""
        delivered = 0
        for _ in range(len(self._changes)):
            event = self._changes.popleft()
            try:
                for watcher in self._watchers:
                    watcher.tell(event)
                delivered += 1
            except Exception:
                log.exception("a notification was not taken")
                self._changes.append(event)
        return delivered

    # -- streams ----------------------------------------------------------------------------------------------------

    def drain_streams(self) -> int:
        """Delivers every record that waits and returns how many were taken. A failing function keeps its records."""
        with self._draining:
            return sum(self._drain(tail) for tail in self._tails)

    def behind(self) -> bool:
        """Delivers what waits, and tells whether some of it was not taken."""
        self.drain_streams()
        return any(tail.waiting for tail in self._tails)

    def _drain(self, tail: "_Tail") -> int:
        delivered = 0
        while True:
            if not tail.waiting:
                page = self._streams.get_records(ShardIterator=tail.iterator, Limit=tail.batch_size)
                tail.iterator = page["NextShardIterator"]
                tail.waiting = [self._record(record) for record in page["Records"]]
            if not tail.waiting:
                return delivered
            taken = tail.deliver()
            delivered += taken
            if tail.waiting:
                return delivered

    def _follow_streams(self) -> None:
        retry = _FIRST_RETRY_S
        while not self._stopping.is_set():
            self._written.clear()
            try:
                self.drain_objects()
                self.drain_streams()
            except Exception:
                log.exception("the table's stream cannot be read")
            failing = bool(self._changes) or any(tail.waiting for tail in self._tails)
            self._written.wait(retry if failing else None)
            retry = min(retry * 2, _LAST_RETRY_S) if failing else _FIRST_RETRY_S

    def _oldest_record(self) -> str:
        stream = self._streams.describe_stream(StreamArn=self._stream_arn)["StreamDescription"]
        iterator = self._streams.get_shard_iterator(
            StreamArn=self._stream_arn,
            ShardId=stream["Shards"][0]["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )
        return str(iterator["ShardIterator"])

    def _record(self, record: dict[str, Any]) -> Event:
        made: Event = _as_json(record)
        made["eventSourceARN"] = self._stream_arn
        keys = record["dynamodb"]["Keys"]
        row = (keys["pk"]["S"], keys["sk"]["S"])
        if record["eventName"] == "REMOVE" and row in self._expired:
            self._expired.discard(row)
            made["userIdentity"] = dict(_TTL_IDENTITY)
        return made

    # -- expiry -----------------------------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Deletes the rows whose `ttl` has passed and returns how many."""
        now = {":now": {"N": str(int(self._clock()))}}
        names = {"#ttl": "ttl"}
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="#ttl < :now",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=now,
            ProjectionExpression="pk, sk",
        )
        swept = 0
        for row in [row for page in pages for row in page["Items"]]:
            identity = (row["pk"]["S"], row["sk"]["S"])
            self._expired.add(identity)
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key={"pk": row["pk"], "sk": row["sk"]},
                    ConditionExpression="#ttl < :now",
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=now,
                )
                swept += 1
            except self._dynamodb.exceptions.ConditionalCheckFailedException:
                self._expired.discard(identity)  # somebody gave the row a longer life in between
        return swept

    def _sweep_safely(self) -> None:
        try:
            self.sweep()
        except Exception:
            log.exception("expired rows could not be deleted")


class _Tail:
    """One function's place in the stream."""

    def __init__(self, name: str, function: LambdaFunction, batch_size: int, iterator: str) -> None:
        self.name, self.function, self.batch_size, self.iterator = name, function, batch_size, iterator
        self.waiting: list[Event] = []

    def deliver(self) -> int:
        """Invokes the function with what waits. Keeps what it did not take and returns how many it did."""
        try:
            answer = self.function({"Records": self.waiting}, LambdaContext(self.name))
        except Exception:
            log.exception("stream function %s failed", self.name)
            return 0
        failures = (answer or {}).get("batchItemFailures") if isinstance(answer, dict) else None
        numbers = [record["dynamodb"]["SequenceNumber"] for record in self.waiting]
        # The first failure ends the batch: order is kept, so everything after it comes again.
        first = min((numbers.index(f["itemIdentifier"]) for f in failures or []), default=len(numbers))
        self.waiting = self.waiting[first:]
        return first


class _Watcher:
    """One function with an event pattern; its fields are matched but for the bucket, which a deployment puts in."""

    def __init__(self, name: str, function: LambdaFunction, pattern: dict[str, Any]) -> None:
        self.name, self.function, self.pattern = name, function, pattern

    def tell(self, event: Event) -> None:
        if event["source"] in self.pattern["source"] and event["detail-type"] in self.pattern["detail-type"]:
            self.function(event, LambdaContext(self.name))


def _object_event(change: Change, now: float) -> Event:
    """S3's event as EventBridge delivers it ("EventBridge event message structure", Amazon S3 User Guide)."""
    deleted = change.kind == "Object Deleted"
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": change.bucket},
        "object": {"key": change.key, "version-id": change.version},
        "reason": "DeleteObject" if deleted else change.how,
    }
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": change.kind,
        "source": "aws.s3",
        "account": ACCOUNT_ID,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{change.bucket}"],
        "detail": detail | ({"deletion-type": change.how} if deleted else {}),
    }


def _scheduled_event(name: str, now: float) -> Event:
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": moment,
        "region": "us-east-1",
        "resources": [f"arn:aws:events:us-east-1:{ACCOUNT_ID}:rule/{name}"],
        "detail": {},
    }


def _as_json(value: Any) -> Any:
    """boto3's record as Lambda's JSON: binary in base64, times in seconds since 1970."""
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.timestamp()
    return value
