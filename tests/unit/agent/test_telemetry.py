"""The log: constant names, JSON for machines, and nothing secret whoever writes it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from agent.telemetry import SECRETS, WITHHELD, configure, logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_events_are_json_lines_with_bound_identifiers() -> None:
    stream = io.StringIO()
    configure(stream, {})
    logger(sid="ses_1").info("session.started", path="relay")
    logger().debug("unseen.event")
    event = json.loads(stream.getvalue())
    assert (event["event"], event["sid"], event["path"], event["level"]) == ("session.started", "ses_1", "relay", "info")


@pytest.mark.parametrize("key", sorted(SECRETS))
def test_secrets_are_withheld_and_flagged(key: str) -> None:
    stream = io.StringIO()
    configure(stream, {})
    logger(**{key: "s3cret"}).warning("careless.event")
    assert "s3cret" not in stream.getvalue()
    assert json.loads(stream.getvalue())["withheld"] == [key]


def test_bytes_are_payload_under_any_name() -> None:
    stream = io.StringIO()
    configure(stream, {})
    logger().info("careless.event", first=b"s3cret", size=6)
    event = json.loads(stream.getvalue())
    assert (event["first"], event["size"], event["withheld"]) == (WITHHELD, 6, ["first"])


def test_a_bug_is_logged_whole() -> None:
    stream = io.StringIO()
    configure(stream, {})
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        logger().exception("agent.internal_fault")
    assert "ZeroDivisionError" in stream.getvalue()


def test_the_level_comes_from_the_environment() -> None:
    stream = io.StringIO()
    configure(stream, {"SALLYPORT_AGENT_LOG_LEVEL": "debug"})
    logger().debug("seen.event")
    assert "seen.event" in stream.getvalue()


def test_a_traceback_does_not_carry_local_variables() -> None:
    stream = io.StringIO()
    configure(stream, {})
    ticket = "s3cret"
    try:
        raise ValueError("a bug near " + str(len(ticket)))
    except ValueError:
        logger().exception("agent.internal_fault")
    assert "s3cret" not in stream.getvalue()
