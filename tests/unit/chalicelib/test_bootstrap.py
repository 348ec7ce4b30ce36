"""Settings from the environment."""

from __future__ import annotations

import pytest

from chalicelib import bootstrap
from chalicelib.contracts.retention import Keeping, Retention

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
    "SALLYPORT_ORIGINALS_KEY": "o",
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


def test_retention_is_the_deployments() -> None:
    assert bootstrap.settings(GOOD).keeping == Keeping(default=Retention(days=365), least_days=1, most_days=3650)
    said = {"DAYS": "90", "MODE": "GOVERNANCE", "LEAST_DAYS": "30", "MOST_DAYS": "400"}
    found = bootstrap.settings(GOOD | {f"SALLYPORT_RETENTION_{name}": value for name, value in said.items()}).keeping
    assert found == Keeping(default=Retention(days=90, mode="GOVERNANCE"), least_days=30, most_days=400)
    assert found.longest == Retention(days=400, mode="GOVERNANCE")


@pytest.mark.parametrize(("name", "value"), [("MODE", "NONE"), ("DAYS", "20"), ("DAYS", "4000"), ("MOST_DAYS", "36501")])
def test_a_retention_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(bootstrap.MisconfiguredError, match=f"SALLYPORT_RETENTION_{name}"):
        bootstrap.settings(GOOD | {"SALLYPORT_RETENTION_LEAST_DAYS": "30", f"SALLYPORT_RETENTION_{name}": value})
