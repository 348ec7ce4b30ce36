"""A stand-in for a Docker daemon with one running container, which is this machine. Enough of its API for `docker exec`.

Docker Engine API 1.41: "Container inspect", "Exec create", "Exec start" (the connection is hijacked and carries the terminal),
"Exec resize", "Exec inspect".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal


class DockerDaemon:
    """Listens on loopback while it is entered. ``commands`` holds what was to be run."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.port = 0
        self._status: int | None = None
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> DockerDaemon:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._request(reader, writer):
                    pass
        finally:
            writer.close()
            self._sessions.discard(task)

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        length = re.search(r"(?im)^content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if re.search(r"(?im)^transfer-encoding: chunked", head):
            while size := int((await reader.readline()).strip() or b"0", 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        if path.endswith("/start"):
            writer.write(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
                         b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")  # fmt: skip
            await self._terminal(reader, writer)
            return False
        answer, status = self._answer(path, body)
        text = b"" if method == "HEAD" else answer
        writer.write(f"HTTP/1.1 {status} X\r\nApi-Version: 1.41\r\nOSType: linux\r\nContent-Type: application/json\r\n".encode())
        writer.write(f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()
        return True

    def _answer(self, path: str, body: bytes) -> tuple[bytes, int]:
        if path.endswith("/_ping"):
            return b"OK", 200
        if path.endswith("/containers/web/json"):
            return json.dumps({"Id": "web", "State": {"Running": True}, "Config": {"Tty": True}}).encode(), 200
        if path.endswith("/containers/web/exec"):
            self.commands.append(json.loads(body)["Cmd"])
            return b'{"Id": "e1"}', 201
        if path.endswith("/exec/e1/json"):
            running = self._status is None
            return json.dumps({"ID": "e1", "Running": running, "ExitCode": self._status or 0, "Pid": 1}).encode(), 200
        return b"{}", 200

    async def _terminal(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run the last command on a terminal of its own, with the connection as the other end of it."""
        command = self.commands[-1]
        pid, ours = pty.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                os.execvp(command[0], command)
            os._exit(127)
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def shown() -> None:
            try:
                data = os.read(ours, 65536)
            except OSError:
                data = b""
            if data:
                writer.write(data)
            else:
                loop.remove_reader(ours)
                over.set()

        async def typed() -> None:
            while data := await reader.read(65536):
                os.write(ours, data)

        loop.add_reader(ours, shown)
        typing = asyncio.ensure_future(typed())
        try:
            await over.wait()
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            self._status = os.waitstatus_to_exitcode(status)
            await writer.drain()
        except asyncio.CancelledError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it was killed
            raise
        finally:
            typing.cancel()
            loop.remove_reader(ours)
            os.close(ours)
