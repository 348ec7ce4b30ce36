"""Settings from the environment."""

from __future__ import annotations

import pytest

from chalicelib import bootstrap

GOOD = {
    "SALLYPORT_PUBLIC_URL": "https://gw.example/",
    "SALLYPORT_WS_URL": "wss://ws.example/api",
    "SALLYPORT_ADMIN_GROUP": "platform",
}
WHOLE = GOOD | {
    "SALLYPORT_TABLE": "t",
    "SALLYPORT_BUCKET": "b",
    "SALLYPORT_SIGNING_KEY": "k",
    "SALLYPORT_SSH_CA_KEY": "s",
    "SALLYPORT_LOG_KEY": "l",
    "SALLYPORT_ROUTE_SECRET": "r",
    "SALLYPORT_OIDC_ISSUER": "https://idp.example",
    "SALLYPORT_OIDC_CLIENT_ID": "c",
    "SALLYPORT_OIDC_CLIENT_SECRET_NAME": "n",
    "SALLYPORT_WS_CALLBACK": "https://ws.example/api",
}


def test_settings_have_sensible_defaults() -> None:
    found = bootstrap.settings(GOOD)
    assert (found.issuer, found.login_hours, found.stale_s, found.vote_login_s) == ("https://gw.example", 12, 90, 3600)
    assert bootstrap.settings(GOOD | {"SALLYPORT_VOTE_LOGIN_MINUTES": "5"}).vote_login_s == 300


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_setting_is_named(name: str) -> None:
    with pytest.raises(bootstrap.MisconfiguredError, match=name):
        bootstrap.settings({other: value for other, value in GOOD.items() if other != name} | {name: ""})


@pytest.mark.parametrize("value", ["0", "25", "-1", "twelve", "1.5"])
def test_a_login_lasts_between_an_hour_and_a_day(value: str) -> None:
    with pytest.raises(bootstrap.MisconfiguredError, match="SALLYPORT_LOGIN_HOURS"):
        bootstrap.settings(GOOD | {"SALLYPORT_LOGIN_HOURS": value})


def test_ports_are_built_once_per_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    first = bootstrap.ports()
    assert bootstrap.ports() is first
    monkeypatch.setenv("SALLYPORT_ADMIN_GROUP", "others")
    assert bootstrap.ports().settings.admin_group == "others"
    monkeypatch.setenv("SALLYPORT_OIDC_ISSUER", "http://idp.example")
    with pytest.raises(RuntimeError, match="https"):
        bootstrap.ports()
