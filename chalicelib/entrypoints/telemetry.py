"""One logger. Events have constant dotted names and bound identifiers; never tokens, reasons or payload."""

from __future__ import annotations

import os
from typing import Any, Final

from aws_lambda_powertools import Logger

LOG: Final[Any] = Logger(service="sallyport", level=os.environ.get("POWERTOOLS_LOG_LEVEL", "WARNING"))
