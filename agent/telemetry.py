"""The agent's log: events with constant dotted names and bound identifiers. Never payload, tickets or credentials.

JSON where standard error is not a terminal. ``SALLYPORT_AGENT_LOG_LEVEL`` sets the level (debug, info, warning, error).
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from joserfc.errors import SecurityWarning
from structlog.typing import FilteringBoundLogger

LEVEL_VARIABLE: Final = "SALLYPORT_AGENT_LOG_LEVEL"
WITHHELD: Final = "[withheld]"

#: Keys whose values never reach a log, whoever writes them. A URL may be presigned, so it is a credential too.
SECRETS: Final = frozenset(
    {
        "authorization",
        "body",
        "certificate",
        "command",
        "cookie",
        "credential",
        "data",
        "headers",
        "key",
        "lines",
        "passphrase",
        "password",
        "payload",
        "private_key",
        "proof",
        "secret",
        "text",
        "ticket",
        "token",
        "url",
    }
)


def withhold(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values that may not be logged, and say that it happened, so that the place is found and mended."""
    found = sorted(key for key, value in event.items() if key in SECRETS or isinstance(value, bytes | bytearray | memoryview))
    for key in found:
        event[key] = WITHHELD
    if found:
        event["withheld"] = found
    return event


def configure(stream: TextIO | None = None, environment: dict[str, str] | None = None) -> None:
    """Set logging up for the process. ``stream`` is standard error unless told."""
    stream = sys.stderr if stream is None else stream
    name = (os.environ if environment is None else environment).get(LEVEL_VARIABLE, "info").upper()
    level = logging.getLevelNamesMapping().get(name, logging.INFO)
    # RFC 9864 renames EdDSA to Ed25519; the control plane's contract says EdDSA, so the reminder helps no operator.
    warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)
    # Neither way of telling an exception shows local variables: those are where tickets and payload are.
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    pretty = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            withhold,
            *([pretty] if stream.isatty() else [tracebacks, structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def logger(**bound: Any) -> FilteringBoundLogger:
    """Return a logger with ``bound`` identifiers on every event."""
    made: FilteringBoundLogger = structlog.get_logger(**bound)
    return made
