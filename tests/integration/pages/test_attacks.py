"""What other people, other sites and other texts try on the pages, in Chromium; and the innocent twins that work."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.integration.pages.conftest import Desk, Enter, operation

pytestmark = pytest.mark.servers

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[2J\u202eevorppa\u200b{{7*7}}\x00'\"><form action=//evil>"


class Elsewhere:
    """Another site, on another port: the same site to a cookie, another origin to us."""

    def __init__(self) -> None:
        self.page = ""
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(outer.page.encode())

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()
    yield found
    found.server.shutdown()
    found.server.server_close()


def csrf(page: Page) -> str:
    return page.locator('input[name="csrf"]').first.input_value()


def test_an_answer_comes_from_the_page_it_was_made_on(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    right = {"csrf": csrf(page), "digest": request["digest"], "answer": "approve"}
    ours = {"Origin": desk.url}
    tries: list[tuple[dict[str, str], dict[str, str], int]] = [
        ({"csrf": ""}, ours, 403),
        ({"csrf": "A" * 43}, ours, 403),
        ({}, {"Origin": "https://evil.example"}, 403),
        ({}, {"Origin": "null"}, 403),
        ({}, {}, 403),
        ({}, ours | {"Sec-Fetch-Site": "same-site"}, 403),
        ({"digest": "0" * 64}, ours, 403),
        ({"answer": "perhaps"}, ours, 400),
        ({"answer": "deny"}, ours, 400),
    ]
    for changed, headers, status in tries:
        answer = page.request.post(f"{desk.link(request)}/answer", form=right | changed, headers=headers)  # type: ignore[arg-type]
        assert (answer.status, desk.now(request)["state"]) == (status, "pending"), (changed, headers)
    assert page.request.get(f"{desk.link(request)}/answer", params=right).status in (403, 405)  # type: ignore[arg-type]
    assert desk.now(request)["state"] == "pending"
    assert page.request.post(f"{desk.link(request)}/answer", form=right, headers=ours).status == 200  # type: ignore[arg-type]
    assert desk.now(request)["state"] == "approved"


def test_the_token_of_one_session_is_none_of_anothers(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page, other = enter("bob", desk.link(request)), enter("dora", desk.link(request))
    form = {"csrf": csrf(other), "digest": request["digest"], "answer": "approve"}
    assert page.request.post(f"{desk.link(request)}/answer", form=form, headers={"Origin": desk.url}).status == 403
    assert desk.now(request)["state"] == "pending"
    desk.withdraw(request)


def test_another_sites_form_is_refused_even_with_the_right_token(desk: Desk, enter: Enter, elsewhere: Elsewhere) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    fields = {"csrf": csrf(page), "digest": request["digest"], "answer": "approve"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    elsewhere.page = f'<form method="post" action="{desk.link(request)}/answer">{inputs}<button>Win a prize</button></form>'
    page.goto(elsewhere.url)
    page.get_by_role("button", name="Win a prize").click()
    expect(page.get_by_role("alert")).to_have_text("This form came from another site.")
    assert desk.now(request)["state"] == "pending"
    desk.withdraw(request)


def test_a_page_is_not_framed(desk: Desk, enter: Enter, elsewhere: Elsewhere) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    fields = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "script-src 'self'")
    headers = page.request.get(desk.link(request)).headers
    assert all(each in headers["content-security-policy"] for each in fields)
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
    bare = page.context.new_page()
    elsewhere.page = f'<iframe src="{desk.link(request)}"></iframe>'
    bare.goto(elsewhere.url)
    bare.wait_for_load_state("networkidle")
    assert [each.url for each in bare.frames if each.url.startswith(desk.url)] == []
    desk.withdraw(request)


def test_hostile_text_is_only_text(desk: Desk, enter: Enter) -> None:
    what = operation(text=f"DROP TABLE x -- {HOSTILE}", arguments=(HOSTILE,), environment=(("A", HOSTILE),))
    request = desk.ask(what, reason=HOSTILE, risks=[HOSTILE])
    page = enter("bob", f"{desk.url}/approvals")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.get_by_role("link", name="DROP TABLE x").click()
    expect(page.locator(".code").first).to_contain_text("<img src=x onerror=alert(1)><script>alert(2)</script>")
    for name in ("U+001B", "U+202E", "U+200B", "U+0000"):
        expect(page.locator(".code .named", has_text=name).first).to_be_visible()
    assert page.locator("main img, main script, form[action*=evil]").count() == 0
    for letter in "\x1b\u202e\u200b\x00":
        assert letter not in page.content()
    expect(page.get_by_text("invisible or misleading").first).to_be_visible()
    assert (dialogs, "49" in page.locator(".code").first.inner_text()) == ([], False)
    desk.withdraw(request)


def test_long_text_is_cut_and_all_of_it_is_one_click_away(desk: Desk, enter: Enter) -> None:
    text = "DROP TABLE a" + "\n" * 500 + ", the_other_one -- " + "x" * 20_000
    request = desk.ask(operation(text=text))
    page = enter("bob", desk.link(request))
    expect(page.get_by_text("the_other_one")).not_to_be_visible()
    page.get_by_text(f"Show all {len(text):,} characters").click()
    expect(page.get_by_text("the_other_one")).to_be_visible()
    desk.withdraw(request)


def test_ten_megabytes_of_reason_are_refused(desk: Desk) -> None:
    status, found = desk.alice.call("POST", "/requests", {"target": "web-1", "reason": "x" * 10_000_000})
    assert (status, found.get("error", {}).get("code", "too_large")) == (413, "too_large")


def test_ten_megabytes_of_an_answers_reason_are_refused(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    for letters, statuses in ((2_001, {413}), (10_000_000, {413})):
        form = {"csrf": csrf(page), "digest": request["digest"], "answer": "deny", "comment": "x" * letters}
        answer = page.request.post(f"{desk.link(request)}/answer", form=form, headers={"Origin": desk.url})  # type: ignore[arg-type]
        assert (answer.status in statuses, desk.now(request)["state"]) == (True, "pending"), answer.status
    desk.withdraw(request)


def routes(desk: Desk, method: str, request: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return every route of the application for ``method``, about ``request`` and its session where it is about one."""
    found = []
    for pattern, methods in desk.cloud.app.routes.items():
        if method in methods:
            path = pattern.replace("{rid}", request["rid"]).replace("{sid}", request["sid"]).replace("{name}", "pages.css")
            found.append((f"{desk.url}{path}", methods[method]))
    return found


def stored(desk: Desk) -> dict[tuple[str, str], Any]:
    """Return the whole table but for who has looked at a request, and the event that says so."""
    rows = desk.cloud.boto("dynamodb").get_paginator("scan").paginate(TableName=desk.cloud.resources.table)
    kept = [row for page in rows for row in page["Items"] if not row["sk"]["S"].startswith("SEEN#")]
    return {
        (row["pk"]["S"], row["sk"]["S"]): row for row in kept if '"type":"request.seen"' not in row.get("body", {}).get("S", "")
    }


def test_no_get_changes_anything_and_every_page_is_guarded(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    guarded = page.request.get(desk.link(request)).headers["content-security-policy"]
    before, pages = stored(desk), 0
    for url, _ in routes(desk, "GET", request):
        for query in ("", "?answer=approve&comment=x&digest=" + request["digest"] + "&csrf=" + csrf(page)):
            answer = page.request.get(url + query, max_redirects=0)
            assert answer.status < 500, url
            if "text/html" in answer.headers.get("content-type", ""):
                pages += 1
                guard = answer.headers["content-security-policy"]
                # The end of a command line's login loads nothing at all.
                assert guard == (
                    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'" if "/login/" in url else guarded
                ), url
                assert "no-store" in answer.headers["cache-control"], url
    assert pages >= 10
    assert stored(desk) == before
    desk.withdraw(request)


def test_every_form_asks_where_it_came_from(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    right, before, forms = csrf(page), stored(desk), 0
    for url, route in routes(desk, "POST", request):
        if "application/x-www-form-urlencoded" not in route.content_types or url.endswith("/slack/interactive"):
            continue  # Slack's has a signature; the API takes no cookie and no form
        forms += 1
        fields = {"digest": request["digest"], "answer": "approve", "comment": "x", "onward": "/approvals"}
        tries: list[tuple[dict[str, str], dict[str, str]]] = [
            (fields | {"csrf": right}, {"Origin": "https://evil.example"}),
            (fields | {"csrf": right}, {"Origin": desk.url, "Sec-Fetch-Site": "cross-site"}),
            (fields | {"csrf": right}, {}),
        ]
        if not url.endswith("/login/browser"):  # nobody has a session there yet
            tries += [(fields, {"Origin": desk.url}), (fields | {"csrf": "A" * 43}, {"Origin": desk.url})]
        for form, headers in tries:
            assert page.request.post(url, form=form, headers=headers).status == 403, (url, headers)  # type: ignore[arg-type]
    assert forms >= 6
    assert stored(desk) == before
    desk.withdraw(request)


def test_no_route_of_the_api_takes_a_cookie(desk: Desk, enter: Enter) -> None:
    """Otherwise another site's page could have a browser send JSON, to which no form's token belongs."""
    request = desk.ask()
    page = enter("bob", desk.link(request))
    before, tried = stored(desk), 0
    for url, route in routes(desk, "POST", request):
        if "application/json" in route.content_types:
            tried += 1
            data = {"approve": True, "digest": request["digest"], "comment": "x", "target": "web-1"}
            assert page.request.post(url, data=data, headers={"Origin": desk.url}).status in (400, 401, 403, 404), url
    assert tried > 10
    assert stored(desk) == before
    desk.withdraw(request)


def test_a_link_tells_strangers_and_chat_programs_nothing(desk: Desk, enter: Enter) -> None:
    request = desk.ask(operation(text="DROP TABLE secret_name"))
    before = desk.now(request)
    for headers in ({}, {"user-agent": "Slackbot-LinkExpanding 1.0"}, {"cookie": "sallyport-session=x.y.z"}):
        answer = desk.api.pool.request("GET", desk.link(request), headers=headers, redirect=False)
        assert answer.status == 401
        assert b"secret_name" not in answer.data
        assert b"alice" not in answer.data
    assert desk.api.pool.request("HEAD", desk.link(request), redirect=False).status >= 400
    page = enter("bob", f"{desk.url}/approvals")
    for header in ("Sec-Purpose", "Purpose"):
        assert page.request.get(desk.link(request), headers={header: "prefetch"}).status == 403
    assert desk.now(request) == before
    assert seen(desk, request) == []
    page.goto(desk.link(request))
    assert seen(desk, request) == ["bob@example.com"]
    desk.withdraw(request)


def seen(desk: Desk, request: dict[str, Any]) -> list[str]:
    rows = desk.cloud.boto("dynamodb").scan(TableName=desk.cloud.resources.table)["Items"]
    bodies = [row["body"]["S"] for row in rows if row["pk"]["S"].startswith("EVENT#")]
    return ["bob@example.com" for body in bodies if '"type":"request.seen"' in body and request["rid"] in body and "bob@" in body]


def begun(desk: Desk, onward: str) -> tuple[str, str]:
    """Begin a login as a browser does; return its cookie, and the address at which the identity provider sends it back."""
    pool = desk.api.pool
    answer = pool.request_encode_body(
        "POST",
        f"{desk.url}/login/browser",
        fields={"onward": onward},
        encode_multipart=False,
        headers={"origin": desk.url},
    )
    assert answer.status == 200, answer.data
    (url,) = set(re.findall(r'href="(http[^"]+/authorize[^"]+)"', answer.data.decode()))
    query = urlencode({"prompt": "none", "login_hint": "bob"})
    back = pool.request("GET", f"{html.unescape(url)}&{query}", redirect=False).headers["location"]
    return answer.headers["set-cookie"].partition(";")[0], back


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/approvals/../../x", "/approvals\\@evil.example", "/approvals?x=//evil"],
)
def test_a_login_ends_on_a_page_of_ours(desk: Desk, onward: str) -> None:
    cookie, back = begun(desk, onward)
    answer = desk.api.pool.request("GET", back, headers={"cookie": cookie}, redirect=False)
    assert (answer.status, answer.headers["location"]) == (303, "/approvals")


def test_a_login_ends_in_the_browser_where_it_began(desk: Desk, enter: Enter) -> None:
    """Otherwise a link could log its reader in as somebody else, who then sees what the reader does."""
    other = enter("dora", f"{desk.url}/approvals")
    _, back = begun(desk, "/approvals")
    answer = other.goto(back)
    assert answer is not None
    assert answer.status == 401
    expect(other.get_by_text("This login was begun in another browser.")).to_be_visible()
    other.goto(f"{desk.url}/approvals")
    expect(other.get_by_text("dora@example.com")).to_be_visible()


def test_a_cookie_is_no_token_and_a_token_is_no_cookie(desk: Desk, enter: Enter) -> None:
    page = enter("bob", f"{desk.url}/approvals")
    (cookie,) = [each for each in page.context.cookies() if each["name"] == "sallyport-session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert desk.api.call("GET", "/whoami", None, f"Bearer {cookie['value']}")[1]["error"]["code"] == "token_invalid"
    for token in (desk.alice.token, "", "x"):
        answer = desk.api.pool.request("GET", f"{desk.url}/approvals", headers={"cookie": f"sallyport-session={token}"})
        assert answer.status == 401
