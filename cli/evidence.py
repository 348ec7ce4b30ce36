"""A session's recording, downloaded and proved before anybody sees a line of it.

Proved means: the chunks are numbered without gaps; their hash chain leads from the session's name and its agent's key to the head
that the control plane holds; and every byte that the bucket returned has the hash that the agent registered. One that differs is
told as such and nothing is shown (exit status 7). Chunks that a live or interrupted session has registered but not delivered are
not an alteration: they are named, and what is there is shown.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

from chalicelib.contracts import api, originals, recording
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
        """Return the channels' kinds (``ch01.cast``) in the order in which they began; not that of sealed originals."""
        return [kind for kind in dict.fromkeys(span.chunk.kind for span in self._spans) if kind != originals.KIND]

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


#: Returns the page of links that begins at a chunk's number.
More = Callable[[int], api.RecordingLinks]


class _Walk:
    """The chain, from page to page."""

    def __init__(self, page: api.RecordingLinks) -> None:
        self.sid = page.session.sid
        self.count = 0
        self.head = page.chain_seed
        # The start is computed and not believed: it says which session this is, and whose key recorded it.
        if not page.agent_key:
            raise _altered("The gateway does not say which agent recorded this session.")
        if page.chain_seed != recording.seed(page.session.sid, _raw_key(page.agent_key)):
            raise _altered("The start of the hash chain is not that of this session and its agent.")

    def check(self, page: api.RecordingLinks) -> list[Chunk]:
        """Return the chunks of the next page, whose shape, numbers and chain are right. Raises Fault(evidence_altered)."""
        chunks = [stored.chunk for stored in page.chunks]
        if page.session.sid != self.sid:
            raise _altered(f"The gateway sent the recording of another session: {page.session.sid}.")
        if len(page.urls) != len(chunks):
            raise _altered("The listing has not one link for every chunk.")
        for n, chunk in enumerate(chunks, self.count):
            if (wrong := recording.problem(chunk)) is not None:
                raise _altered(f"The listing's entry {n} is not a chunk: {wrong}.")
            if chunk.n != n:
                raise _altered(f"Chunk {n} is missing from the listing; chunk {chunk.n} stands in its place.")
            self.head = recording.link(self.head, chunk.n, chunk.time_ms, chunk.sha256)
            if self.head != chunk.chain:
                raise _altered(f"The hash chain breaks at chunk {n}: it, or one before it, was changed, dropped or swapped.")
        self.count += len(chunks)
        if page.next and (page.next != self.count or not chunks):
            raise _altered(f"The listing goes on at chunk {page.next}, where chunk {self.count} is next.")
        if not page.next:
            self._end(page.session)
        return chunks

    def _end(self, session: Session) -> None:
        # A live session goes on between the two reads behind the listing.
        if session.state is not State.LIVE and (session.chunks != self.count or (session.chain or self.head) != self.head):
            words = f"The session holds {session.chunks} chunks and another chain head than the {self.count} chunks listed."
            raise _altered(words)


def _raw_key(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _no_more(first: int) -> api.RecordingLinks:
    raise _altered(f"The listing ends before chunk {first}.")


def gather(page: api.RecordingLinks, more: More = _no_more) -> Evidence:
    """Download and verify every chunk, page by page: links live for minutes, and a recording may be of any length.

    Raises Fault(not_found | evidence_altered | control_plane_unreachable).
    """
    walk = _Walk(page)
    evidence = Evidence(page.session)
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while True:
                evidence.session = page.session
                chunks = walk.check(page)
                if chunks:
                    _download(page, chunks, evidence, pool)
                if not page.next:
                    break
                page = more(page.next)
        if not walk.count:
            raise Fault("not_found", f"Nothing is recorded of session {page.session.sid} ({page.session.state}).")
        if not evidence.count:
            raise Fault("not_found", "Nothing of this session's recording has been delivered yet.", hint="Try again in a moment.")
    except BaseException:
        evidence.__exit__(None, None, None)
        raise
    return evidence


def _download(page: api.RecordingLinks, chunks: list[Chunk], evidence: Evidence, pool: ThreadPoolExecutor) -> None:
    fetch = _Fetcher(page.urls[0])
    may_lack = page.session.state in (State.LIVE, State.INTERRUPTED)
    with Progress(f"Verifying {counted(len(chunks), 'chunk')}", sum(chunk.size for chunk in chunks)) as progress:
        for start in range(0, len(chunks), _WINDOW):
            window = chunks[start : start + _WINDOW]
            for chunk, body in zip(window, pool.map(fetch.body, window, page.urls[start : start + _WINDOW]), strict=True):
                if body is None and may_lack:
                    evidence.missing += 1
                elif body is None or evidence.missing:
                    raise _altered(f"Chunk {chunk.n - evidence.missing} was recorded but is missing from the bucket.")
                else:
                    _verify(chunk, body)
                    evidence.add(chunk, body)
                progress.advance(chunk.size)


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
