"""Golden files: what leaves the process, kept byte for byte. ``SALLYPORT_REGEN=1`` writes them again; the diff is reviewed."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent


def check(name: str, actual: str) -> None:
    """Compare ``actual`` with the golden file ``name`` (a path below this folder), or write it when asked to."""
    path = HERE / name
    if os.environ.get("SALLYPORT_REGEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(actual)
    assert path.exists(), f"{path} is missing; run make golden and review it"
    assert actual == path.read_text(), f"{name} changed; if that is meant, run make golden and review the diff"
