"""Wiring only: the Chalice application. Blueprints carry HTTP; every other function must be declared in this file."""

from __future__ import annotations

from typing import Any

from chalice.app import Chalice, Rate

from chalicelib.entrypoints import (
    agents,
    config,
    live,
    login,
    objects,
    originals,
    pages,
    people,
    requests,
    schedules,
    slack,
    streams,
    websocket,
)

#: A stream's name holds the time when its table was made. infra/overlay.yaml puts the real one in.
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/sallyport/stream/overlay"

#: What S3 tells EventBridge of its objects. infra/overlay.yaml puts the bucket's name in.
OBJECTS = {
    "source": ["aws.s3"],
    "detail-type": ["Object Created", "Object Deleted"],
    "detail": {"bucket": {"name": ["overlay"]}},
}

app = Chalice(app_name="sallyport")
app.experimental_feature_flags.update(["WEBSOCKETS"])
for blueprint in (login.bp, pages.bp, people.bp, requests.bp, slack.bp, originals.bp, live.bp, config.bp, agents.bp):
    app.register_blueprint(blueprint)


@app.on_ws_connect()
def connect(event: Any) -> dict[str, Any]:
    """A WebSocket opens."""
    return websocket.connect(event.to_dict())


@app.on_ws_message()
def message(event: Any) -> dict[str, Any]:
    """A WebSocket says something."""
    return websocket.message(event.to_dict())


@app.on_ws_disconnect()
def disconnect(event: Any) -> dict[str, Any]:
    """A WebSocket is gone."""
    return websocket.disconnect(event.to_dict())


@app.schedule(Rate(1, unit=Rate.MINUTES))
def reap(event: Any) -> None:
    """Every minute: end what nobody else will."""
    schedules.reap()


@app.schedule(Rate(1, unit=Rate.HOURS))
def catch_up(event: Any) -> None:
    """Every hour: append to the log what its stream did not deliver."""
    schedules.catch_up()


@app.schedule(Rate(15, unit=Rate.MINUTES))
def sweep(event: Any) -> None:
    """Every quarter of an hour: look through the next part of the bucket for what nobody told."""
    schedules.sweep()


@app.schedule(Rate(5, unit=Rate.MINUTES))
def copy(event: Any) -> None:
    """Every five minutes: the newest checkpoint into a second bucket."""
    schedules.copy()


@app.on_cw_event(OBJECTS)
def watch(event: Any) -> None:
    """An object of the evidence bucket was written, hidden or deleted."""
    objects.watch(event.to_dict())


@app.on_dynamodb_record(STREAM, batch_size=100, starting_position="TRIM_HORIZON", maximum_batching_window_in_seconds=1)
def sequence(event: Any) -> None:
    """Audit events become leaves of the transparency log."""
    streams.sequence(event.to_dict())


@app.on_dynamodb_record(STREAM, batch_size=10, starting_position="TRIM_HORIZON", maximum_batching_window_in_seconds=1)
def seal(event: Any) -> None:
    """Sessions that ended get their manifests."""
    streams.seal(event.to_dict())
