"""A stand-in for a Kubernetes API with one pod, which is this machine. Enough of it for `kubectl exec`.

The pod is read first; then a WebSocket of the protocol ``v5.channel.k8s.io`` carries the terminal. The first byte of a message
says which stream it is: 0 what is typed, 1 what is shown, 3 how it ended, 4 the size of the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "prod"},
    "spec": {"containers": [{"name": "web", "image": "web"}]},
    "status": {"phase": "Running"},
}
_RESOURCE = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
#: What a client asks for before it knows what a pod is, and the pod.
_ANSWERS: dict[str, object] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [_RESOURCE]},
    "/api/v1/namespaces/prod/pods/web": _POD,
}


class KubeExec:
    """Listens on loopback while it is entered. ``commands`` holds what was to be run."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.port = 0
        self._server: Server | None = None

    async def __aenter__(self) -> KubeExec:
        self._server = await serve(
            self._terminal,
            "127.0.0.1",
            0,
            process_request=self._plain,
            subprotocols=[Subprotocol("v5.channel.k8s.io")],
            compression=None,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _plain(self, _: ServerConnection, request: Request) -> Response | None:
        if "/exec?" in request.path:
            return None
        answer = _ANSWERS.get(urlsplit(request.path).path)
        body = json.dumps(answer or {"kind": "Status", "code": 404}).encode()
        return Response(
            200 if answer else 404, "OK", Headers({"Content-Type": "application/json", "Content-Length": str(len(body))}), body
        )

    async def _terminal(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        command = parse_qs(urlsplit(socket.request.path).query)["command"]
        self.commands.append(command)
        pid, ours = pty.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                os.execvp(command[0], command)
            os._exit(127)
        typing = asyncio.ensure_future(self._typed(socket, ours))
        try:
            while data := await asyncio.to_thread(_read, ours):
                await socket.send(b"\1" + data)
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            await socket.send(b"\3" + json.dumps(_status(os.waitstatus_to_exitcode(status))).encode())
        except ConnectionClosed:
            os.kill(pid, signal.SIGKILL)
        finally:
            typing.cancel()
            os.close(ours)

    async def _typed(self, socket: ServerConnection, ours: int) -> None:
        async for message in socket:
            if isinstance(message, bytes) and message[:1] == b"\0":
                os.write(ours, message[1:])


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def _status(code: int) -> dict[str, object]:
    if not code:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: exit code {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
