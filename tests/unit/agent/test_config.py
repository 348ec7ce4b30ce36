"""The settings: every key is checked, and an error names the place and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import DEFAULT_STATE, Settings, for_enrolment, load
from chalicelib.contracts.faults import Fault

WHOLE = """
url = "https://gateway.example.com/api/"
state = "/srv/agent"
credentials = "/srv/secrets"
listen = "10.0.0.5:2222"
direct = "edge.example.com:22"
max_sessions = 7
min_free_mb = 0
spool_quota_mb = 20
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path: Path) -> None:
    assert load(written(tmp_path, WHOLE), {}) == Settings(
        url="https://gateway.example.com/api",
        state=Path("/srv/agent"),
        credentials=Path("/srv/secrets"),
        listen=("10.0.0.5", 2222),
        direct="edge.example.com:22",
        max_sessions=7,
        min_free_mb=0,
        spool_quota_mb=20,
    )


def test_nothing_is_needed(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}) == Settings()
    assert Settings().state == DEFAULT_STATE


def test_credentials_live_in_the_state_directory_unless_told(tmp_path: Path) -> None:
    assert load(written(tmp_path, 'state = "/srv/a"'), {}).credentials == Path("/srv/a/credentials")


def test_the_environment_wins(tmp_path: Path) -> None:
    environment = {
        "SALLYPORT_AGENT_MAX_SESSIONS": "9",
        "SALLYPORT_AGENT_STATE": "/run/agent",
        "SALLYPORT_AGENT_LISTEN": "",
        "SALLYPORT_AGENT_DIRECT": "",
        "SALLYPORT_AGENT_LOG_LEVEL": "debug",
        "PATH": "/bin",
    }
    found = load(written(tmp_path, WHOLE), environment)
    assert (found.max_sessions, found.state, found.listen, found.direct) == (9, Path("/run/agent"), None, "")


@pytest.mark.parametrize(
    ("listen", "direct"),
    [("10.0.0.5:2222", "10.0.0.5:2222"), ("[::1]:2222", "[::1]:2222"), ("0.0.0.0:2222", ""), ("[::]:22", ""), ("10.0.0.5:0", "")],
)
def test_the_listeners_own_address_is_announced_where_it_means_something(tmp_path: Path, listen: str, direct: str) -> None:
    assert load(written(tmp_path, f'listen = "{listen}"'), {}).direct == direct


def test_a_certificate_comes_with_its_key(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}).tls is None
    found = load(written(tmp_path, 'tls_cert = "/etc/a.crt"'), {"SALLYPORT_AGENT_TLS_KEY": "/etc/a.key"})
    assert found.tls == (Path("/etc/a.crt"), Path("/etc/a.key"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('urk = "x"', "urk"),
        ('url = "gateway.example.com"', "url"),
        ('url = "http://gateway.example.com"', "url"),
        ('url = "https://u:p@gateway.example.com"', "url"),
        ('url = "https://gateway.example.com/?a=b"', "url"),
        ("url = 5", "url"),
        ('state = "relative"', "state"),
        ("state = []", "state"),
        ('state = ""', "state"),
        ('credentials = "a\\u0000b"', "credentials"),
        ('listen = "2222"', "listen"),
        ('listen = ":2222"', "listen"),
        ('listen = "::1:2222"', "listen"),
        ('listen = "host:99999"', "listen"),
        ('listen = "host:-1"', "listen"),
        ('listen = "1.2.3.4:22"\ndirect = "edge:0"', "direct"),
        ('direct = "edge:22"', "direct"),
        ('tls_cert = "/etc/tls.crt"', "tls_cert"),
        ('tls_key = "/etc/tls.key"', "tls_key"),
        ('tls_cert = "tls.crt"\ntls_key = "/etc/tls.key"', "tls_cert"),
        ("max_sessions = 0", "max_sessions"),
        ("max_sessions = true", "max_sessions"),
        ('max_sessions = "7"', "max_sessions"),
        ("min_free_mb = -1", "min_free_mb"),
        ("spool_quota_mb = -1", "spool_quota_mb"),
        ("spool_quota_mb = 0.5", "spool_quota_mb"),
        ("[max_sessions]\na = 1", "max_sessions"),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Fault) as caught:
        load(path, {})
    assert caught.value.code == "config_invalid"
    assert caught.value.message.startswith(f"{path}: {key} ")


@pytest.mark.parametrize("value", ["many", "-3", "1.5", "\u0663"])
def test_a_wrong_variable_is_told_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(Fault, match=r"\$SALLYPORT_AGENT_MAX_SESSIONS: max_sessions "):
        load(written(tmp_path, ""), {"SALLYPORT_AGENT_MAX_SESSIONS": value})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no such file"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(Fault, match="is not TOML"):
        load(written(tmp_path, "url ="), {})
    (tmp_path / "agent.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Fault, match="is not TOML"):
        load(tmp_path / "agent.toml", {})
    with pytest.raises(Fault, match="cannot be read"):
        load(tmp_path, {})


def test_an_enrolment_needs_no_file(tmp_path: Path) -> None:
    assert for_enrolment("http://127.0.0.1:8000", tmp_path).url == "http://127.0.0.1:8000"
    with pytest.raises(Fault, match="--url: url must be https"):
        for_enrolment("http://gateway.example.com", tmp_path)
