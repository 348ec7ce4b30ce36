"""The one place where a fault becomes an answer. Anything that is not a fault is ours: logged whole, told as a code."""

from __future__ import annotations

import msgspec

from chalicelib.adapters.busy import is_busy
from chalicelib.contracts.api import Failure, Problem
from chalicelib.contracts.faults import Fault
from chalicelib.entrypoints.telemetry import LOG


class Refusal(msgspec.Struct, frozen=True):
    """A status and a body."""

    status: int
    failure: Failure

    @property
    def body(self) -> str:
        """The failure as JSON."""
        return msgspec.json.encode(self.failure).decode()


def refusal(error: Exception, where: str, request_id: str) -> Refusal:
    """Return what ``error`` looks like from outside, and log it."""
    if isinstance(error, Fault):
        LOG.info("request.refused", extra={"where": where, "code": error.code, "request": request_id, "detail": error.detail})
        problems: list[Problem] = getattr(error, "problems", [])
        return Refusal(error.kind.status, Failure(error.notice, problems))
    LOG.error("request.failed", exc_info=error, extra={"where": where, "request": request_id})
    if is_busy(error):
        # Agents and command lines try this again by themselves, as if nothing had answered.
        fault = Fault("control_plane_unreachable", "The gateway is busy.", hint=f"Try again in a moment (request {request_id}).")
        return Refusal(fault.kind.status, Failure(fault.notice))
    fault = Fault("internal", f"The gateway failed. Tell its operators: request {request_id}.")
    return Refusal(fault.kind.status, Failure(fault.notice))
