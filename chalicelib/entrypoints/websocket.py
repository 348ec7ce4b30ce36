"""WebSocket events, as app.py delegates them. Each takes API Gateway's event and returns its answer."""

from __future__ import annotations

from typing import Any

from chalicelib.bootstrap import ports, replays
from chalicelib.contracts.faults import Fault
from chalicelib.entrypoints.faults import refusal
from chalicelib.usecases.close_socket import close_socket
from chalicelib.usecases.connect_socket import Opening, connect_socket
from chalicelib.usecases.relay_frame import relay_frame

Answer = dict[str, Any]
_OK: Answer = {"statusCode": 200}


def connect(event: dict[str, Any]) -> Answer:
    """Admit a socket or refuse the handshake with the fault's status."""
    context = event["requestContext"]
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    try:
        if not headers.get("authorization"):
            raise Fault("login_required", "This needs a ticket.")
        asked = Opening(
            connection=context["connectionId"],
            authorization=headers["authorization"],
            socket=headers.get("x-sallyport-socket", ""),
            session=headers.get("x-sallyport-session", ""),
            request=headers.get("x-sallyport-request", ""),
            watch=headers.get("x-sallyport-watch", ""),
        )
        connect_socket(ports(), replays(), asked)
    except Exception as error:  # noqa: BLE001 - the catch-all of this function: told as a code, logged whole
        return _refuse(error, "$connect", context)
    return _OK


def message(event: dict[str, Any]) -> Answer:
    """Do what one message asks for."""
    context = event["requestContext"]
    try:
        relay_frame(ports(), context["connectionId"], event.get("body") or "")
    except Exception as error:  # noqa: BLE001 - the catch-all of this function: told as a code, logged whole
        return _refuse(error, "$default", context)
    return _OK


def disconnect(event: dict[str, Any]) -> Answer:
    """Forget a socket."""
    context = event["requestContext"]
    try:
        close_socket(ports(), context["connectionId"])
    except Exception as error:  # noqa: BLE001 - the catch-all of this function: told as a code, logged whole
        return _refuse(error, "$disconnect", context)
    return _OK


def _refuse(error: Exception, where: str, context: dict[str, Any]) -> Answer:
    refused = refusal(error, where, str(context.get("requestId", "unknown")))
    return {"statusCode": refused.status, "body": refused.body}
