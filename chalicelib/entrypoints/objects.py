"""What S3 tells of the evidence bucket through EventBridge, as app.py delegates it. At least once, in no order."""

from __future__ import annotations

from typing import Any

from chalicelib.bootstrap import ports
from chalicelib.entrypoints.telemetry import LOG
from chalicelib.usecases.watch_bucket import Happened, watch_bucket


def watch(event: dict[str, Any]) -> str:
    """Look at one object; return what is wrong with it, or nothing. An error brings the notification again."""
    detail = event["detail"]
    found = detail["object"]
    happened = Happened(key=found["key"], version=found.get("version-id", ""), deleted=event["detail-type"] == "Object Deleted")
    wrong = watch_bucket(ports(), happened)
    if wrong:
        LOG.error("evidence.altered", extra={"what": wrong, "version": happened.version})
    return wrong
