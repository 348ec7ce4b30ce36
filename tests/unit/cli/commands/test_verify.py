"""``sallyport verify``: what it says, and how it ends. What it catches is in tests/bypass/evidence."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from chalicelib.contracts import manifest
from chalicelib.contracts.translog import checkpoints
from tests.bypass.evidence.vault import WITNESS, Vault, good
from tests.unit.cli.conftest import Run

GOLDEN = Path(__file__).parents[3] / "golden" / "cli"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = good(tmp_path / "bucket")
    (tmp_path / "keys").write_text(f"# the gateway\n{vault.notary.key()}\n# an agent that watches\n{WITNESS.key}\n")
    return vault


def arguments(vault: Vault, *more: str) -> list[str]:
    return ["verify", *more, "--from", str(vault.folder), "--keys", str(vault.folder.parent / "keys")]


def first(vault: Vault) -> str:
    return next(iter(vault.store.kept))


def check(name: str, text: str) -> None:
    """Compare with a golden file; roots differ from run to run, because signatures and so event digests do."""
    text = re.sub(r"root [0-9a-f]{16}", "root 0123456789abcdef", text)
    path = GOLDEN / name
    if os.environ.get("SALLYPORT_REGEN") == "1":
        path.write_text(text)
    assert text == path.read_text()


def test_good_evidence(vault: Vault, run: Run) -> None:
    vault.witness()
    done = run(*arguments(vault, "--all"))
    assert (done.status, done.err) == (0, "")
    check("verify.txt", done.out)


def test_altered_evidence(vault: Vault, run: Run) -> None:
    chunks = vault.chunks(first(vault))
    chunks[0].write_bytes(b"x" + chunks[0].read_bytes()[1:])
    chunks[2].unlink()
    done = run(*arguments(vault, "--all"))
    assert (done.status, done.err) == (7, "")
    check("verify_altered.txt", done.out.replace(first(vault), "ses_X"))


def test_json_says_everything(vault: Vault, run: Run) -> None:
    vault.chunks(first(vault))[1].unlink()
    done = run(*arguments(vault, first(vault), "--json"))
    found = json.loads(done.out)
    assert done.status == 7
    assert (found["ok"], found["sessions"], found["chunks"], found["log"]) == (False, 1, 3, "gw.example/log")
    assert [each["check"] for each in found["failures"]] == ["chain"]
    assert found["failures"][0]["subject"].endswith("ch01.cast.zst")
    assert found["proved"]["manifest_signature"] == 1


def test_a_checkpoint_is_kept_and_compared_with(vault: Vault, run: Run, tmp_path: Path) -> None:
    kept = str(tmp_path / "kept")
    assert run(*arguments(vault, "--all", "--save", kept)).status == 0
    before = Path(kept).read_bytes()
    assert checkpoints.parse(before)[0].size == vault.log.now.size
    vault.record(b"more")
    vault.settle().copy()
    done = run(*arguments(vault, "--since", kept, "--save", kept))
    assert done.status == 0
    assert "1 session, 1 chunk" in done.out
    after = Path(kept).read_bytes()
    assert after == vault.checkpoint() != before
    # What contradicts is not kept: the earlier checkpoint is the proof.
    vault.rewrite(without=first(vault))
    vault.copy()
    assert run(*arguments(vault, "--since", kept, "--save", kept)).status == 7
    assert Path(kept).read_bytes() == after


def test_a_session_may_be_named_by_its_end(vault: Vault, run: Run) -> None:
    assert run(*arguments(vault, first(vault)[-8:])).status == 0
    assert "unknown_session" in run(*arguments(vault, "ZZZZZZZZ")).err
    assert run(*arguments(vault, "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR")).status == 4
    assert run(*arguments(vault, "../..")).status == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "Say what to verify"),
        (["7X5B1HR", "--all"], "choose one"),
        (["--day", "today", "--all"], "choose one"),
        (["--day", "someday"], "--day does not understand"),
        (["--all", "--since", "/nowhere/at/all"], "No such file"),
    ],
)
def test_what_was_asked_must_make_sense(vault: Vault, run: Run, more: list[str], said: str) -> None:
    done = run(*arguments(vault, *more))
    assert done.status in (2, 4)
    assert said in done.err


@pytest.mark.parametrize(
    ("keys", "said"), [("", "no key of a gateway"), (str(WITNESS.key), "no key of a gateway"), ("nonsense", "line 1")]
)
def test_keys_must_be_keys(vault: Vault, run: Run, keys: str, said: str) -> None:
    (vault.folder.parent / "keys").write_text(keys)
    done = run(*arguments(vault, "--all"))
    assert done.status == 2
    assert said in done.err


def test_another_gateways_key_proves_nothing(vault: Vault, run: Run, tmp_path: Path) -> None:
    other = good(tmp_path / "other")
    (vault.folder.parent / "keys").write_text(str(other.notary.key()))
    done = run(*arguments(vault, "--all"))
    assert done.status == 7
    assert "No key that you trust signed this checkpoint" in done.out


def test_places_that_are_none(vault: Vault, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = str(vault.folder.parent / "keys")
    assert run("verify", "--all", "--keys", keys, "--from", "/nowhere").status == 4
    assert run("verify", "--all", "--keys", keys, "--from", "s3://Not A Bucket").status == 2
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    done = run("verify", "--all", "--keys", keys, "--from", "s3://recordings")
    assert done.status == 3
    assert "aws configure export-credentials" in done.err


def test_an_empty_folder_is_not_called_good(vault: Vault, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run("verify", "--all", "--keys", str(vault.folder.parent / "keys"), "--from", str(tmp_path / "empty"))
    assert done.status == 7
    assert "There is no checkpoint" in done.out


def test_links_are_refused(vault: Vault, run: Run) -> None:
    (vault.path(first(vault)) / "000009_000000Z.ch01.cast.zst").symlink_to("/etc/passwd")
    assert run(*arguments(vault, "--all")).status == 2


def test_names_in_evidence_cannot_write_on_the_terminal(vault: Vault, run: Run) -> None:
    (vault.path(first(vault)) / "000009_\x1b]0;owned\x07.zst").write_bytes(b"x")
    done = run(*arguments(vault, "--all"))
    assert done.status == 7
    assert "\x1b" not in done.out
    assert "\x07" not in done.out


def test_a_manifest_cannot_lead_out_of_its_folder(vault: Vault, run: Run) -> None:
    path = vault.path(first(vault), "manifest.json")
    raw = path.read_bytes().replace(b'"000001_', b'"../../../../../../etc/000001_')
    path.write_bytes(raw)
    note = vault.notary.sign(manifest.statement("gw.example/log", first(vault), manifest.digest(raw)))
    vault.path(first(vault), "manifest.sig").write_text(str(note))
    done = run(*arguments(vault, "--all"))
    assert done.status == 7
    assert "contradicts itself" in done.out
