"""Host keys that came first: kept whole, never replaced, and never begun again by accident."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import msgspec
import pytest

from agent.runtime import host_keys
from agent.runtime.host_keys import FILE, HostKeys, Learned
from chalicelib.contracts.faults import Fault


def line(number: int = 1) -> str:
    return "ssh-ed25519 " + base64.b64encode(b"key %d" % number).decode()


def learned(target: str = "web", address: str = "10.0.0.7:22", key: str = "", **changed: object) -> Learned:
    facts = {"target": target, "address": address, "key": key or line(), "principal": "ann", "sid": "ses_1", "time_ms": 7}
    return Learned(**(facts | changed))  # type: ignore[arg-type]


def refused(work: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as caught:
        work()
    assert caught.value.code == "target_host_key"
    return caught.value


def test_what_is_learned_is_known_from_then_on(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    assert keys.find("web", "10.0.0.7:22") is None
    assert keys.learn(learned()) == (learned(), True)
    for each in (keys, HostKeys(tmp_path)):
        assert each.find("web", "10.0.0.7:22") == learned()
        assert each.all() == [learned()]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_is_openssh_s() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    one = learned(key=key.export_public_key().decode().strip())
    assert (one.kind, one.fingerprint) == ("ssh-ed25519", key.get_fingerprint())


def test_the_second_with_the_same_key_is_fine_and_with_another_one_loses(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    keys.learn(learned())
    assert keys.learn(learned(principal="bob", sid="ses_2")) == (learned(), False)
    fault = refused(lambda: keys.learn(learned(key=line(2))))
    assert learned().fingerprint in fault.message
    assert keys.all() == [learned()]


def test_of_many_at_once_exactly_one_is_the_first(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def learn(number: int) -> bool | None:
        keys = HostKeys(tmp_path)  # as other processes have them
        together.wait()
        try:
            return keys.learn(learned(key=line(number)))[1]
        except Fault:
            return None

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(learn, range(8)))
    assert outcomes.count(True) == 1
    assert outcomes.count(None) == 7
    assert HostKeys(tmp_path).all() == [learned(key=line(outcomes.index(True)))]


def test_a_target_that_moved_is_not_known_and_not_learned_again(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    keys.learn(learned())
    for elsewhere in ("10.0.0.8:22", "10.0.0.7:2222"):
        fault = refused(lambda elsewhere=elsewhere: keys.find("web", elsewhere))
        assert "was learned at 10.0.0.7:22" in fault.message
        assert "host-keys --forget web" in fault.hint
        refused(lambda elsewhere=elsewhere: keys.learn(learned(address=elsewhere)))
    assert keys.find("db", "10.0.0.8:22") is None


def test_another_target_of_the_same_address_learns_no_other_key(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    keys.learn(learned())
    assert keys.find("blog", "10.0.0.7:22") is None, "what one target's rules let be learned is not another's"
    refused(lambda: keys.learn(learned("blog", key=line(2))))
    assert keys.learn(learned("blog"))[1]


def test_only_a_person_takes_one_back(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    keys.learn(learned())
    keys.learn(learned("db", "10.0.0.9:22"))
    assert keys.forget("web") == learned()
    assert keys.forget("web") is None
    assert [each.target for each in keys.all()] == ["db"]
    assert keys.learn(learned(address="10.0.0.8:22", key=line(2)))[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version":2,"keys":[]}',
        b'{"version":1}',
        b'{"version":1,"keys":[],"more":1}',
        msgspec.json.encode({"keys": [learned(), learned(address="h:1")]}),
        msgspec.json.encode({"keys": [msgspec.to_builtins(learned()) | {"key": "garbage"}]}),
        msgspec.json.encode({"keys": [msgspec.to_builtins(learned()) | {"key": "ssh-ed25519 ???"}]}),
    ],
)
def test_a_file_that_cannot_be_used_is_no_reason_to_begin_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    (tmp_path / FILE).chmod(0o600)
    keys = HostKeys(tmp_path)
    for work in (keys.all, lambda: keys.find("web", "h:22"), lambda: keys.learn(learned()), lambda: keys.forget("web")):
        assert "cannot tell which host keys" in refused(work).message  # type: ignore[arg-type]
    assert (tmp_path / FILE).read_bytes() == content


def test_the_twin_a_file_as_it_should_be(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(msgspec.json.encode({"version": 1, "keys": [learned()]}))
    (tmp_path / FILE).chmod(0o600)
    assert HostKeys(tmp_path).all() == [learned()]


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    HostKeys(tmp_path).learn(learned())
    (tmp_path / FILE).chmod(0o660)
    refused(HostKeys(tmp_path).all)
    (tmp_path / FILE).chmod(0o600)
    assert HostKeys(tmp_path).all() == [learned()]


def test_neither_is_a_link(tmp_path: Path) -> None:
    HostKeys(tmp_path).learn(learned())
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    refused(HostKeys(tmp_path).all)


def test_a_file_that_goes_away_while_the_agent_runs_is_missed(tmp_path: Path) -> None:
    keys = HostKeys(tmp_path)
    keys.learn(learned())
    (tmp_path / FILE).unlink()
    refused(lambda: keys.find("web", "10.0.0.7:22"))
    refused(lambda: keys.learn(learned("db", "h:22")))
    assert not (tmp_path / FILE).exists()


def test_it_is_on_disk_before_it_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(host_keys, "write_whole", full)
    keys = HostKeys(tmp_path)
    refused(lambda: keys.learn(learned()))
    assert keys.find("web", "10.0.0.7:22") is None


def test_a_state_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    refused(HostKeys(tmp_path / "none").all)


def test_what_is_kept(tmp_path: Path) -> None:
    HostKeys(tmp_path).learn(learned())
    assert json.loads((tmp_path / FILE).read_text()) == {
        "version": 1,
        "keys": [
            {
                "target": "web",
                "address": "10.0.0.7:22",
                "key": line(),
                "principal": "ann",
                "sid": "ses_1",
                "time_ms": 7,
            }
        ],
    }
