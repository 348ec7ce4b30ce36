"""Cookies, names of files, and what a page of a gateway behind TLS and a stage says."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.contracts.capability import ACCESS_TYP, WEB_TYP
from chalicelib.contracts.policy import Approval
from chalicelib.domain.approvals import Case, Human
from chalicelib.entrypoints import web
from tests.fakes.world import ALICE
from tests.unit.chalicelib.entrypoints.conftest import Gateway

RID = "req_01JD8QZ6T3N0V9C4K2M7X5B1HR"
PAGES = ["/", "/approvals", "/approvals/list", "/approvals/decided", f"/approvals/{RID}", f"/approvals/{RID}/now"]
FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "https://gw.example"}


def session(gateway: Gateway, typ: str = WEB_TYP) -> str:
    return f"__Host-sallyport-session={gateway.world.signer.sign_token(typ, msgspec.to_builtins(ALICE))}"


def test_htmx_is_the_file_that_its_authors_published() -> None:
    """From the npm package htmx.org 2.0.8, dist/htmx.min.js (Zero-Clause BSD, beside it)."""
    digest = hashlib.sha384((web.WEB / "static" / "htmx-2.0.8.min.js").read_bytes()).digest()
    assert base64.b64encode(digest).decode() == "/TgkGk7p307TH7EXJDuUlgG3Ce1UVolAOFopFekQkkXihi5u/6OCvVKyz1W+idaz"


def test_every_file_is_named_and_every_name_is_a_file() -> None:
    assert sorted(path.name for path in (web.WEB / "templates").iterdir()) == sorted(web.TEMPLATES)
    assert {path.name for path in (web.WEB / "static").iterdir()} - {"htmx-LICENSE.txt"} == set(web.STATIC)


@pytest.mark.parametrize("name", ["../templates/layout.html", "..%2f..%2fbootstrap.py", "nothing.js", "htmx-LICENSE.txt"])
def test_other_files_are_not_served(gateway: Gateway, name: str) -> None:
    assert gateway.client.http.get(f"/static/{name}").status_code in (403, 404)
    assert gateway.client.http.get("/static/pages.css").headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize("path", PAGES)
def test_pages_ask_for_a_login(gateway: Gateway, path: str) -> None:
    for headers in ({}, {"cookie": session(gateway, ACCESS_TYP)}, {"cookie": "__Host-sallyport-session=x"}):
        answer = gateway.client.http.get(path, headers=headers)
        assert answer.status_code == 401
        assert b"Log in to go on" in answer.body
    assert gateway.client.http.get(path, headers={"hx-request": "true"}).headers["HX-Refresh"] == "true"


def test_over_tls_the_cookie_is_nobody_elses(gateway: Gateway) -> None:
    answer = gateway.client.http.post("/login/browser", headers=FORM, body=b"onward=/approvals")
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-sallyport-login=")
    assert cookie.endswith("; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
    assert "Domain" not in cookie


@pytest.mark.parametrize("path", ["/login/browser", "/logout/browser", f"/approvals/{RID}/answer"])
def test_forms_come_from_this_origin(gateway: Gateway, path: str) -> None:
    cookie = {"cookie": session(gateway)}
    for wrong in (
        "https://evil.example",
        "https://gw.example.evil.example",
        "http://gw.example",
        "https://gw.example:444",
        "null",
    ):
        answer = gateway.client.http.post(path, headers=FORM | cookie | {"origin": wrong}, body=b"csrf=x")
        assert (answer.status_code, b"another site" in answer.body) == (403, True)


def test_a_signed_in_browser_reads_its_inbox_and_leaves(gateway: Gateway) -> None:
    cookie = session(gateway)
    headers = FORM | {"cookie": cookie}
    page = gateway.client.http.get("/approvals", headers=headers)
    assert (page.status_code, b"Nothing waits for you" in page.body) == (200, True)
    token = web.csrf(cookie.partition("=")[2])
    assert token.encode() in page.body
    assert gateway.client.http.post("/logout/browser", headers=headers, body=f"csrf={token}".encode()).status_code == 303
    assert gateway.client.http.get("/approvals", headers=headers).status_code == 401


def test_the_gateways_own_address_leads_to_the_inbox(gateway: Gateway) -> None:
    answer = gateway.client.http.get("/", headers={"cookie": session(gateway)})
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{web.base()}/approvals"


def test_no_template_scripts_or_styles_itself() -> None:
    for name in web.TEMPLATES:
        text = (web.WEB / "templates" / name).read_text()
        assert "style=" not in text, name
        assert "<style" not in text, name
        assert " on" not in [part[:3] for part in text.split("<")], name
        assert "|safe" not in text.replace(" ", ""), name


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"kind": "unmask", "sid": "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"}, b"Show what masking took out of session ses_01JD8"),
        ({"kind": "erase", "month": "2026-08"}, b"Erase for good what masking took out of the sessions on db-1 in 2026-08"),
    ],
)
def test_what_is_asked_about_originals_is_said_before_the_buttons(gateway: Gateway, about: dict[str, str], words: bytes) -> None:
    world = gateway.world
    made = ApprovalRequest(
        rid=RID,
        state=RequestState.PENDING,
        principal=ALICE.sub,
        groups=[],
        target="db-1",
        protocol="postgres",
        agent="edge",
        digest="ab" * 32,
        rules=[],
        asks=[Approval("platform")],
        policy_version=1,
        asked_ms=world.clock.now,
        deadline_ms=world.clock.now + 60_000,
        **about,  # type: ignore[arg-type]
    )
    world.store.add_case(Case(request=made, asker=Human(principal=ALICE.sub)), [], [])
    for path in (f"/approvals/{RID}", "/approvals"):
        answer = gateway.client.http.get(path, headers={"cookie": session(gateway)})
        assert answer.status_code == 200
        assert words in answer.body
        assert b"Access as" not in answer.body
