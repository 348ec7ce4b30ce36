"""Reading a folder of configuration: ``gateway.yaml`` and the ``*.cedar`` files beside it, exactly as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from chalicelib.contracts.api import BODY_LIMIT
from chalicelib.contracts.faults import Fault

MAIN_FILE: Final = "gateway.yaml"


def read_folder(folder: Path) -> dict[str, str]:
    """Return the files by name. Raises Fault(not_found | bad_request | too_large)."""
    if not folder.is_dir():
        raise Fault("not_found", f"{folder} is not a folder.", hint=f"It holds {MAIN_FILE} and the *.cedar files beside it.")
    if not (folder / MAIN_FILE).is_file():
        raise Fault("not_found", f"There is no {MAIN_FILE} in {folder}.")
    files: dict[str, str] = {}
    size = 0
    for path in [folder / MAIN_FILE, *sorted(folder.glob("*.cedar"))]:
        size += path.stat().st_size
        if size > BODY_LIMIT:
            raise Fault("too_large", f"The configuration is larger than {BODY_LIMIT} bytes.")
        try:
            files[path.name] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise Fault("bad_request", f"{path}:{line}: the file is not UTF-8 text.") from None
    return files
