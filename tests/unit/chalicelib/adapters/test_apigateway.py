"""Posting to WebSockets: gone is an answer, everything else an error."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.apigateway import WebSocketDownlink


class Api:
    def __init__(self, code: str = "") -> None:
        self.code = code
        self.posted: list[Any] = []

    def _answer(self, what: str, **asked: Any) -> None:
        if self.code:
            raise ClientError({"Error": {"Code": self.code, "Message": ""}}, what)
        self.posted.append(asked)

    def post_to_connection(self, **asked: Any) -> None:
        self._answer("PostToConnection", **asked)

    def delete_connection(self, **asked: Any) -> None:
        self._answer("DeleteConnection", **asked)


def downlink(api: Api) -> WebSocketDownlink:
    return WebSocketDownlink(api)  # type: ignore[arg-type]


def test_a_message_is_posted() -> None:
    api = Api()
    assert downlink(api).post("c1", b"{}")
    assert api.posted == [{"ConnectionId": "c1", "Data": b"{}"}]


def test_gone_is_false_and_closing_it_again_is_fine() -> None:
    assert not downlink(Api("GoneException")).post("c1", b"{}")
    downlink(Api("GoneException")).close("c1")


@pytest.mark.parametrize("code", ["LimitExceededException", "ForbiddenException", "PayloadTooLargeException"])
def test_other_errors_are_errors(code: str) -> None:
    with pytest.raises(ClientError):
        downlink(Api(code)).post("c1", b"{}")
    with pytest.raises(ClientError):
        downlink(Api(code)).close("c1")
