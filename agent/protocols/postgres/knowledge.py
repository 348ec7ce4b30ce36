"""What one connection knows of the database behind it, and how it keeps up with what changes there.

A snapshot is shared by all sessions of one agent that log in alike. It is read again when it is old and when a statement of this
connection has changed what it describes, and taken over where another session has read a newer one. Until then, what changed is
unknown, and decided as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from agent.protocols.postgres import backend as server
from agent.protocols.postgres import catalogue, login
from agent.protocols.postgres.apart import Apart
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.classify import Classifier
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.snapshot import Known, Snapshot
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault

_log: Final = structlog.get_logger()


class Knowledge:
    """Learned once, before the client is welcomed; kept up to date from then on."""

    def __init__(self, serving: Serving, catalogues: Catalogues, apart: Apart) -> None:
        target = serving.target
        self._serving = serving
        self.catalogues: Final = catalogues
        self._apart = apart
        self._key = (target.name, target.address, str(target.options.get("database")), serving.claims.login)
        self.known: Known
        """What is known now. There is none before :meth:`learn`."""
        self._engine: Engine
        self._classifier: Classifier
        self._learned: Callable[[], None]
        self._read_ms = 0
        self._tried_ms = 0
        self.old_ms = 0
        """When the catalogue that is known will be too old."""
        self.readings = 0
        """How many of other sessions' readings were looked at."""
        self.owed = False
        """Something has changed that other sessions have not been told of."""
        self._refreshing: asyncio.Task[None] | None = None

    async def learn(self, path: tuple[str, ...]) -> None:
        """Read the catalogue, or take what another session has read, for one that looks in ``path`` first. Raises Fault."""
        snapshot = await self.catalogues.current(self._key, self._serving.now_ms(), self._fetch)
        self.known = Known(snapshot, path)
        self._dated(snapshot)

    def serve(self, engine: Engine, classifier: Classifier, learned: Callable[[], None]) -> None:
        """Keep ``engine`` and ``classifier`` up to date. ``learned`` is called whenever a reading of their own is over."""
        self._engine, self._classifier, self._learned = engine, classifier, learned
        engine.missing.age_ms = lambda: self._serving.now_ms() - self._tried_ms

    def close(self) -> None:
        """Stop reading."""
        if self._refreshing is not None:
            self._refreshing.cancel()

    def keep_up(self, now_ms: int) -> None:
        """Use what another session, or an older wish of ours, has learned meanwhile. Called before every statement."""
        if self.catalogues.readings == self.readings and now_ms <= self.old_ms:
            return
        self.readings = self.catalogues.readings
        held = self.catalogues.held(self._key)
        if held is not None and held.read_ms > self._read_ms:
            self._adopt(held)
        if self._refreshing is None and now_ms > self.old_ms:
            self._refreshing = asyncio.ensure_future(self._refresh())

    def wish(self) -> None:
        """Have the catalogue read again where a statement has changed what it describes."""
        if self._apart.busy:
            return  # that statement will be answered too
        self.owed = self._engine.altered() or self.owed
        if self._refreshing is not None:
            return
        rested = self._serving.now_ms() - self._read_ms > catalogue.REST_MS
        if self._engine.stale or (self.owed and rested):
            self.owed = False
            self._refreshing = asyncio.ensure_future(self._refresh())

    async def _fetch(self) -> Snapshot:
        serving = self._serving
        credential = await serving.credential(serving.claims.login)
        asked = login.Wishes(str(serving.target.options.get("database")), "", "catalogue", {})
        now_ms = serving.now_ms()
        backend = await server.connect(
            serving.target, serving.claims.login, credential, login.startup(serving.claims.login, asked, serving.claims.sid)
        )
        return await catalogue.read(backend, now_ms)

    def _dated(self, snapshot: Snapshot) -> None:
        self._read_ms, self.old_ms = snapshot.read_ms, snapshot.read_ms + catalogue.MAX_AGE_MS
        self._tried_ms = snapshot.read_ms

    def _adopt(self, snapshot: Snapshot) -> None:
        self._dated(snapshot)
        self.known.share(snapshot)
        self._classifier.adopt(self.known.current.catalogue)

    async def _refresh(self) -> None:
        mark = self._engine.mark()
        fresh = False
        try:
            snapshot = await self.catalogues.renewed(self._key, self._fetch)
            await self._apart.settled()
            self._adopt(snapshot)
            fresh = True
        except Fault as fault:
            await self._apart.settled()
            # What had changed stays unknown, and what is unknown is decided as such.
            self._tried_ms = self._serving.now_ms()
            _log.warning("postgres.catalogue.failed", sid=self._serving.claims.sid, code=fault.code, detail=fault.detail)
        finally:
            self._engine.adopt(mark, fresh=fresh)
            self._refreshing = None
            self._learned()
