"""The whole way with both people at their own screens: psql waits, Chromium logs in and presses the button, psql goes on."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.conftest import World
from tests.e2e.test_approvals import psql
from tests.integration.pages.conftest import log_in
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

NOTE = "update customers set note = 'agreed from a browser' where id = 2"
EVERYWHERE = "update customers set note = 'refused from a browser'"


@pytest.fixture
def page() -> Iterator[Page]:
    # Not shared with other tests: while Playwright runs, this thread has an event loop.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(HANG_S * 1000)
        yield page
        browser.close()


def waits(world: World, statement: str = NOTE) -> tuple[subprocess.Popen[str], str]:
    """Start alice's psql. Returns it with the link that it shows her while it waits."""
    process = subprocess.Popen(
        world.alice.command(psql("-c", statement, "-c", "select note from customers where id = 2")),
        env=world.alice.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "/approvals/req_" in line)
    return process, line.split(" to agree: ")[1].split(" ")[0]


def kept(world: World) -> str:
    return world.stack.database.ask("select note from customers where id = 2")


def test_a_statement_runs_when_somebody_presses_the_button(world: World, page: Page) -> None:
    before = kept(world)
    process, link = waits(world)
    page.goto(link)
    log_in(page, "carol")
    assert page.url == link, "the login leads back to what was asked"
    expect(page.get_by_text(NOTE, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile("First time here: .* UPDATE"))).to_be_visible()
    # A server that does not plan it in time is no reason to let anybody wait.
    expect(
        page.get_by_text(re.compile(r"EXPLAIN estimates \d+ rows?\.|How many rows it concerns is not known\."))
    ).to_be_visible()
    assert kept(world) == before
    assert process.poll() is None
    page.get_by_role("button", name="Approve").click()
    out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (0, "UPDATE 1\nagreed from a browser\n"), err
    assert kept(world) == "agreed from a browser"
    expect(page.locator("#standing .now .badge")).to_have_text("Approved and used")
    world.stack.database.ask(f"update customers set note = '{before}' where id = 2")


def test_a_denial_from_a_browser_is_an_error_in_psql_and_nothing_ran(world: World, page: Page) -> None:
    before = kept(world)
    process, link = waits(world, EVERYWHERE)
    page.goto(link)
    log_in(page, "carol")
    expect(page.get_by_text("There is no WHERE clause: every row is concerned.")).to_be_visible()
    page.get_by_label("Reason").fill("Not before lunch.")
    page.get_by_role("button", name="Deny").click()
    _, err = process.communicate(timeout=HANG_S)
    assert "ERROR:  sallyport: carol@example.com said no: Not before lunch." in err
    assert kept(world) == before
