"""Calls an application's functions the way Lambda calls them: `callable(event, context)`, found by the same names."""

import time
import uuid
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
LambdaFunction = Callable[[Event, "LambdaContext"], Any]

ACCOUNT_ID = "123456789012"


class LambdaContext:
    """The context object of one invocation; the attributes that the Python Lambda runtime documents."""

    memory_limit_in_mb = 512
    function_version = "$LATEST"
    log_stream_name = "embedded"
    identity = None
    client_context = None

    def __init__(self, function_name: str, timeout_s: float = 60.0) -> None:
        self.function_name = function_name
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:{ACCOUNT_ID}:function:{function_name}"
        self._deadline = time.monotonic() + timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would end this invocation."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


def resolve(app: Any, source: Any) -> LambdaFunction:
    """The function behind one of Chalice's event sources or WebSocket handlers.

    Chalice deploys such a function under its `handler_string`. One that was registered through a blueprint is deployed
    without its wrapping and fails when invoked, so it is refused here instead of working only locally.
    """
    if not source.handler_string.startswith("app."):
        raise ValueError(f"{source.handler_string}: only app.py may register this kind of function, not a blueprint")
    found: LambdaFunction = app.handler_map[source.name]
    return found
