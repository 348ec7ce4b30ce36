"""``connect`` to a target that speaks PostgreSQL: run a program that finds it in its environment, or listen for any client.

A program gets a Unix socket in a directory that only its user can enter. A port of this machine is open to every user of it, so
there a password is demanded, made anew for each ``connect``; it opens this door and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chalicelib.contracts.faults import Fault
from cli.moments import clock, now_ms
from cli.plain import clean
from cli.postgres_agent import READ, Errand
from cli.postgres_door import Door
from cli.postgres_offer import LIBPQ, Offer
from cli.screen import note, one_line, paint, say

HOST: Final = "127.0.0.1"
#: The port that a Unix socket's name is made of.
_SOCKET_PORT: Final = 5432
#: Seconds that connections may take to say goodbye once their program has ended, or Ctrl-C was pressed.
_GOODBYE_S: Final = 2.0
#: Longest path of a Unix socket (macOS; Linux has four more).
_PATH_LIMIT: Final = 103


def run_program(errand: Errand, words: Sequence[str], port: int | None) -> int:
    """Run ``words`` against the target, by a Unix socket, or by a TCP port where one is named. Return its exit status."""
    return asyncio.run(_run_program(errand, list(words), port))


async def _run_program(errand: Errand, words: list[str], port: int | None) -> int:
    door = Door(errand, secrets.token_urlsafe(24) if port is not None else "", lambda what, sid: None)
    try:
        with _private_folder() as folder:
            if port is None:
                server = await asyncio.start_unix_server(door.accept, folder / f".s.PGSQL.{_SOCKET_PORT}", limit=READ)
                offer = Offer(errand.target, str(folder), _SOCKET_PORT, errand.logins[0])
            else:
                server, offer = await _listen(door, errand, port)
            environment = {name: value for name, value in os.environ.items() if name not in LIBPQ} | offer.environment
            try:
                return await _until_ended(words, environment)
            finally:
                server.close()
    finally:
        await door.close(_GOODBYE_S)


async def _until_ended(words: list[str], environment: dict[str, str]) -> int:
    loop = asyncio.get_running_loop()
    # The terminal sends Ctrl-C to both of us; what it means is the program's to say. A handler, unlike SIG_IGN, is not inherited.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    try:
        process = await asyncio.create_subprocess_exec(*words, env=environment)
    except FileNotFoundError:
        raise Fault("not_found", f"There is no program {words[0]} on this machine.", hint=_without_psql(words[0])) from None
    except PermissionError:
        raise Fault("bad_request", f"{words[0]} is not a program that you may run.") from None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _pass_on, process, number)
    status = await process.wait()
    return status if status >= 0 else 128 - status


def _pass_on(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _without_psql(program: str) -> str:
    return "Install PostgreSQL's client, or use another one with: --port 0" if program == "psql" else ""


def listen(errand: Errand, port: int, *, as_json: bool) -> int:
    """Print how to connect, and serve whoever does until a signal ends it. Return the exit status; Ctrl-C is told as ever."""
    number = asyncio.run(_serve(errand, port, as_json))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    return 128 + number


async def _serve(errand: Errand, port: int, as_json: bool) -> int:
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _settle, stopped, number)
    door = Door(errand, secrets.token_urlsafe(24), _told)
    server, offer = await _listen(door, errand, port)
    try:
        for line in [one_line(offer.described())] if as_json else _words(offer):
            say(line)
        sys.stdout.flush()
        return await stopped
    finally:
        server.close()
        await door.close(0)


def _settle(stopped: asyncio.Future[int], number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)


async def _listen(door: Door, errand: Errand, port: int) -> tuple[asyncio.Server, Offer]:
    try:
        server = await asyncio.start_server(door.accept, HOST, port, limit=READ)
    except OSError as error:
        hint = "--port 0 takes one that is free."
        raise Fault("conflict", f"Port {port} cannot be used: {os.strerror(error.errno or 0)}.", hint=hint) from None
    address: tuple[str, int] = server.sockets[0].getsockname()
    return server, Offer(errand.target, HOST, address[1], errand.logins[0], door.password)


def _words(offer: Offer) -> Iterator[str]:
    yield f"{paint(offer.target, 'bold')} is at {offer.host}:{offer.port} until you press Ctrl-C. Each connection is a session."
    yield ""
    yield from offer.lines()
    yield ""


def _told(what: str, sid: str) -> None:
    note(f"{paint(clock(now_ms()), 'dim', stream=sys.stderr)}  {f'{sid}  ' if sid else ''}{clean(what)}")


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A directory that nobody else can enter, with a path that is short enough for a socket's name."""
    longest = _PATH_LIMIT - len(f"/.s.PGSQL.{_SOCKET_PORT}")
    folder = Path(tempfile.mkdtemp(prefix="sallyport-"))
    if len(os.fsencode(folder)) > longest:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="sallyport-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
