"""Where words of ours may stand in a terminal's output: between two characters and outside of every control sequence.

A program's output is cut into reads wherever the network cut it. A line that is put into the middle of a control sequence would
be swallowed by it, or change what it does; one in the middle of a character would break it. Pure; looks at the last bytes.
"""

from __future__ import annotations

from typing import Final

_ESCAPE: Final = 0x1B
#: How far back a sequence is looked for. Longer ones are strings (titles, images), which end with BEL or ST.
FAR: Final = 4096
_CSI_FINAL: Final = range(0x40, 0x7F)
#: ESC and one of these opens a string: DCS, SOS, OSC, PM, APC (ECMA-48, §5.6).
_STRINGS: Final = b"PX]^_"
_INTERMEDIATE: Final = range(0x20, 0x30)


def ends_whole(data: bytes) -> bool:
    """Tell whether ``data`` ends neither inside a UTF-8 character nor inside a control sequence (ECMA-48)."""
    return not _in_character(data) and not _in_sequence(data[-FAR:])


def _in_character(data: bytes) -> bool:
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return False
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False


def _in_sequence(data: bytes) -> bool:
    start = data.rfind(_ESCAPE)
    if start < 0:
        return False
    after = data[start + 1 :]
    if not after:
        return True
    if after[:1] == b"\\":  # ST: the end of a string that began before
        return False
    if after[0] in _STRINGS:
        return b"\x07" not in after
    if after[:1] == b"[":
        return not any(byte in _CSI_FINAL for byte in after[1:])
    return all(byte in _INTERMEDIATE for byte in after)
