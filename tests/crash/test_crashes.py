"""kill -9 of a working agent, again and again, with torn logs and with the cloud away; nothing that ran is missing afterwards.

``SALLYPORT_CRASH_KILLS`` makes it longer, ``SALLYPORT_CRASH_SEED`` makes the same choices again (not the same timing: processes
are real).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chalicelib import bootstrap
from chalicelib.contracts.session import State
from chalicelib.contracts.tunnel import Limits
from chalicelib.usecases.trust import trust
from infra.local.cloud import Part
from tests.crash import recordings
from tests.crash.conftest import STALE_S, Ward, given_up
from tests.crash.people import Door, Numbers, Query, Shell, Worker

pytestmark = [pytest.mark.servers, pytest.mark.crash]

KILLS = int(os.environ.get("SALLYPORT_CRASH_KILLS", "50"))
SEED = int(os.environ.get("SALLYPORT_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
#: How long a life waits for its people to get in, which takes a busy machine longer, and then for them to get something done.
ENTRY_S = 30.0
PATIENCE_S = 2.0
#: Seconds per life. Where it takes longer, lives are not waited for, as long as people get something done in one life or another.
PACE_S = 1.3
#: How long people wait for an answer where nothing is in its way.
SOON_S = 20.0
#: Parts that go away together, whether answers or requests are lost, and how often.
WEATHER: list[tuple[tuple[Part, ...], bool]] = [
    (("api",), False),
    (("api",), True),
    (("s3",), False),
    (("s3",), True),
    (("api", "s3"), False),
]


class Weather:
    """The cloud's parts, away for a life or two at a time."""

    def __init__(self, ward: Ward, chance: random.Random) -> None:
        self._ward = ward
        self._chance = chance
        self._now = contextlib.ExitStack()
        self._lives = 0
        self.bad = ""

    def turn(self) -> None:
        """Decide about the next life."""
        self._lives -= 1
        if self._lives > 0:
            return
        self.clear()
        if self._chance.random() < 0.25:
            parts, mute = self._chance.choice(WEATHER)
            self._now.enter_context(self._ward.cloud.outage(*parts, mute=mute))
            self._lives = self._chance.randint(1, 2)
            self.bad = f"{'+'.join(parts)} {'mute' if mute else 'away'}"

    def clear(self) -> None:
        """Have everything back."""
        self._now.close()
        self.bad = ""


@pytest.mark.timeout(600 + 20 * KILLS)
def test_nothing_that_ran_is_missing_and_nothing_is_there_twice(ward: Ward, tmp_path: Path, sockets: Path) -> None:
    tell(f"SALLYPORT_CRASH_SEED={SEED} SALLYPORT_CRASH_KILLS={KILLS}")
    chance = random.Random(SEED)
    numbers = Numbers()
    door = ward.door()
    people = at_work(ward, numbers, door, sockets)
    kept = tmp_path / "kept"
    began = time.monotonic()
    try:
        kill_again_and_again(ward, numbers, chance, kept)
        stop(ward, people)
    finally:  # nobody goes on working where this test has failed
        for person in people:
            person.stopping.set()
    door.close()
    settle(ward)
    tell(f"{time.monotonic() - began:.1f} s; {len(numbers.acknowledged)} of {numbers.given} commands acknowledged")
    check_ledgers(ward, numbers)
    check_evidence(ward, tmp_path)
    check_a_second_recovery(ward, kept)


def kill_again_and_again(ward: Ward, numbers: Numbers, chance: random.Random, kept: Path) -> None:
    """Let so many agents live and die, in any weather; ``kept`` becomes what the spool was half-way."""
    sky = Weather(ward, chance)
    began = time.monotonic()
    for kill in range(KILLS):
        sky.turn()
        before = len(numbers.acknowledged)
        behind = time.monotonic() - began > PACE_S * (kill + 1) and before > 2 * kill
        live(chance, numbers, patient=not (sky.bad or behind))
        assert ward.stack.end_agent(signal.SIGKILL) == -signal.SIGKILL, ward.stack.log.read_text()[-3000:]
        damage = ward.stack.cut_power(chance) if chance.random() < 0.4 else []
        said = f"kill {kill + 1} at {time.monotonic() - began:.1f} s: {len(numbers.acknowledged) - before} acknowledged"
        tell("; ".join([said, *([sky.bad] if sky.bad else []), *damage]))
        if kill == KILLS // 2:
            shutil.copytree(ward.stack.state / "spool", kept)
        if chance.random() < 0.06:
            fall_silent(ward, sky)
        ward.stack.restart_agent()
    sky.clear()


def at_work(ward: Ward, numbers: Numbers, door: Door, folder: Path) -> list[Worker]:
    """Start everybody's clients."""
    place = ward.stack.listener()
    people: list[Worker] = [
        Shell(ward.alice, numbers, place, ward.ledger, folder / f"mux{number}", ward.errors) for number in range(2)
    ]
    people += [Query(ward.alice, numbers, door, number, ward.errors) for number in range(2)]
    for person in people:
        person.start()
    return people


def live(chance: random.Random, numbers: Numbers, *, patient: bool) -> None:
    """Return when this life is over: after some commands were answered and a moment more, or just after a moment."""
    if not patient or chance.random() < 0.25:
        time.sleep(chance.uniform(0.0, 1.2))
        return
    kind = chance.choice(["ssh", "psql"])
    if not numbers.wait_for(kind, 1, ENTRY_S):
        return
    numbers.wait_for(kind, chance.randint(1, {"ssh": 8, "psql": 40}[kind]), PATIENCE_S)
    time.sleep(chance.uniform(0.0, 0.03))


def fall_silent(ward: Ward, sky: Weather) -> None:
    """Stay away for so long that the control plane closes what the agent was recording."""
    sky.clear()
    with given_up(ward):
        time.sleep(STALE_S + 0.5)
        ward.cloud.pump.fire("reap")


def stop(ward: Ward, people: list[Worker]) -> None:
    """Have everybody go home. Whoever is connected through the relay may wait for as long as a tunnel does for its other side."""
    for person in people:
        person.stopping.set()
    for person in people:
        person.join(timeout=SOON_S)
        if person.is_alive():
            tell(f"{person.name} waits for an answer; {standing()}\n{ward.stack.log.read_text()[-3000:]}")
            person.join(timeout=Limits().patience)
        assert not person.is_alive(), (
            f"{person.name} still waits for an answer; {standing()}\n{ward.stack.log.read_text()[-5000:]}"
        )
        assert person.trouble is None, f"{person.name}: {person.trouble}"
        assert person.sessions, f"{person.name} never got in"


def standing() -> str:
    """Say which sessions are not over, and who is connected for them."""
    store = bootstrap.ports().store
    found = [f"{each.sid} {each.state} {each.path or 'no path'} {store.link(each.sid)}" for each in store.unfinished()]
    return f"open: {found}"


def settle(ward: Ward) -> None:
    """Have the last life deliver everything, and end; a life that has ended has."""
    store = bootstrap.ports().store
    over = {State.OFFERED, State.EXPIRED}

    def open_sessions() -> list[str]:
        return [f"{session.sid} {session.state}" for session in store.unfinished() if session.state not in over]

    until(lambda: not open_sessions() and not spooled(ward), lambda: f"open {open_sessions()}, in spool {spooled(ward)}", ward)
    # One that has only begun to start ends by the signal itself: everything was delivered before its handler was there.
    assert ward.stack.end_agent(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert not spooled(ward)
    assert not (ward.stack.state / "refused").exists(), "the control plane refused what the agent held"
    until(lambda: not ward.cloud.pump.behind(), lambda: "the stream is not followed to its end", ward)


def spooled(ward: Ward) -> list[str]:
    """Sessions that wait in the spool."""
    return sorted(path.name for path in (ward.stack.state / "spool").iterdir() if path.name.startswith("ses_"))


def check_ledgers(ward: Ward, numbers: Numbers) -> None:
    recorded, ran = recordings.read(ward.cloud), ward.ran()
    assert len(numbers.acknowledged) > KILLS, "too little was going on for this test to mean anything"
    assert set(numbers.acknowledged) <= ran, "a person saw the answer to a command that did not run"
    assert recorded.broken == []
    missing = sorted(ran - set(recorded.decided))
    assert not missing, f"{len(missing)} commands ran and are in no recording: {missing[:20]}"
    twice = {number: times for number, times in (recorded.decided + recorded.answered).items() if times > 2}
    assert not twice, f"commands that are recorded more than once: {twice}"
    assert max(recorded.decided.values()) == max(recorded.answered.values()) == max(recorded.over.values()) == 1
    assert set(recorded.over) <= set(recorded.decided)
    tell(f"{len(ran)} ran, {len(recorded.decided)} are recorded in {len(recorded.sessions)} sessions")


def check_evidence(ward: Ward, folder: Path) -> None:
    keys = folder / "gateway.keys"
    keys.write_text(trust(bootstrap.ports()).log_key + "\n")
    environment = ward.alice.environment | ward.cloud.environment
    ward.alice.environment = environment
    run = ward.alice.run(
        ["sallyport", "verify", "--all", "--from", f"s3://{ward.cloud.resources.bucket}", "--keys", str(keys), "--json"]
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    report = json.loads(run.stdout)
    tell(
        f"verified: {report['sessions']} sessions, {report['chunks']} chunks, {report['proved']['manifest_signature']} manifests"
    )


def check_a_second_recovery(ward: Ward, kept: Path) -> None:
    """Neither an agent that has nothing left nor one whose disk was put back to an earlier day stores anything."""
    before = recordings.versions(ward.cloud)
    for spool in (None, kept):
        if spool is not None:
            shutil.rmtree(ward.stack.state / "spool")
            shutil.copytree(spool, ward.stack.state / "spool")
        ward.stack.restart_agent()
        ward.stack.until_online(ward.stack.person("pat"))
        until(lambda: not spooled(ward), lambda: f"in spool {spooled(ward)}", ward)
        assert ward.stack.end_agent(signal.SIGTERM) == 0
        assert recordings.versions(ward.cloud) == before


def until(condition: Callable[[], bool], what: Callable[[], str], ward: Ward, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what()}\n{ward.stack.log.read_text()[-5000:]}"
        time.sleep(0.05)


def tell(line: str) -> None:
    """Say what happens; pytest shows it where the test fails, and with ``-s``."""
    sys.stdout.write(line + "\n")
