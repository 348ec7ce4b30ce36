"""The parser: libpg_query behind postgast, and the errors that it and protobuf raise.

The type stubs that postgast ships are not valid for a type checker, and protobuf ships none, so the tree is untyped from here on.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

postgast: Final[Any] = import_module("postgast")
DecodeError: Final[type[Exception]] = import_module("google.protobuf.message").DecodeError
PgQueryError: Final[type[Exception]] = postgast.PgQueryError
