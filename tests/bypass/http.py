"""One HTTP request to the control plane, without the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.patience import HANG_S

Answer = tuple[int, dict[str, Any]]


def ask(url: str, method: str, path: str, body: Any = None, authorization: str = "") -> Answer:
    """Call the HTTP API; return status and body."""
    request = urllib.request.Request(f"{url}{path}", method=method)
    request.add_header("Content-Type", "application/json")
    if authorization:
        request.add_header("Authorization", authorization)
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=HANG_S) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")
