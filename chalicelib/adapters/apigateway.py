"""The way back through the WebSocket API: ``PostToConnection``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

_GONE: Final = frozenset({"GoneException", "410"})


class WebSocketDownlink:
    """Implements ``ports.Downlink``."""

    def __init__(self, client: ApiGatewayManagementApiClient) -> None:
        self._client = client

    def post(self, connection: str, message: bytes) -> bool:
        """Send one text message. Returns False if the connection is gone."""
        try:
            self._client.post_to_connection(ConnectionId=connection, Data=message)
        except ClientError as error:
            if _is_gone(error):
                return False
            raise
        return True

    def close(self, connection: str) -> None:
        """End a connection; nothing happens if it is gone."""
        try:
            self._client.delete_connection(ConnectionId=connection)
        except ClientError as error:
            if not _is_gone(error):
                raise


def _is_gone(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _GONE
