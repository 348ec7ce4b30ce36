"""Plug-ins for tests of the runtime: they keep the promises of ``agent/runtime/serving.py`` and echo lines."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from agent.runtime.serving import Door, More, Serving
from chalicelib.contracts import gateway
from chalicelib.contracts.faults import Fault, Notice

OK = Notice("ok", "")


class EchoPlugin:
    """Records every line durably before it answers it.

    ``accept`` expects the certificate as the first line, or ``ticket USER TARGET TICKET``.
    """

    def __init__(self, name: str = "echo") -> None:
        self.announcement = gateway.Protocol(
            name=name, hint=f"{name} {{target}}", controls=[gateway.Control(name=gateway.RECORD, enforced=True)]
        )
        self.served: list[Serving] = []
        self.endings: list[Notice] = []
        self.serving = asyncio.Event()
        """Set while at least one session was begun."""
        self.fails: BaseException | None = None
        self.ignores_end = False
        self.refusals: list[Fault] = []

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        reader, writer = await asyncio.open_connection(sock=connection)
        self.served.append(serving)
        self.serving.set()
        try:
            if self.fails is not None:
                raise self.fails
            notice = await self._until_over(reader, writer, serving)
        finally:
            writer.close()
        self.endings.append(notice)
        return notice

    def recognise(self, first: bytes) -> bool | More:
        """Everybody, whatever they begin with."""
        return True

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            certificate = (await reader.readline()).decode().strip()
            try:
                serving = await self._enter(certificate, source_ip, sid, door)
            except Fault as fault:
                self.refusals.append(fault)
                writer.write(f"refused {fault.code}\n".encode())
                await writer.drain()
                return
            self.served.append(serving)
            self.serving.set()
            self.endings.append(await self._until_over(reader, writer, serving))
        finally:
            writer.close()

    async def _enter(self, line: str, source_ip: str, sid: str, door: Door) -> Serving:
        if line.startswith("ticket "):
            _, user, target, ticket = line.split(" ", 3)
            return await door.ticketed(ticket, user, target)
        return await (door.offered(sid, line) if sid else door.open(line, "web", "root", source_ip))

    async def _until_over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serving: Serving) -> Notice:
        echoing = asyncio.ensure_future(self._echo(reader, writer, serving))
        try:
            waiting = {echoing} if self.ignores_end else {echoing, serving.ended}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            echoing.cancel()
        if serving.ended.done():
            with contextlib.suppress(ConnectionError):
                writer.write(f"ended {serving.ended.result().code}\n".encode())
                await writer.drain()
            return serving.ended.result()
        return echoing.result()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serving: Serving) -> Notice:
        try:
            while line := await reader.readline():
                serving.count(operations=1)
                await serving.recorder.write(1, "jsonl", line, durable=True)
                writer.write(b"echo " + line)
                await writer.drain()
        except Fault as fault:
            return fault.notice
        except ConnectionError:
            return OK
        return OK
