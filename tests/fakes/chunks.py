"""What a stored chunk says, as every reader has to read it: to the end of its last frame, not of its first."""

from __future__ import annotations

import zstandard


def text_of(body: bytes) -> bytes:
    """Return the lines of a chunk."""
    return zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()
