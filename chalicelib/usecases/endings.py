"""The event of a session's end."""

from __future__ import annotations

from chalicelib.contracts import ids
from chalicelib.contracts.audit import SessionEnded
from chalicelib.contracts.session import Session
from chalicelib.ports import Clock
from chalicelib.usecases.minting import mint


def ended(clock: Clock, session: Session, *, actor: str, amended: bool = False) -> SessionEnded:
    """Return the event that says how ``session``, which is over, ended."""
    return SessionEnded(
        id=mint(clock, ids.EVENT),
        time_ms=clock.now_ms(),
        actor=actor,
        sid=session.sid,
        target=session.target,
        state=str(session.state),
        message=session.message,
        chunks=session.chunks,
        chain=session.chain,
        operations=session.operations,
        denied=session.denied,
        amended=amended,
    )
