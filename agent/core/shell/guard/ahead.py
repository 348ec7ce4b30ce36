"""Whether what a shell says was typed ahead had been typed to it.

The terminal stands between: it turns carriage returns into line feeds, takes keys that mean something to it, and edits a
line that nobody reads yet.
"""

from __future__ import annotations

from typing import Final

_ENTER: Final = b"\n\x0f"
#: Flow control, the next key as it is, the end of a file, and what shells drop.
_TAKEN: Final = b"\x00\x04\x11\x13\x16"
_ERASE, _WORD, _LINE = b"\x7f\x08", 0x17, 0x15


def ahead(sent: bytes | bytearray, keys: bytes) -> bool:
    """Return True where ``keys`` are the last of ``sent``, and stand behind the Enter that ended the line asked about."""
    if not keys:
        return True
    plain, said = _plain(sent), _plain(keys)
    entered = min((at for at in (plain.find(key) for key in _ENTER) if at >= 0), default=-1)
    typed = plain[entered + 1 :] if entered >= 0 else b""
    return typed.endswith(said) or _edited(typed).endswith(said)


def _plain(keys: bytes | bytearray) -> bytes:
    return bytes(keys).replace(b"\r", b"\n").translate(None, _TAKEN)


def _edited(keys: bytes) -> bytes:
    """The text as the terminal leaves it where it edits lines itself."""
    done = bytearray()
    for key in keys:
        line = done.rfind(b"\n") + 1
        if key in _ERASE:
            while len(done) > line and done.pop() & 0xC0 == 0x80:
                pass
        elif key == _LINE:
            del done[line:]
        elif key == _WORD:
            del done[line + done[line:].rstrip(b" \t").rfind(b" ") + 1 :]
        else:
            done.append(key)
    return bytes(done)
