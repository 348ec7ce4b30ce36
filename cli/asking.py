"""Waiting for other people before a session opens: who is asked is said on standard error, and it goes on by itself.

    approval_required ─► POST /requests ─► a WebSocket that is told, and a question every few seconds ─► open with the yes
                              └──► Ctrl-C, or a parent that has gone: withdrawn

What the socket says is a hint; what is asked over HTTP counts. A lost socket is replaced, and losing all of them costs seconds.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from chalicelib.contracts import api, relay
from chalicelib.contracts.api_requests import AccessAsk, RequestEnd, RequestStanding
from chalicelib.contracts.approval import ApprovalRequest, RequestState, refusal
from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane, Refusal
from cli.home import SavedLogin
from cli.moments import now_ms, until
from cli.patience import Patience
from cli.plain import clean
from cli.screen import is_terminal, note, paint

if TYPE_CHECKING:
    import websockets.asyncio.client as ws

#: Seconds before each further attempt to ask, where no answer came.
TRY_AGAIN_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Seconds between two questions while nothing is heard, and until a lost socket is replaced.
POLL_S: Final = 15.0
_AGAIN_S: Final = 3.0
_TICK_S: Final = 1.0


def agreed(saved: SavedLogin, asked: AccessAsk, patience: Patience | None = None) -> ApprovalRequest:
    """Ask for access, say who is asked, and wait for the yes. Raises Fault for every no, Refusal where nobody may be asked."""
    with _interruptible():
        return waited(saved, ask(saved, asked, patience), patience)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Hear Ctrl-C while it waits, also where it is ignored: sftp starts its ssh so, which starts us."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def ask(saved: SavedLogin, asked: AccessAsk, patience: Patience | None = None) -> RequestStanding:
    """Ask for access; again by the same key where no answer came, for what was asked may have arrived. Raises Fault, Refusal.

    Interrupted meanwhile, it withdraws what may have been asked.
    """
    plane = ControlPlane(saved.url, saved.token)
    asked = msgspec.structs.replace(asked, key=secrets.token_urlsafe(16))
    waits = [*TRY_AGAIN_S]
    try:
        while True:
            try:
                return plane.post("/requests", RequestStanding, asked)
            except Fault as fault:
                if fault.code != "control_plane_unreachable" or not waits or (patience is not None and patience.lost):
                    raise
                note(f"sallyport: {fault.message} Asking again ({len(TRY_AGAIN_S) - len(waits) + 1} of {len(TRY_AGAIN_S)}).")
            time.sleep(waits.pop(0))
    except KeyboardInterrupt:
        with suppress(Fault, Refusal):
            withdraw(saved, plane.post("/requests", RequestStanding, asked).request.rid)
        raise


def tell(standing: RequestStanding) -> None:
    """Say on standard error who is asked, where, and until when."""
    request = standing.request
    if request.state is not RequestState.PENDING:
        return
    if request.message:
        note(f"sallyport: {clean(request.message)}")
    name = paint(clean(groups(request)), "bold", stream=sys.stderr)
    note(f"sallyport: waiting for {name} to agree, until {until(request.deadline_ms, now_ms())}; Ctrl-C withdraws")
    note(f"sallyport: {clean(standing.link)}")


def groups(request: ApprovalRequest) -> str:
    """Return who is asked: ``dba``, ``2 of dba and lead``."""
    return " and ".join(f"{ask.quorum} of {ask.group}" if ask.quorum > 1 else ask.group for ask in request.asks)


def waited(saved: SavedLogin, standing: RequestStanding, patience: Patience | None = None) -> ApprovalRequest:
    """Say who is asked, wait until a request is decided, and return it if it was granted. Raises Fault for every no.

    Interrupted, or once ``patience`` is lost, it withdraws.
    """
    request = standing.request
    try:
        tell(standing)
        if request.state is RequestState.PENDING:
            request = asyncio.run(_Wait(saved, request).decided(patience))
    except BaseException:
        # Ctrl-C included: whoever was asked must not answer what nobody waits for.
        withdraw(saved, request.rid)
        raise
    if request.state is not RequestState.APPROVED:
        raise refusal(request)
    return request


def withdraw(saved: SavedLogin, rid: str) -> None:
    """End a request that nobody waits for; one that is over already stays as it is."""
    with suppress(Fault, Refusal):
        ControlPlane(saved.url, saved.token).post(f"/requests/{rid}/withdraw", RequestStanding, RequestEnd())


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the wait is over, and its loop closed
        loop.call_soon_threadsafe(news.set)


class _Wait:
    """One request that is waited for."""

    def __init__(self, saved: SavedLogin, request: ApprovalRequest) -> None:
        self._saved = saved
        self._request = request
        self._plane = ControlPlane(saved.url, saved.token)
        self._news = asyncio.Event()
        self._parent = os.getppid()

    async def decided(self, patience: Patience | None) -> ApprovalRequest:
        if patience is not None:
            loop = asyncio.get_running_loop()
            patience.on_loss(partial(_wake, loop, self._news))
        tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._watch())]
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(POLL_S, max(0.2, self._left_s()))):
                        await self._news.wait()
                self._news.clear()
                if patience is not None and patience.lost:
                    raise Fault("approval_withdrawn", "Nobody waits for it any more.")
                request = await asyncio.to_thread(self._ask)
                if request.state is not RequestState.PENDING:
                    return request
                if self._left_s() <= 0:
                    raise Fault("approval_expired", "Nobody answered in time.", hint="Ask again, or ask them yourself.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if is_terminal(sys.stderr):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def _left_s(self) -> float:
        return (self._request.deadline_ms - now_ms()) / 1000

    def _ask(self) -> ApprovalRequest:
        try:
            return self._plane.get(f"/requests/{self._request.rid}", RequestStanding).request
        except Fault as fault:
            if fault.code != "control_plane_unreachable" or self._left_s() <= 0:
                raise
            return self._request

    async def _watch(self) -> None:
        """Show that time passes; end with whoever started us, for ssh may be killed alone."""
        begun = now_ms()
        while True:
            await asyncio.sleep(_TICK_S)
            if threading.current_thread() is threading.main_thread() and os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGINT)
            if is_terminal(sys.stderr):
                seconds = (now_ms() - begun) // 1000
                sys.stderr.write(f"\r\x1b[K{paint(f'waiting {seconds // 60}:{seconds % 60:02}', 'dim', stream=sys.stderr)}")
                sys.stderr.flush()

    async def _listen(self) -> None:
        import websockets.asyncio.client as ws
        from websockets.exceptions import WebSocketException

        while True:
            with suppress(OSError, TimeoutError, WebSocketException, Fault, Refusal):
                url = await asyncio.to_thread(lambda: self._plane.get("/trust", api.Trust).websocket_url)
                await self._heard(ws.connect, url)
            await asyncio.sleep(_AGAIN_S)

    async def _heard(self, connect: Callable[..., ws.connect], url: str) -> None:
        from cli.ways import checked_relay

        headers = {
            "Authorization": f"Bearer {self._saved.token}",
            "X-Sallyport-Socket": "request",
            "X-Sallyport-Request": self._request.rid,
        }
        async with connect(
            checked_relay(url), additional_headers=headers, max_size=relay.MESSAGE_LIMIT, compression=None
        ) as socket:
            # It may have been decided before anybody listened.
            self._news.set()
            async for text in socket:
                with suppress(relay.RelayFault):
                    relay.decode_waiting(text)
                    self._news.set()
