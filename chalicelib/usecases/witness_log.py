"""Agents as witnesses of the log: what they are shown, what they vouch for, and what they say if something contradicts.

Nothing here decides for them: an agent verifies every proof itself, from what it remembers. A control plane that was taken over
can keep an agent waiting, which makes it refuse sessions, and cannot make it vouch for another history.
"""

from __future__ import annotations

import hashlib
from typing import Final

from chalicelib.contracts import ids
from chalicelib.contracts.api import Cosign, Done, LogAsk, LogNews, LogPlace, WitnessAlarm
from chalicelib.contracts.audit import WitnessAlarmed, WitnessEnrolled
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, merkle, notes, signatures, tiles
from chalicelib.domain.log_batch import PREFIX
from chalicelib.domain.plain_text import one_line
from chalicelib.ports import Agent, Conflict, Ports
from chalicelib.usecases.append_events import reader
from chalicelib.usecases.locking import lock_for_good
from chalicelib.usecases.minting import mint
from chalicelib.usecases.raise_alert import raise_alert

EVENTS_LIMIT: Final = 100
_NOTE_LIMIT: Final = 8_000
_MESSAGE_LIMIT: Final = 500
_TEXT: Final = "text/plain; charset=utf-8"


def enrol_witness(ports: Ports, agent: Agent, text: str) -> None:
    """Remember the key that ``agent`` cosigns with. Raises Fault(bad_request)."""
    try:
        key = notes.read_key(text)
    except ValueError as error:
        raise Fault("bad_request", f"witness_key: {error}.") from None
    if key.kind != notes.COSIGNATURE or key.name != agent.name or len(key.public) != 32:
        raise Fault("bad_request", "witness_key must be a key of kind 4 (Ed25519 cosignatures) under the agent's own name.")
    event = WitnessEnrolled(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=f"agent:{agent.name}",
        agent_id=agent.agent_id,
        key=str(key),
        replaced=agent.witness_key,
    )
    try:
        ports.store.enrol_witness(agent.agent_id, str(key), event)
    except Conflict:
        raise Fault("agent_unknown", "Another agent has taken this one's name.", hint="Enrol it again.") from None


def show_log(ports: Ports, asked: LogAsk) -> LogNews:
    """Return the newest checkpoint with proofs. Raises Fault(too_large | bad_request), TileError if the log is broken."""
    if len(asked.events) > EVENTS_LIMIT:
        raise Fault("too_large", f"At most {EVENTS_LIMIT} events are asked for at once.")
    if not 0 <= asked.size <= merkle.SIZE_LIMIT or not all(ids.is_id(ids.EVENT, event) for event in asked.events):
        raise Fault("bad_request", "A size and identifiers of events are asked for.")
    found = ports.archive.read(f"{PREFIX}{checkpoints.NEWEST}")
    if found is None:
        return LogNews()
    stated, note = checkpoints.parse(found.body)
    tree = tiles.Tiles(reader(ports), stated.size)
    known = 0 < asked.size <= stated.size
    proof = merkle.consistency_proof(asked.size, stated.size, tree.node) if known else []
    places = {}
    for event in asked.events:
        index = ports.log.leaf(event)
        if index is not None and index < stated.size:
            hashes = merkle.inclusion_proof(index, stated.size, tree.node)
            places[event] = LogPlace(index=index, hashes=[each.hex() for each in hashes])
    return LogNews(checkpoint=str(note), consistency=[each.hex() for each in proof], places=places)


def cosign_checkpoint(ports: Ports, agent: Agent, asked: Cosign) -> Done:
    """Store an agent's cosignature beside the checkpoint; the same again does nothing. Raises Fault: bad_request, not_found."""
    if not agent.witness_key or not 0 < asked.size <= merkle.SIZE_LIMIT:
        raise Fault("bad_request", "This agent has not named a key that it cosigns with, or the size is none.")
    found = ports.archive.read(f"{PREFIX}{checkpoints.history_path(asked.size)}")
    if found is None:
        raise Fault("not_found", "There is no checkpoint of this size.")
    _, note = checkpoints.parse(found.body)
    key = notes.read_key(agent.witness_key)
    try:
        made = notes.Note(note.text, [notes.read_signature(asked.line)])
    except ValueError as error:
        raise Fault("bad_request", f"line: {error}.") from None
    if not checkpoints.witnesses(made, [key], signatures.check):
        raise Fault("bad_request", "The cosignature is not good for this checkpoint.")
    place = f"{PREFIX}{checkpoints.cosignature_path(asked.size, key.name)}"
    ports.archive.create(place, str(made).encode(), _TEXT, lock_for_good(ports))
    ports.store.agent_witnessed(agent.agent_id, asked.size, ports.clock.now_ms())
    return Done()


def raise_alarm(ports: Ports, agent: Agent, asked: WitnessAlarm) -> Done:
    """Put an agent's alarm on record and tell the administrators, once for each thing that was seen."""
    message = one_line(asked.message, _MESSAGE_LIMIT)
    event = WitnessAlarmed(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=f"agent:{agent.name}",
        agent_id=agent.agent_id,
        kind=asked.kind,
        message=message,
        kept=asked.kept[:_NOTE_LIMIT],
        shown=asked.shown[:_NOTE_LIMIT],
    )
    seen = hashlib.sha256(f"{asked.message}\0{asked.kept}\0{asked.shown}".encode()).hexdigest()
    text = f"Agent {agent.name} begins no session: {message}"
    raise_alert(ports, f"witness {agent.agent_id} {asked.kind} {seen}", event, text)
    ports.store.agent_alarmed(agent.agent_id, f"{asked.kind}: {message}")
    return Done()
