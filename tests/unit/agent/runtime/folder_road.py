"""A control plane and a store in a directory: enough for the uploader, and it outlives the process that used it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from chalicelib.contracts import recording
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault
from tests.fakes.chunks import text_of


class FolderRoad:
    """Registers chunks in ``registered.jsonl`` and puts bodies beside it. Refuses whatever the control plane would refuse."""

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root
        self.seed = seed
        self.answers: list[Fault | None] = []
        """What the next puts meet; None is success."""

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        known, chunk = self.chunks(), upload.chunk
        if chunk not in known:
            head = known[-1].chain if known else self.seed
            if chunk.n != len(known) or recording.link(head, chunk.n, chunk.time_ms, chunk.sha256) != chunk.chain:
                raise Fault("chunk_conflict", "The chunk does not follow the last one.")
            with (self.root / "registered.jsonl").open("ab") as file:
                file.write(msgspec.json.encode(chunk) + b"\n")
        return ChunkTicket(url=str(chunk.n), headers={"sha256": chunk.sha256}, expires_ms=0)

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        path = self.root / f"{ticket.url}.zst"
        assert not path.exists() or path.read_bytes() == body, "the same chunk with other bytes"
        path.with_suffix(".tmp").write_bytes(body)
        path.with_suffix(".tmp").rename(path)

    def chunks(self) -> list[recording.Chunk]:
        """What was registered. A process that was killed while it wrote leaves half a line, which never was."""
        try:
            lines = (self.root / "registered.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [msgspec.convert(json.loads(line), recording.Chunk) for line in lines]

    def lines(self, kind: str) -> list[str]:
        """All stored lines of one kind, in order."""
        found: list[str] = []
        for chunk in self.chunks():
            if chunk.kind == kind:
                body = (self.root / f"{chunk.n}.zst").read_bytes()
                found += text_of(body).decode().splitlines()
        return found
