"""Sealed originals through the whole gateway: recorded by stock psql and ssh, opened by an auditor to whom somebody agrees."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import zstandard

from chalicelib.contracts.originals import month_of
from chalicelib.usecases import request_originals
from infra.demo.stack import Person
from tests.e2e import seen
from tests.e2e.conftest import World
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def carol(world: World) -> Person:
    carol = world.stack.person("carol")
    assert carol.login(world.stack.url).returncode == 0
    return carol


@pytest.fixture(scope="module")
def pat(world: World) -> Person:
    pat = world.stack.person("pat")
    assert pat.login(world.stack.url).returncode == 0
    return pat


def ended(world: World, target: str) -> dict[str, Any]:
    """Alice's newest session on ``target``, once it is over."""

    def newest() -> dict[str, Any] | None:
        found = next(iter(seen.sessions(world.alice, target=target)), None)
        return found if found and found["state"] == "ended" else None

    session: dict[str, Any] = until(newest, f"a session on {target} ends")
    return session


def files(world: World, sid: str) -> dict[str, bytes]:
    return {key: world.stack.stored(key) for key, _ in world.stack.recordings() if sid in key}


def text(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()


class Asked:
    """An ``unmask`` of carol's that waits for somebody."""

    def __init__(self, carol: Person, pat: Person, sid: str, *words: str) -> None:
        self.pat = pat
        self.process = subprocess.Popen(
            carol.command(["sallyport", "unmask", sid, "--reason", "case 12: which card", *words]),
            env=carol.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def waiting() -> dict[str, Any] | None:
            return next((each for each in seen.inbox(pat) if each["kind"] == "unmask" and each["sid"] == sid), None)

        self.request: dict[str, Any] = until(waiting, "it is asked")

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=HANG_S)
        return self.process.returncode, out, err


def test_a_result_is_masked_for_everybody_and_opened_for_one(world: World, carol: Person, pat: Person) -> None:
    statement = f"select name, card from customers where card = '{CARD}'"
    shown = subprocess.run(
        world.alice.command(["sallyport", "connect", "sealed-db", "--", "psql", "-XAt", "-c", statement]),
        env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert shown.returncode == 0, shown.stderr
    assert "Ada" in shown.stdout
    assert CARD not in shown.stdout
    sid = ended(world, "sealed-db")["sid"]
    recorded = files(world, sid)
    assert any(".ch00.sealed.zst" in key for key in recorded)
    for key, body in recorded.items():
        assert CARD.encode() not in (text(body) if key.endswith(".zst") else body), key
    assert CARD not in carol.run(["sallyport", "replay", sid]).stdout
    assert CARD.encode() not in (world.stack.folder / "agent.log").read_bytes()

    asked = Asked(carol, pat, sid)
    assert (asked.request["principal"], asked.request["reason"]) == ("carol@example.com", "case 12: which card")
    assert asked.process.poll() is None
    own = carol.run(["sallyport", "approve", asked.request["rid"], "--yes"])
    assert own.returncode != 0
    assert pat.run(["sallyport", "approve", asked.request["rid"], "--yes"]).returncode == 0
    status, out, err = asked.ended()
    assert status == 0, err
    assert f"  {statement}" in out
    assert f"name=Ada, card={CARD}" in out
    assert "as before masking" in err

    again = carol.run(["sallyport", "unmask", sid, "--request", asked.request["rid"]])
    assert (again.returncode, again.stdout) == (126, "")
    assert "approval_used" in again.stderr
    refused = world.alice.run(["sallyport", "unmask", sid, "--reason", "it is my own session"])
    assert (refused.returncode, refused.stdout) == (126, "")


def test_bytes_that_a_cast_cannot_hold_are_kept_for_ssh(world: World, carol: Person, pat: Person, scratch: Path) -> None:
    ran = subprocess.run(
        world.alice.command(["ssh", "sealed-web", "printf 'before\\n'; printf 'PK\\000\\001\\377'"]),
        env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=HANG_S,
    )
    assert ran.stdout.endswith(b"PK\0\1\377"), ran.stderr
    sid = ended(world, "sealed-web")["sid"]
    file = scratch / "originals.jsonl"
    asked = Asked(carol, pat, sid, "--output", str(file))
    assert pat.run(["sallyport", "approve", asked.request["rid"], "--yes"]).returncode == 0
    status, out, err = asked.ended()
    assert status == 0, err
    assert file.stat().st_mode & 0o777 == 0o600
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert {each["event"] for each in kept} == {"output"}
    import base64

    whole = b"".join(base64.b64decode(each["base64"]) if "base64" in each else each["text"].encode() for each in kept)
    assert whole.endswith(b"PK\0\1\377")
    assert "PK\0" not in out


def test_what_ssh_masks_is_kept_and_nowhere_else(world: World, carol: Person, pat: Person, scratch: Path) -> None:
    ran = subprocess.run(
        world.alice.command(["ssh", "sealed-web", f"echo 'paid with {CARD}'; exit 3"]),
        env=world.alice.environment | {"SALLYPORT_WAY": "relay"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert (ran.returncode, ran.stdout) == (3, "paid with **** **** **** 1111\n"), ran.stderr
    sid = ended(world, "sealed-web")["sid"]
    for key, body in files(world, sid).items():
        assert CARD.encode() not in (text(body) if key.endswith(".zst") else body), key
    replayed = carol.run(["sallyport", "replay", sid, "--text"]).stdout
    assert "paid with **** **** **** 1111" in replayed
    assert CARD not in replayed
    assert CARD.encode() not in (world.stack.folder / "agent.log").read_bytes()
    file = scratch / "masked.jsonl"
    asked = Asked(carol, pat, sid, "--output", str(file))
    assert pat.run(["sallyport", "approve", asked.request["rid"], "--yes"]).returncode == 0
    status, _, err = asked.ended()
    assert status == 0, err
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["text"] for each in kept if each["event"] == "operation"] == [f"echo 'paid with {CARD}'; exit 3"]
    assert "".join(each["text"] for each in kept if each["event"] == "output") == f"paid with {CARD}\n"


def test_every_proof_covers_what_is_sealed(world: World, carol: Person, scratch: Path) -> None:
    words = ["sallyport", "connect", "sealed-db", "--", "psql", "-XAt", "-c", f"select '{CARD}'"]
    done = world.alice.run(words)
    assert done.returncode == 0, done.stderr
    sid = ended(world, "sealed-db")["sid"]
    until(lambda: any(key.endswith("session.tlog-proof") for key in files(world, sid)), "the log proves the session")
    for key, body in files(world, sid).items():
        (scratch / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (scratch / "copy" / key).write_bytes(body)
    with urllib.request.urlopen(f"{world.stack.url}/trust") as answer:
        (scratch / "keys").write_text(json.load(answer)["log_key"])
    verified = carol.run(["sallyport", "verify", sid, "--from", str(scratch / "copy"), "--keys", str(scratch / "keys")])
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "sealed originals: " in verified.stdout


def test_what_was_erased_is_proved_and_cannot_be_opened(
    world: World, carol: Person, pat: Person, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sallyport", "connect", "erased-db", "--", "psql", "-XAt", "-c", f"select '{CARD}'"]
    done = world.alice.run(words)
    assert done.returncode == 0, done.stderr
    session = ended(world, "erased-db")
    sid, month = session["sid"], month_of(session["opened_ms"])
    before = Asked(carol, pat, sid)
    assert pat.run(["sallyport", "approve", before.request["rid"], "--yes"]).returncode == 0
    status, out, err = before.ended()
    assert (status, CARD in out) == (0, True), err
    recorded = files(world, sid)
    assert any(".ch00.sealed.zst" in key for key in recorded)
    # A yes that was given before, and not used.
    asked = carol.run(["sallyport", "unmask", sid, "--reason", "case 13", "--no-wait", "--json"])
    unused = json.loads(asked.stdout)["request"]["rid"]
    assert pat.run(["sallyport", "approve", unused, "--yes"]).returncode == 0

    erase = ["sallyport", "erase-originals", "erased-db", month, "--yes"]
    early = carol.run([*erase, "--reason", "90 days", "--no-wait"])
    assert early.returncode != 0
    assert f"{month} is not over" in early.stderr
    with monkeypatch.context() as later:
        # The only thing here that is not real: that the month in which this test runs is over.
        later.setattr(request_originals, "month_of", lambda ms: "9999-12")
        asked = carol.run([*erase, "--reason", "90 days", "--no-wait", "--json"])
    assert asked.returncode == 0, asked.stderr
    rid = json.loads(asked.stdout)["request"]["rid"]
    assert carol.run([*erase, "--request", rid]).returncode != 0, "nobody has agreed yet"
    assert carol.run(["sallyport", "approve", rid, "--yes"]).returncode != 0, "one's own request"
    assert pat.run(["sallyport", "approve", rid, "--yes"]).returncode == 0
    erased = carol.run([*erase, "--request", rid])
    assert erased.returncode == 0, erased.stderr
    assert f"erased erased-db {month}" in erased.stdout

    for words in (["--request", unused], ["--reason", "case 14"]):
        refused = carol.run(["sallyport", "unmask", sid, *words])
        assert (refused.returncode, refused.stdout) == (6, "")
        assert "nobody can read them any more" in refused.stderr
    assert CARD not in carol.run(["sallyport", "replay", sid]).stdout

    with urllib.request.urlopen(f"{world.stack.url}/trust") as answer:
        (scratch / "keys").write_text(json.load(answer)["log_key"])
    auditor = Person("auditor", scratch / "auditor")
    auditor.environment |= world.cloud.environment
    verify = ["sallyport", "verify", sid, "--from", f"s3://{world.cloud.resources.bucket}", "--keys", str(scratch / "keys")]

    def proved() -> subprocess.CompletedProcess[str] | None:
        found = auditor.run(verify)
        return found if "key erased on " in found.stdout else None

    verified = until(proved, "the log proves the erasure")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"of erased-db, {month}, key erased on " in verified.stdout
    assert "proofs valid" in verified.stdout
    assert {key: body for key, body in files(world, sid).items() if key in recorded} == recorded, "nothing of it was changed"
