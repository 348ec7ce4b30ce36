"""What the bucket says afterwards: every recording, read without the agent's code and without the index."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from infra.local.cloud import EmbeddedCloud
from tests.fakes.chunks import text_of

_CHUNK = re.compile(r"recordings/.*_(?P<sid>ses_[0-9A-Z]{26})/(?P<n>\d{6})_\d{6}Z\.(?P<kind>ch\d+\.(?:cast|jsonl))\.zst")
_MARK = re.compile(r"mark-(\d+)-")
_OUT = re.compile(r"^out-(\d+)-", re.MULTILINE)


class Recorded(NamedTuple):
    """Numbers of commands and how often each was recorded as decided, as answered, and as over with all that is known of it."""

    decided: Counter[int]
    answered: Counter[int]
    over: Counter[int]
    sessions: set[str]
    broken: list[str]
    """Channels whose lines do not read as one recording from its first line on."""


def versions(cloud: EmbeddedCloud) -> dict[str, list[str]]:
    """Return the versions of every object under ``recordings/``, delete markers included."""
    found: dict[str, list[str]] = defaultdict(list)
    pages = cloud.boto("s3").get_paginator("list_object_versions").paginate(Bucket=cloud.resources.bucket, Prefix="recordings/")
    for page in pages:
        for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            found[each["Key"]].append(each["VersionId"])
    return dict(found)


def read(cloud: EmbeddedCloud) -> Recorded:
    """Read every chunk there is, in the order of its number."""
    channels: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    recorded = Recorded(Counter(), Counter(), Counter(), set(), [])
    for key in sorted(versions(cloud)):
        if match := _CHUNK.fullmatch(key):
            body = cloud.boto("s3").get_object(Bucket=cloud.resources.bucket, Key=key)["Body"].read()
            channels[match["sid"], match["kind"]].append(text_of(body))
            recorded.sessions.add(match["sid"])
    for (sid, kind), parts in channels.items():
        lines = [json.loads(line) for line in b"".join(parts).splitlines()]
        if not isinstance(lines[0], dict) or any(isinstance(line, dict) and "version" in line for line in lines[1:]):
            recorded.broken.append(f"{sid} {kind} begins with {str(lines[0])[:100]}")
            continue
        (_cast if kind.endswith("cast") else _transcript)(lines, recorded)
    return recorded


def _cast(lines: list[Any], recorded: Recorded) -> None:
    """An asciicast: one marker per command, and what was shown."""
    shown = ""
    for line in lines[1:]:
        if line[1] == "m" and line[2].startswith("allowed: "):
            recorded.decided.update(int(number) for number in _MARK.findall(line[2]))
        elif line[1] == "o":
            shown += line[2]
    recorded.answered.update(int(number) for number in _OUT.findall(shown))


def _transcript(lines: list[Any], recorded: Recorded) -> None:
    """A transcript: of SQL one line per statement, and what came back; beside a cast one line per command that is over."""
    for line in lines[1:]:
        if line.get("event") == "command":
            recorded.over.update(int(number) for number in _MARK.findall(line["text"]))
            continue
        recorded.decided.update(int(number) for number in _MARK.findall(line.get("text", "")))
        for row in line.get("values", []):
            recorded.answered.update(int(number) for number in _OUT.findall(str(row[0])))
