"""A session's recording, downloaded and proved before anybody sees a line of it.

Proved means: the chunks are numbered without gaps, their hash chain leads from the session's seed to the head that the control
plane holds, and every byte that the bucket returned has the hash that the agent registered. One that differs is told as such
and nothing is shown (exit status 7). Chunks that a live or interrupted session has registered but not delivered are not an
alteration: they are named, and what is there is shown.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

from chalicelib.contracts import api, recording
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.recording import Chunk
from chalicelib.contracts.session import Session, State
from cli.control_plane import bounded, checked_url, connection_pool, unreachable
from cli.plain import counted
from cli.progress import Progress

_AT_ONCE: Final = 4
_WINDOW: Final = 16
_ATTEMPTS: Final = 3
#: The most text that one chunk may hold; agents cut at 256 KB, so only a bomb comes near.
_TEXT_LIMIT: Final = 64 * 1024 * 1024
_DECODER_WINDOW: Final = 32 * 1024 * 1024
_ALTERED_HINT: Final = "Leave the bucket as it is and tell whoever is responsible for evidence."


class _Span(NamedTuple):
    """Where one chunk lies in the local file."""

    chunk: Chunk
    offset: int


class Evidence:
    """A verified recording in a file that has no name and ends with this process. Use as a context manager."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.missing = 0
        """How many chunks at the end have not been delivered (only ever in a live or interrupted session)."""
        self.head = ""
        """Hex head of the verified chain."""
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by this object's own __exit__
        self._spans: list[_Span] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def count(self) -> int:
        """How many chunks were verified."""
        return len(self._spans)

    def add(self, chunk: Chunk, body: bytes) -> None:
        """Keep a verified chunk."""
        self._spans.append(_Span(chunk, self._file.tell()))
        self._file.write(body)
        self.head = chunk.chain

    def kinds(self) -> list[str]:
        """Return the channels' kinds (``ch01.cast``) in the order in which they began."""
        return list(dict.fromkeys(span.chunk.kind for span in self._spans))

    def size(self, kind: str) -> int:
        """Return the stored bytes of a channel."""
        return sum(span.chunk.size for span in self._spans if span.chunk.kind == kind)

    def began_ms(self, kind: str) -> int:
        """Return the time of a channel's first line in Unix milliseconds."""
        return next(span.chunk.time_ms for span in self._spans if span.chunk.kind == kind)

    def lines(self, kind: str) -> Iterator[bytes]:
        """Yield a channel's lines, with their newlines. Raises Fault(recording_failed) for a chunk that is not zstd text."""
        import zstandard

        decoder = zstandard.ZstdDecompressor(max_window_size=_DECODER_WINDOW)
        for span in self._spans:
            if span.chunk.kind != kind:
                continue
            self._file.seek(span.offset)
            body = self._file.read(span.chunk.size)
            # Frames after the first one would otherwise be skipped in silence.
            reader = io.BufferedReader(_Raw(decoder.stream_reader(body, read_across_frames=True)))
            try:
                yield from _limited(reader, span.chunk.n)
            except zstandard.ZstdError:
                raise Fault("recording_failed", f"Chunk {span.chunk.n} is as it was recorded, but is not a zstd frame.") from None


class _Raw(io.RawIOBase):
    """What ``io.BufferedReader`` wants to read from."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _limited(reader: IO[bytes], n: int) -> Iterator[bytes]:
    left = _TEXT_LIMIT
    while line := reader.readline(left + 1):
        left -= len(line)
        if left < 0:
            raise Fault("recording_failed", f"Chunk {n} holds more than {_TEXT_LIMIT} bytes of text.")
        yield line


def check(links: api.RecordingLinks) -> list[Chunk]:
    """Return the chunks of a listing whose shape, numbers and chain are right. Raises Fault(evidence_altered)."""
    chunks = [stored.chunk for stored in links.chunks]
    if len(links.urls) != len(chunks):
        raise _altered("The listing has not one link for every chunk.")
    head = links.chain_seed
    for n, chunk in enumerate(chunks):
        if (wrong := recording.problem(chunk)) is not None:
            raise _altered(f"The listing's entry {n} is not a chunk: {wrong}.")
        if chunk.n != n:
            raise _altered(f"Chunk {n} is missing from the listing; chunk {chunk.n} stands in its place.")
        try:
            head = recording.link(head, chunk.n, chunk.time_ms, chunk.sha256)
        except ValueError:
            raise _altered("The start of the hash chain is not a hash.") from None
        if head != chunk.chain:
            raise _altered(f"The hash chain breaks at chunk {n}: it, or one before it, was changed, dropped or swapped.")
    session = links.session
    # A live session goes on between the two reads behind the listing.
    if session.state is not State.LIVE and (session.chunks != len(chunks) or (session.chain or head) != head):
        raise _altered(f"The session holds {session.chunks} chunks and another chain head than the {len(chunks)} chunks listed.")
    return chunks


def gather(links: api.RecordingLinks) -> Evidence:
    """Download and verify every chunk. Raises Fault(not_found | evidence_altered | control_plane_unreachable)."""
    chunks = check(links)
    if not chunks:
        raise Fault("not_found", f"Nothing is recorded of session {links.session.sid} ({links.session.state}).")
    evidence = Evidence(links.session)
    try:
        _download(links, chunks, evidence)
    except BaseException:
        evidence.__exit__(None, None, None)
        raise
    return evidence


def _download(links: api.RecordingLinks, chunks: list[Chunk], evidence: Evidence) -> None:
    fetch = _Fetcher(links.urls[0])
    may_lack = links.session.state in (State.LIVE, State.INTERRUPTED)
    with (
        Progress(f"Verifying {counted(len(chunks), 'chunk')}", sum(chunk.size for chunk in chunks)) as progress,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        for start in range(0, len(chunks), _WINDOW):
            window = chunks[start : start + _WINDOW]
            for chunk, body in zip(window, pool.map(fetch.body, window, links.urls[start : start + _WINDOW]), strict=True):
                if body is None and may_lack:
                    evidence.missing += 1
                elif body is None or evidence.missing:
                    raise _altered(f"Chunk {chunk.n - evidence.missing} was recorded but is missing from the bucket.")
                else:
                    _verify(chunk, body)
                    evidence.add(chunk, body)
                progress.advance(chunk.size)
    if not evidence.count:
        raise Fault("not_found", "Nothing of this session's recording has been delivered yet.", hint="Try again in a moment.")


def _verify(chunk: Chunk, body: bytes) -> None:
    if len(body) != chunk.size or hashlib.sha256(body).hexdigest() != chunk.sha256:
        raise _altered(f"Chunk {chunk.n} is not what was recorded: its hash differs.")


class _Fetcher:
    """Downloads chunks from presigned links. No token goes there, and no redirect is followed."""

    def __init__(self, first: str) -> None:
        self._pool = connection_pool(first, connections=_AT_ONCE)

    def body(self, chunk: Chunk, url: str) -> bytes | None:
        """Return a chunk's bytes, at most one more than it should have, or None if the bucket has no such object."""
        import urllib3

        checked_url(url.partition("?")[0], "A chunk's link")
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._once(chunk, url)
            except urllib3.exceptions.HTTPError as error:
                if attempt == _ATTEMPTS:
                    raise unreachable(url.partition("?")[0], error) from None
        raise AssertionError("unreachable")

    def _once(self, chunk: Chunk, url: str) -> bytes | None:
        response = self._pool.request("GET", url, redirect=False, preload_content=False, decode_content=False)
        try:
            if response.status == 200:
                return response.read(chunk.size + 1)
            said = bounded(response, 64 * 1024, "reply")
        finally:
            response.release_conn()
        # Without permission to list the bucket, S3 says AccessDenied where it means that there is no such object.
        if response.status == 404 or (response.status == 403 and b"expired" not in said.lower()):
            return None
        hint = "Links live for a short while only; try again."
        raise Fault("control_plane_unreachable", f"Chunk {chunk.n} could not be downloaded (HTTP {response.status}).", hint=hint)


def _altered(message: str) -> Fault:
    return Fault("evidence_altered", message, hint=_ALTERED_HINT)
