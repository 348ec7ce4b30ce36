"""What API Gateway itself says on a WebSocket API, when no function does."""

from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.http11 import Response


def phrase(status: int) -> str:
    """The reason phrase of a status that a function chose, which may be any number."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def refusal(status: int, message: str) -> Response:
    """Instead of the 101: the handshake is over."""
    body = f'{{"message": "{message}"}}'.encode()
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status, phrase(status), headers, body)


def failure(connection_id: str, request_id: str) -> bytes:
    """What the sender of a message is told when its function fails; never why."""
    message = f'{{"message": "Internal server error", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'
    return message.encode()
