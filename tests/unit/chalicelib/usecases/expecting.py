"""How use-case tests look at faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chalicelib.contracts.faults import Fault


@contextmanager
def fault(code: str, *words: str) -> Iterator[None]:
    """Expect a fault of ``code`` whose message or hint holds every word."""
    with pytest.raises(Fault) as caught:
        yield
    assert caught.value.code == code, caught.value
    text = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in text
