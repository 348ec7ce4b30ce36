"""What approvers do on the pages, in Chromium."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.pages.conftest import Desk, Enter, operation

pytestmark = pytest.mark.servers

#: A small telephone.
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def badge(page: Page) -> Any:
    return page.locator("#standing .now .badge")


def test_from_the_link_through_the_login_to_the_statement(desk: Desk, enter: Enter, states: dict[str, Any]) -> None:
    request = desk.ask(operation(arguments=("a'b",), objects=frozenset({"public.orders"})), risks=["EXPLAIN estimates 9 rows"])
    states.pop("bob", None)
    page = enter("bob", desk.link(request))
    assert page.url == desk.link(request)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("alice@example.com on web-1"))
    for text in ("DROP TABLE orders", "a'b", "public.orders", "EXPLAIN estimates 9 rows", "ticket 4711", request["digest"]):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    expect(page.locator("#standing time")).to_have_text(re.compile(r"^\d:\d\d left$"))
    assert desk.use(request)[0] == 409, "nothing runs before the yes"
    page.get_by_role("button", name="Approve").click()
    expect(badge(page)).to_have_text("Approved")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    assert desk.now(request)["votes"][0]["voter"] == "bob@example.com"
    assert desk.use(request)[0] == 200
    expect(badge(page)).to_have_text("Approved and used")
    page.get_by_role("link", name="Decided").click()
    expect(page.locator(".list .row").first).to_contain_text("DROP TABLE orders")


def test_everything_that_a_yes_is_bound_to_is_on_the_page(desk: Desk, enter: Enter) -> None:
    what = operation(
        "TRUNCATE",
        "truncate public.orders -- $1 $2",
        arguments=("o'brien", "", "third"),
        environment=(("PGOPTIONS", "-c x=1"), ("search_path", "evil")),
        effects=frozenset({"write", "admin"}),
        verbs=frozenset({"TRUNCATE", "NOTIFY"}),
        objects=frozenset({"public.orders", "public.customers"}),
        flags=frozenset({"no_where", "dynamic"}),
    )
    facts = ["EXPLAIN estimates 12,345 rows.", "There is no WHERE clause: every row is concerned."]
    request = desk.ask(what, reason="INC-7: empty it", risks=facts, uses=3)
    page = enter("bob", desk.link(request))
    shown = page.locator("main").inner_text()
    rows = {
        name.strip().lower(): " ".join(text.split())
        for name, text in zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True)
    }
    for text in (what.text, "o'brien", "third", "PGOPTIONS=-c x=1", "search_path=evil", *facts, "INC-7: empty it"):
        assert text in shown, text
    assert page.locator("ol.values > li").count() == 3, "an empty value is one, too"
    assert any(fact.startswith("First time here") and "NOTIFY, TRUNCATE" in fact for fact in request["risks"])
    assert all(fact in shown for fact in request["risks"])
    assert set(rows["effects"].split()) == {"write", "admin"}
    assert (rows["verbs"], rows["flags"]) == ("NOTIFY, TRUNCATE", "dynamic, no_where")
    assert set(rows["objects"].split()) == {"public.orders", "public.customers"}
    assert (rows["target"], rows["uses"], rows["sha-256"]) == ("web-1 (ssh, as deploy)", "3", request["digest"])
    assert rows["asked by"].startswith("alice@example.com (")
    assert rows["session"] == request["sid"]
    assert rows["rule that asks"] == f"truncate (policy version {request['policy_version']})"
    assert rows["it says"] == "Two DBAs have to agree."
    assert "2 of dba" in shown
    until = page.locator("#standing time").get_attribute("data-until")
    assert int(until or 0) == request["deadline_ms"]
    desk.withdraw(request)


def test_one_use_is_said_too(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    expect(page.locator("dt", has_text="Uses").locator("xpath=following-sibling::dd")).to_have_text("once")
    desk.withdraw(request)


def test_a_denial_has_a_reason_and_its_page_says_it(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    page.get_by_role("button", name="Deny").click()
    assert page.evaluate("document.activeElement.id") == "comment", "the browser asks for the reason"
    page.get_by_label("Reason").fill("Not before the backup.")
    page.get_by_role("button", name="Deny").click()
    expect(badge(page)).to_have_text("Denied")
    expect(page.locator("#standing")).to_contain_text("Not before the backup.")
    assert desk.now(request)["answer"] == "Not before the backup."


def test_an_inbox_fills_and_empties_by_itself(desk: Desk, enter: Enter) -> None:
    page = enter("bob", f"{desk.url}/approvals")
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
    request = desk.ask(operation(text="DROP TABLE waiting"))
    page.get_by_role("link", name="DROP TABLE waiting").wait_for()
    desk.withdraw(request)
    expect(page.get_by_text("Nothing waits for you.")).to_be_visible()


def test_time_runs_out_before_ones_eyes(desk: Desk, enter: Enter) -> None:
    page = enter("bob", f"{desk.url}/approvals")
    request = desk.ask(operation("VACUUM", "VACUUM FULL"))
    page.goto(desk.link(request))
    expect(badge(page)).to_have_text("Expired")
    expect(page.locator("form.answer")).to_have_count(0)
    token = page.locator('input[name="csrf"]').first.input_value()
    form = {"csrf": token, "digest": request["digest"], "answer": "approve"}
    answer = page.request.post(f"{desk.link(request)}/answer", form=form, headers={"Origin": desk.url})
    assert answer.status == 410
    assert "time is over" in answer.text()


def test_nobody_answers_their_own(desk: Desk, enter: Enter) -> None:
    request = desk.ask(who=desk.ada)
    page = enter("ada", desk.link(request))
    expect(page.get_by_text("This is your own request.")).to_be_visible()
    expect(page.locator("form.answer")).to_have_count(0)
    token = page.locator('input[name="csrf"]').first.input_value()
    form = {"csrf": token, "digest": request["digest"], "answer": "approve"}
    answer = page.request.post(f"{desk.link(request)}/answer", form=form, headers={"Origin": desk.url})
    assert answer.status == 403
    assert "Nobody answers their own request" in answer.text()
    assert desk.now(request)["state"] == "pending"
    desk.withdraw(request)


def test_one_person_one_vote_and_two_make_a_quorum(desk: Desk, enter: Enter) -> None:
    request = desk.ask(operation("TRUNCATE", "TRUNCATE orders"))
    first, again = enter("bob", desk.link(request)), enter("bob", desk.link(request))
    first.get_by_role("button", name="Approve").click()
    expect(first.get_by_text("You have answered. It waits for others.")).to_be_visible()
    # The other window still shows the buttons, or has noticed already; the form behind them is sent either way.
    token = again.locator('input[name="csrf"]').first.input_value()
    form = {"csrf": token, "digest": request["digest"], "answer": "approve"}
    answer = again.request.post(f"{desk.link(request)}/answer", form=form, headers={"Origin": desk.url})
    assert (answer.status, "You have answered this request." in answer.text()) == (409, True)
    assert len(desk.now(request)["votes"]) == 1
    other = enter("dora", desk.link(request))
    other.get_by_role("button", name="Approve").click()
    expect(badge(other)).to_have_text("Approved")
    expect(badge(first)).to_have_text("Approved")


def test_of_two_browsers_one_is_first(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    yes, no = enter("bob", desk.link(request)), enter("dora", desk.link(request))
    no.get_by_label("Reason").fill("No.")
    no.route("**/now?*", lambda route: route.fulfill(status=204))
    yes.get_by_role("button", name="Approve").click()
    expect(badge(yes)).to_have_text("Approved")
    no.get_by_role("button", name="Deny").click()
    expect(no.get_by_role("alert")).to_have_text(re.compile("approved already"))
    assert [vote["voter"] for vote in desk.now(request)["votes"]] == ["bob@example.com"]


def test_what_is_typed_survives_news(desk: Desk, enter: Enter) -> None:
    request = desk.ask(operation("TRUNCATE", "TRUNCATE typed"))
    page, other = enter("bob", desk.link(request)), enter("dora", desk.link(request))
    page.get_by_label("Reason").fill("I am still wri")
    other.get_by_role("button", name="Approve").click()
    expect(page.locator("#standing")).to_contain_text("Yes from dora@example.com")
    expect(page.get_by_label("Reason")).to_have_value("I am still wri")
    desk.withdraw(request)


def test_a_press_is_not_lost_to_news_that_come_while_the_button_is_down(desk: Desk, enter: Enter) -> None:
    request = desk.ask(operation("TRUNCATE", "TRUNCATE pressed"))
    page, other = enter("bob", desk.link(request)), enter("dora", desk.link(request))
    page.get_by_label("Reason").fill("not so fast")
    page.get_by_role("button", name="Deny").hover()
    page.mouse.down()
    with page.expect_response(lambda answer: "/now?" in answer.url and answer.status == 200):
        other.get_by_role("button", name="Approve").click()
    page.wait_for_timeout(300)  # the news are there; this is for the page to have done with them what it does
    page.mouse.up()
    expect(badge(page)).to_have_text("Denied")
    assert [(each["voter"], each["approve"]) for each in desk.standing(request)["votes"]][-1] == ("bob@example.com", False)


def test_a_keyboard_is_enough(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.innerText || document.activeElement.id")
        seen.append(name)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", name
        if name == "Approve":
            break
    assert seen[:4] == ["Skip to the content", "Inbox", "Decided", "Log out"]
    assert seen[-2:] == ["comment", "Approve"]
    page.keyboard.press("Enter")
    expect(badge(page)).to_have_text("Approved")


def test_a_screen_reader_finds_its_way(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    for role in ("banner", "navigation", "main"):
        expect(page.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    for name in ("What exactly", "Why", "Who and where", "Where it stands"):
        expect(page.get_by_role("region", name=name)).to_have_count(1)
    expect(page.get_by_role("status")).to_contain_text("Waiting for an answer")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.evaluate("[...document.querySelectorAll('button, a')].every(each => each.innerText.trim())")
    desk.withdraw(request)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_and_can_be_read(desk: Desk, enter: Enter, scheme: str) -> None:
    request = desk.ask(operation(text="DROP TABLE " + "a_rather_long_name_of_a_table_" * 6))
    page = enter("bob", desk.link(request), color_scheme=scheme, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("Approve", "Deny"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["x"] + box["width"] <= 360
    assert page.evaluate(CONTRAST) == []
    desk.withdraw(request)


#: Texts whose contrast with what is behind them is below 4.5 : 1 (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (each) => each <= .04045 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4;
    const [r, g, b] = color.map((each) => linear(each / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = (each) => {
    for (; each; each = each.parentElement) {
      const color = parts(getComputedStyle(each).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")].filter((each) => {
    if (![...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) return false;
    const a = light(parts(getComputedStyle(each).color).slice(0, 3)), b = light(behind(each));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5;
  }).map((each) => each.className + ": " + each.innerText);
}"""


def test_a_page_that_nobody_looks_at_asks_nothing(desk: Desk, enter: Enter) -> None:
    request = desk.ask()
    page = enter("bob", desk.link(request))
    asked: list[str] = []
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    # What was asked before that is told before this.
    page.on("request", lambda sent: asked.append(sent.url))
    page.evaluate("() => new Promise((done) => htmx.on('htmx:beforeRequest', done))")
    assert asked == []
    page.evaluate("delete document.hidden")
    with page.expect_request("**/now?*"):
        pass
    desk.withdraw(request)


def test_logging_out_ends_the_session_wherever_its_cookie_went(desk: Desk, enter: Enter, states: dict[str, Any]) -> None:
    page = enter("dora", f"{desk.url}/approvals")
    kept = page.context.cookies()
    states.pop("dora")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in to go on")).to_be_visible()
    page.context.add_cookies(kept)  # type: ignore[arg-type]
    assert page.goto(f"{desk.url}/approvals").status == 401  # type: ignore[union-attr]
