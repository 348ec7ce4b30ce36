from __future__ import annotations

from typing import Any

import msgspec

from cli.cast import TranscriptReader
from cli.transcript_lines import lines
from tests.unit.cli.conftest import NOW_MS
from tests.unit.cli.readable import only_read


def shown(*entries: dict[str, Any]) -> list[str]:
    heading = {"format": "sallyport-transcript", "protocol": "sftp", "opened_ms": NOW_MS}
    return list(lines(TranscriptReader([msgspec.json.encode(each) for each in (heading, *entries)])))


def test_operations_remarks_and_the_end() -> None:
    assert shown(
        {
            "t": 1000,
            "event": "operation",
            "kind": "sftp.write",
            "text": "put /srv/a",
            "verdict": "allowed",
            "digest": "x",
            "rules": ["r"],
        },
        {
            "t": 2000,
            "event": "operation",
            "kind": "sftp.remove",
            "text": "remove /srv",
            "verdict": "denied",
            "code": "denied",
            "message": "No.",
        },
        {"t": 3000, "event": "closed", "path": "/srv/a", "bytes": 12, "empty": ""},
        {"t": 4000, "event": "exit", "status": 0},
    ) == [
        "2026-11-20 10:03:01  allowed   put /srv/a",
        "2026-11-20 10:03:02  denied    remove /srv  code=denied  message=No.",
        "2026-11-20 10:03:03  closed    path=/srv/a  bytes=12",
        "2026-11-20 10:03:04  exit status 0",
    ]


def test_lines_of_a_shell_and_forwarded_ports() -> None:
    assert shown(
        {
            "t": 0,
            "event": "command",
            "text": "make",
            "digest": "x",
            "cwd": "/srv",
            "exit": 2,
            "duration_ms": 200_000,
            "cast": [1, 2],
            "verdict": "allowed",
            "rules": ["rule-1"],
            "policy": 3,
            "request": "req_1",
            "approvers": ["carol@example.com"],
        },
        {
            "t": 0,
            "event": "denied",
            "text": "rm x",
            "digest": "x",
            "cwd": "/srv",
            "exit": None,
            "duration_ms": 0,
            "cast": [1, 2],
            "verdict": "denied",
            "rules": ["rule-2"],
            "policy": 3,
            "code": "denied",
            "message": "Not that.",
        },
        {"t": 0, "event": "command", "text": "vi", "cwd": "/srv", "exit": None, "duration_ms": 14, "depth": 1, "account": "root"},
        {"t": 0, "event": "forward.closed", "text": "direct-tcpip db:5432", "sent": 4711, "looks_like": "", "duration_ms": 1000},
    ) == [
        '2026-11-20 10:03:00  exit 2    make  cwd=/srv  took 3 min 20 s  request=req_1  approvers=["carol@example.com"]',
        "2026-11-20 10:03:00  denied    rm x  cwd=/srv  code=denied  message=Not that.",
        "2026-11-20 10:03:00  exit ?    vi  cwd=/srv  took 14 ms  depth=1  account=root",
        "2026-11-20 10:03:00  forward.closed  direct-tcpip db:5432  sent=4711  took 1 s",
    ]


def test_hostile_entries_can_only_be_read() -> None:
    for line in shown(
        {"event": "command", "exit": "\x1b[2J", "duration_ms": 1 << 70},
        {"event": "command", "duration_ms": -(1 << 70)},
        {"event": "command", "duration_ms": True},
        {"t": "x", "event": "\x1b[2J", "kind": ["\u202e"], "text": {"a": "\x07"}, "verdict": 7},
        {"t": 1 << 60, "event": "shown", "text": "a\n\x1b]52;c;x\x07b"},
        {"t": -(1 << 60)},
        {},
    ):
        assert only_read(line)
