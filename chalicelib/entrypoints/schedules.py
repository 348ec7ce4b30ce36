"""Scheduled work, as app.py delegates it."""

from __future__ import annotations

from chalicelib.bootstrap import ports
from chalicelib.entrypoints.telemetry import LOG
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.copy_checkpoint import copy_checkpoint
from chalicelib.usecases.deliver_notices import deliver_notices
from chalicelib.usecases.end_request import expire_requests
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.watch_bucket import sweep_bucket


def reap() -> dict[str, int]:
    """End what nobody else will; errors are raised, so that Lambda's own retry and alarm see them."""
    counts = reap_sessions(ports())
    if expired := expire_requests(ports()):
        counts["requests"] = expired
    if delivered := deliver_notices(ports()):
        counts["notices"] = delivered
    if counts:
        LOG.info("sessions.reaped", extra=counts)
    return counts


def sweep() -> int:
    """Look for what no notification told; return how many alerts there are."""
    if alerts := sweep_bucket(ports()):
        LOG.error("evidence.altered", extra={"alerts": alerts})
    return alerts


def copy() -> int:
    """Copy the newest checkpoint to the second bucket, if there is one."""
    if size := copy_checkpoint(ports()):
        LOG.info("log.copied", extra={"size": size})
    return size


def catch_up() -> int:
    """Append what the stream did not deliver, or not yet."""
    if appended := catch_up_log(ports()):
        LOG.info("log.caught_up", extra={"appended": appended})
    return appended
