"""Scheduled work, as app.py delegates it."""

from __future__ import annotations

from chalicelib.bootstrap import ports
from chalicelib.entrypoints.telemetry import LOG
from chalicelib.usecases.reap_sessions import reap_sessions


def reap() -> dict[str, int]:
    """End what nobody else will; errors are raised, so that Lambda's own retry and alarm see them."""
    counts = reap_sessions(ports())
    if counts:
        LOG.info("sessions.reaped", extra=counts)
    return counts
