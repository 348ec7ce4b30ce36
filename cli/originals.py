"""Sealed originals on this side: their heading, the session's key once it was given, and their lines.

The gateway gives the key and never sees the lines; they are decrypted here, record by record, and stored nowhere. A record that
does not open was exchanged or cut, so nothing behind it is shown either.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from chalicelib.contracts import originals
from chalicelib.contracts.api_originals import Unmasked
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import Header
from cli.evidence import Evidence
from cli.plain import clean, clean_lines

_WIDE: Final = 1 << 20


def heading(evidence: Evidence) -> Header:
    """Return the heading of a verified recording's originals. Raises Fault(originals_none | evidence_altered)."""
    first = next(evidence.lines(originals.KIND), None)
    if first is None:
        raise Fault("originals_none", "No originals were sealed in this session.")
    try:
        return originals.read_header(first)
    except ValueError as error:
        raise _altered("The sealed originals have no heading.", str(error)) from None


def plain_lines(evidence: Evidence, found: Unmasked) -> Iterator[bytes]:
    """Yield the originals, a JSON object with a newline each. Raises Fault(evidence_altered) where one does not open."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(base64.b64decode(found.content_key))
    sealed = evidence.lines(originals.KIND)
    next(sealed)
    rest = b""
    for number, line in enumerate(sealed):
        try:
            record = originals.read_record(line)
            aad = originals.aad(evidence.session.sid, found.target, found.month, found.key, record.n)
            if record.n != number:
                raise ValueError("another number")
            rest += cipher.decrypt(originals.nonce(record.n), record.sealed, aad)
        except (InvalidTag, ValueError) as error:
            message = f"Sealed record {number} does not open: it belongs to another session, or to another place."
            raise _altered(message, str(error)) from None
        *whole, rest = rest.split(b"\n")
        yield from (each + b"\n" for each in whole)
    if rest:
        raise _altered("The last original is cut off.", "")


def shown(line: bytes) -> list[str]:
    """Return one original as lines for a terminal, with nothing in them that a terminal would obey."""
    try:
        entry = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return [clean(line.decode(errors="replace"), _WIDE)]
    where = f"channel {entry.get('ch', '?')}"
    match entry.get("event"):
        case "operation":
            lines = [f"{where}, statement {entry.get('statement', '?')}:"]
            lines += [f"  {each}" for each in clean_lines(str(entry.get("text", "")), _WIDE)]
            arguments = entry.get("arguments")
            values = arguments if isinstance(arguments, list) else []
            return lines + [f"  ${number} = {clean(str(value), _WIDE)}" for number, value in enumerate(values, 1)]
        case "done":
            return [f"{where}, statement {entry.get('statement', '?')} returned:", *_result(entry)]
        case "output" if "text" in entry:
            return [f"{where}, output:", *[f"  {each}" for each in clean_lines(str(entry["text"]), _WIDE)]]
        case "output":
            size = len(str(entry.get("base64", ""))) * 3 // 4
            return [f"{where}, output: some {size} bytes that are no text; --json and --output have them in base 64"]
        case _:
            return [f"{where}: {clean(line.decode(errors='replace'), _WIDE)}"]


def _result(entry: dict[str, Any]) -> list[str]:
    lines = [f"  {clean(str(entry['message']), _WIDE)}"] if "message" in entry else []
    names = [str(name) for name in entry.get("columns") or []]
    for row in entry.get("values") or []:
        cells = [
            f"{clean(name, _WIDE)}={'NULL' if value is None else clean(str(value), _WIDE)}"
            for name, value in zip(names, row if isinstance(row, list) else [], strict=False)
        ]
        lines.append(f"  {', '.join(cells)}")
    return lines + [f"  {clean(str(line), _WIDE)}" for line in entry.get("lines") or []]


def _altered(message: str, detail: str) -> Fault:
    hint = "Leave the bucket as it is and tell whoever is responsible for evidence."
    return Fault("evidence_altered", message, hint=hint, detail=detail)
