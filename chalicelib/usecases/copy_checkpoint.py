"""Every few minutes: the newest checkpoint into a second bucket, which belongs to somebody else.

Cutting the log *and* deleting what it speaks of leaves nothing in the evidence bucket that contradicts. A copy that the evidence
bucket's owner cannot take back does, for as long as Object Lock keeps it: COMPLIANCE, whatever the deployment says of recordings.
"""

from __future__ import annotations

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit import EvidenceAlert
from chalicelib.contracts.retention import COMPLIANCE, lock
from chalicelib.contracts.translog import checkpoints
from chalicelib.domain.log_batch import PREFIX
from chalicelib.ports import Ports
from chalicelib.usecases.minting import mint
from chalicelib.usecases.raise_alert import raise_alert


def copy_checkpoint(ports: Ports) -> int:
    """Copy the newest checkpoint if it is not there yet; return its size, 0 where nothing was copied.

    A copy of another tree of the same size raises an alert: somebody wrote history anew, or writes into the second bucket.
    """
    found = ports.archive.read(f"{PREFIX}{checkpoints.NEWEST}") if ports.second else None
    if ports.second is None or found is None:
        return 0
    stated, note = checkpoints.parse(found.body)
    key = checkpoints.copy_path(stated.origin, stated.size)
    firm = msgspec.structs.replace(ports.settings.keeping.longest, mode=COMPLIANCE)
    if ports.second.create(key, found.body, "text/plain; charset=utf-8", lock(firm, ports.clock.now_ms())):
        return stated.size
    there = ports.second.read(key)
    # A checkpoint may have been signed twice, and both are genuine; what it states may not differ.
    if there is None or not there.body.startswith(note.text.encode()):
        event = EvidenceAlert(
            id=mint(ports.clock, ids.EVENT),
            time_ms=ports.clock.now_ms(),
            actor="system",
            sid="",
            what="rewritten",
            key=key,
            version="",
            first="",
            found_by="second bucket",
        )
        raise_alert(ports, f"second {key}", event, f"{key} of the second bucket states another tree than the log does now.")
    return 0
