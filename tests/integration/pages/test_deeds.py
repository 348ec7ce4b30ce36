"""What people do on a request's page besides answering it: withdraw, take back, review an emergency. In Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.integration.pages.conftest import Desk, Enter, operation
from tests.integration.pages.test_pages import CONTRAST, PHONE, badge

pytestmark = pytest.mark.servers


@pytest.fixture
def grant(desk: Desk, enter: Enter) -> Iterator[dict[str, Any]]:
    """An hour of access that bob has agreed to."""
    request = desk.access(for_s=3600, reason="an hour at the database")
    page = enter("bob", desk.link(request))
    page.get_by_role("button", name="Approve").click()
    expect(badge(page)).to_have_text("Approved")
    page.close()
    yield request
    desk.alice.call("POST", f"/requests/{request['rid']}/revoke", {})


@pytest.fixture
def emergency(desk: Desk) -> Iterator[dict[str, Any]]:
    request = desk.access(emergency=True, reason="the site is down")
    yield request
    desk.alice.call("POST", f"/requests/{request['rid']}/revoke", {})


def token(page: Page) -> str:
    return page.locator('input[name="csrf"]').first.input_value()


class TestWithdraw:
    def test_whoever_asked_withdraws_and_the_approvers_page_says_so(self, desk: Desk, enter: Enter) -> None:
        request = desk.ask()
        mine, theirs = enter("alice", desk.link(request)), enter("bob", desk.link(request))
        expect(theirs.get_by_role("button", name="Withdraw my request")).to_have_count(0)
        mine.get_by_role("button", name="Withdraw my request").click()
        expect(badge(mine)).to_have_text("Withdrawn")
        expect(mine.get_by_role("button", name="Withdraw my request")).to_have_count(0)
        expect(badge(theirs)).to_have_text("Withdrawn")
        expect(theirs.locator("form.answer")).to_have_count(0)
        assert desk.now(request)["state"] == "withdrawn"
        # After the post the browser is on the page itself: loading it again sends nothing again.
        assert mine.url == desk.link(request)

    def test_nobody_else_does(self, desk: Desk, enter: Enter) -> None:
        request = desk.ask()
        page = enter("bob", desk.link(request))
        ours = {"Origin": desk.url}
        answer = page.request.post(f"{desk.link(request)}/withdraw", form={"csrf": token(page)}, headers=ours)
        assert (answer.status, "Only whoever asked" in answer.text()) == (403, True)
        assert desk.now(request)["state"] == "pending"
        desk.withdraw(request)

    def test_it_comes_too_late(self, desk: Desk, enter: Enter) -> None:
        request = desk.ask()
        mine, theirs = enter("alice", desk.link(request)), enter("bob", desk.link(request))
        mine.route("**/now?*", lambda route: route.fulfill(status=204))
        theirs.get_by_role("button", name="Approve").click()
        expect(badge(theirs)).to_have_text("Approved")
        mine.get_by_role("button", name="Withdraw my request").click()
        expect(mine.get_by_role("alert")).to_contain_text("approved already")
        expect(badge(mine)).to_have_text("Approved")


class TestTakeBack:
    def test_an_approver_takes_a_grant_back_and_its_session_ends(self, desk: Desk, enter: Enter, grant: dict[str, Any]) -> None:
        status, offer = desk.alice.call("POST", "/sessions", {"target": "db-1"})
        assert status == 200, offer
        page = enter("bob", desk.link(grant))
        expect(page.get_by_role("button", name="Take it back")).not_to_be_visible()
        page.get_by_text("Take this approval back").click()
        page.get_by_label("Reason").fill("The incident is over.")
        page.get_by_role("button", name="Take it back").click()
        expect(badge(page)).to_have_text("Taken back")
        expect(page.locator("#standing")).to_contain_text("The incident is over.")
        assert (desk.standing(grant)["state"], desk.standing(grant)["answer"]) == ("revoked", "The incident is over.")
        assert desk.alice.call("GET", f"/sessions/{offer['sid']}")[1]["state"] == "killed"
        assert desk.alice.call("POST", "/sessions", {"target": "db-1"})[1]["error"]["code"] == "approval_required"

    def test_its_owner_gives_it_back(self, desk: Desk, enter: Enter, grant: dict[str, Any]) -> None:
        page = enter("alice", desk.link(grant))
        page.get_by_text("I do not need it any more").click()
        page.get_by_role("button", name="Give it back").click()
        expect(badge(page)).to_have_text("Taken back")
        assert desk.standing(grant)["state"] == "revoked"

    def test_a_yes_that_was_not_used_yet_is_taken_back(self, desk: Desk, enter: Enter) -> None:
        request = desk.ask()
        page = enter("bob", desk.link(request))
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("Take this approval back").click()
        page.get_by_role("button", name="Take it back").click()
        expect(badge(page)).to_have_text("Taken back")
        assert desk.use(request)[1]["error"]["code"] == "approval_revoked"

    def test_what_is_used_up_or_waits_offers_nothing_to_take_back(self, desk: Desk, enter: Enter) -> None:
        request = desk.ask()
        page = enter("bob", desk.link(request))
        expect(page.get_by_text("Take this approval back")).to_have_count(0)
        ours = {"Origin": desk.url}
        early = page.request.post(f"{desk.link(request)}/revoke", form={"csrf": token(page)}, headers=ours)
        assert (early.status, "Nobody has said yes" in early.text()) == (409, True)
        page.get_by_role("button", name="Approve").click()
        expect(badge(page)).to_have_text("Approved")
        assert desk.use(request)[0] == 200
        expect(badge(page)).to_have_text("Approved and used")
        expect(page.get_by_text("Take this approval back")).to_have_count(0)


class TestReview:
    def test_somebody_else_reviews_and_says_why(self, desk: Desk, enter: Enter, emergency: dict[str, Any]) -> None:
        page = enter("dora", f"{desk.url}/approvals")
        page.get_by_role("heading", name="Emergencies to be reviewed").wait_for()
        page.locator(f'a[href*="{emergency["rid"]}"]').click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Emergency of")
        page.get_by_role("button", name="Not justified").click()
        assert page.evaluate("document.activeElement.id") == "note", "the browser asks for the note"
        page.get_by_label("Note").fill("Call the on-call DBA first.")
        page.get_by_role("button", name="Not justified").click()
        expect(page.locator("#standing")).to_contain_text("✗ Not justified, says dora@example.com")
        expect(page.locator("#standing")).to_contain_text("Call the on-call DBA first.")
        expect(page.get_by_role("button", name="Justified", exact=True)).to_have_count(0)
        review = desk.standing(emergency)["review"]
        assert (review["reviewer"], review["justified"], review["comment"]) == (
            "dora@example.com",
            False,
            "Call the on-call DBA first.",
        )
        # It is still good: a review judges, and taking back is another button.
        expect(page.get_by_text("Take this approval back")).to_be_visible()

    def test_nobody_reviews_their_own_and_nobody_twice(self, desk: Desk, enter: Enter, emergency: dict[str, Any]) -> None:
        mine, theirs = enter("alice", desk.link(emergency)), enter("bob", desk.link(emergency))
        expect(mine.get_by_role("button", name="Justified", exact=True)).to_have_count(0)
        expect(mine.get_by_text("Somebody of those who would have been asked reviews it.")).to_be_visible()
        said = {"answer": "justified", "comment": "It was down."}
        ours = {"Origin": desk.url}
        own = mine.request.post(f"{desk.link(emergency)}/review", form=said | {"csrf": token(mine)}, headers=ours)
        assert own.status == 403
        for changed, status in (({"comment": " "}, 400), ({"answer": "perhaps"}, 400), ({"csrf": "A" * 43}, 403)):
            form = said | {"csrf": token(theirs)} | changed
            assert theirs.request.post(f"{desk.link(emergency)}/review", form=form, headers=ours).status == status
        assert desk.standing(emergency).get("review") is None
        theirs.get_by_label("Note").fill("It was down.")
        theirs.get_by_role("button", name="Justified", exact=True).click()
        expect(theirs.locator("#standing")).to_contain_text("✓ Justified, says bob@example.com")
        again = theirs.request.post(f"{desk.link(emergency)}/review", form=said | {"csrf": token(theirs)}, headers=ours)
        assert (again.status, "has reviewed it" in again.text()) == (409, True)


@pytest.mark.parametrize("deed", ["withdraw", "revoke", "review"])
def test_a_deed_comes_from_the_page_it_was_made_on(desk: Desk, enter: Enter, grant: dict[str, Any], deed: str) -> None:
    """From another site, with another session's token, or as a link, nothing happens; the twins are the tests above."""
    waiting = desk.ask()
    request = waiting if deed == "withdraw" else grant
    page, other = enter("alice", desk.link(request)), enter("dora", f"{desk.url}/approvals")
    path, right = f"{desk.link(request)}/{deed}", {"csrf": token(page), "comment": "x", "answer": "justified"}
    tries: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {"Origin": "https://evil.example"}),
        ({}, {}),
        ({}, {"Origin": desk.url, "Sec-Fetch-Site": "same-site"}),
        ({"csrf": token(other)}, {"Origin": desk.url}),
        ({"csrf": ""}, {"Origin": desk.url}),
    ]
    before = desk.standing(request)
    for changed, headers in tries:
        assert page.request.post(path, form=right | changed, headers=headers).status == 403  # type: ignore[arg-type]
    assert page.request.get(path, params=right).status in (403, 405)  # type: ignore[arg-type]
    assert desk.standing(request) == before
    desk.withdraw(waiting)


def test_what_is_typed_into_a_deed_survives_news(desk: Desk, enter: Enter, emergency: dict[str, Any]) -> None:
    page = enter("bob", desk.link(emergency))
    page.get_by_label("Note").fill("I am still wri")
    assert desk.alice.call("POST", "/sessions", {"target": "db-1", "approval": emergency["rid"]})[0] == 200
    expect(badge(page)).to_have_text("Approved and used")
    expect(page.get_by_label("Note")).to_have_value("I am still wri")


def test_a_keyboard_takes_back(desk: Desk, enter: Enter, grant: dict[str, Any]) -> None:
    page = enter("bob", desk.link(grant))
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
        if reached[-1] == "Take this approval back":
            page.keyboard.press("Enter")
        if reached[-1] == "Take it back":
            break
    assert reached[-3:] == ["Take this approval back", "why-back", "Take it back"]
    page.keyboard.press("Enter")
    expect(badge(page)).to_have_text("Taken back")


def test_a_screen_reader_hears_what_each_form_does(desk: Desk, enter: Enter, emergency: dict[str, Any]) -> None:
    page = enter("bob", desk.link(emergency))
    page.get_by_text("Take this approval back").click()
    for name in ("Was it justified?", "Take back"):
        expect(page.get_by_role("form", name=name)).to_have_count(1)
    for name in ("Note (stays with the emergency)", "Reason (may be empty; whoever asked reads it)"):
        expect(page.get_by_role("textbox", name=name)).to_have_count(1)
    request = desk.ask()
    expect(enter("alice", desk.link(request)).get_by_role("form", name="Withdraw")).to_have_count(1)
    desk.withdraw(request)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_buttons(desk: Desk, enter: Enter, emergency: dict[str, Any], scheme: str) -> None:
    request = desk.ask(operation(text="DROP TABLE small"))
    page = enter("bob", desk.link(emergency), color_scheme=scheme, **PHONE)
    page.get_by_text("Take this approval back").click()
    mine = enter("alice", desk.link(request), color_scheme=scheme, **PHONE)
    for shown, names in ((page, ("Justified", "Not justified", "Take it back")), (mine, ("Withdraw my request",))):
        assert shown.evaluate("document.documentElement.scrollWidth") <= 360
        for name in names:
            box = shown.get_by_role("button", name=name, exact=True).bounding_box()
            assert box is not None
            assert box["height"] >= 44
            assert box["x"] + box["width"] <= 360
        assert shown.evaluate(CONTRAST) == []
    desk.withdraw(request)
