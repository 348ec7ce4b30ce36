"""The approvers' pages in a real browser, around the real application with an agent that can hold operations."""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from websockets.sync.client import connect

from chalicelib.contracts.operation import Operation
from infra.local.cloud import EmbeddedCloud
from infra.local.people import Person as Account
from tests.integration.control.conftest import FILES, enrolled
from tests.integration.control.parties import PROTOCOL, Api, Person
from tests.patience import HANG_S

# A page asks for news every few seconds; on a busy machine five, the default, are not enough for two of these.
expect.set_options(timeout=HANG_S * 1000)

POLICY = """
@id("drop") @message("A DBA has to agree before tables are dropped.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") }
unless { context.approvals.contains("dba") };
@id("truncate") @message("Two DBAs have to agree.") @approval("group:dba quorum:2 ttl:10m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("TRUNCATE") }
unless { context.approvals.contains("dba") };
@id("vacuum") @message("Quickly.") @approval("group:dba ttl:3s")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("VACUUM") }
unless { context.approvals.contains("dba") };
@id("db") @message("A DBA has to agree.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"connect", resource == Target::"db-1") unless { context.approvals.contains("dba") };
@id("on-call") permit(principal in Group::"sre", action == Action::"emergency", resource == Target::"db-1");
@id("dbas") permit(principal in Group::"dba", action == Action::"approve", resource);
"""
DB = FILES["gateway.yaml"].split("targets:\n")[1].replace("web-1", "db-1")
HOLDING = PROTOCOL | {
    "controls": [each | ({"enforced": True} if each["name"] == "hold" else {}) for each in PROTOCOL["controls"]]  # type: ignore[attr-defined]
}


def operation(verb: str = "DROP", text: str = "DROP TABLE orders", **changed: Any) -> Operation:
    fields: dict[str, Any] = {"kind": "query", "text": text, "effects": frozenset({"admin"}), "verbs": frozenset({verb})}
    return Operation(**(fields | changed))


class Desk:
    """Alice works, and the agent asks for what she runs. Bob and dora are DBAs, alicia is alice's second account."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud, self.api, self.url = cloud, Api(cloud.http_url), cloud.http_url
        cloud.idp.add(Account("dora", ("dba",)))
        cloud.idp.add(Account("ada", ("sre", "dba")))
        self.alice, self.ada, admin = (Person(self.api, name).login() for name in ("alice", "ada", "pat"))
        self.agent = enrolled(self.api, admin, "edge")
        assert self.agent.call("/agent/announce", {"protocols": [HOLDING], "credentials": ["web-key"]})[0] == 200
        files = FILES | {"gateway.yaml": FILES["gateway.yaml"] + DB, "ask.cedar": POLICY}
        status, plan = admin.call("POST", "/config/apply", {"files": files})
        assert status == 200, plan
        self.admin = admin
        # Nobody reads what this agent hears; without a bound on what waits, closing does not wait for somebody to.
        self.open = contextlib.ExitStack()
        self.open.enter_context(connect(cloud.ws_url, additional_headers=self.agent.headers("control"), max_queue=None))
        self._live: dict[str, str] = {}

    def live(self, who: Person) -> str:
        """Return a session of theirs, the same every time."""
        if who.username not in self._live:
            self._live[who.username] = self._open(who)
        return self._live[who.username]

    def _open(self, who: Person) -> str:
        status, offer = who.call("POST", "/sessions", {"target": "web-1", "reason": "ticket 4711"})
        assert status == 200, offer
        assert self.agent.call(f"/agent/sessions/{offer['sid']}/claim", {"path": "relay"})[0] == 200
        return str(offer["sid"])

    def ask(self, what: Operation | None = None, who: Person | None = None, **more: Any) -> dict[str, Any]:
        """Hold an operation; return the request."""
        asked = {"operation": msgspec.to_builtins(what or operation()), "reason": "ticket 4711"} | more
        status, found = self.agent.call(f"/agent/sessions/{self.live(who or self.alice)}/requests", asked)
        assert status == 200, found
        return dict(found["request"])

    def access(self, **more: Any) -> dict[str, Any]:
        """Let alice ask for access to db-1; return the request."""
        status, found = self.alice.call("POST", "/requests", {"target": "db-1", "reason": "ticket 4711"} | more)
        assert status == 200, found
        return dict(found["request"])

    def standing(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as whoever asked sees it."""
        status, found = self.alice.call("GET", f"/requests/{request['rid']}")
        assert status == 200, found
        return dict(found["request"])

    def now(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as its agent sees it."""
        path = f"/agent/sessions/{request['sid']}/requests/{request['rid']}"
        status, found = self.api.call("GET", path, None, self.agent.proof("GET", path))
        assert status == 200, found
        return dict(found["request"])

    def use(self, request: dict[str, Any], key: str = "one") -> tuple[int, Any]:
        path = f"/agent/sessions/{request['sid']}/requests/{request['rid']}/use"
        return self.agent.call(path, {"digest": request["digest"], "key": key})

    def withdraw(self, request: dict[str, Any]) -> None:
        """End it, so that other tests find an empty inbox."""
        self.agent.call(f"/agent/sessions/{request['sid']}/requests/{request['rid']}/withdraw", {})

    def link(self, request: dict[str, Any]) -> str:
        return f"{self.url}/approvals/{request['rid']}"


@pytest.fixture(scope="package")
def desk() -> Iterator[Desk]:
    with EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud:
        made = Desk(cloud)
        yield made
        made.open.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "install Chromium (infra/steps/setup.sh test)"
    with sync_playwright() as playwright:
        # A container has no user namespaces for the browser's own sandbox; it loads pages of this test only.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


Enter = Callable[..., Page]


@pytest.fixture(scope="package")
def states() -> dict[str, Any]:
    """Cookies of people who logged in before, so that most tests need not."""
    return {}


@pytest.fixture
def enter(desk: Desk, chromium: Browser, states: dict[str, Any]) -> Iterator[Enter]:
    """Open a page as somebody, in a browser of their own. What a page complains about on its console is a failure."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(username: str, url: str, **options: Any) -> Page:
        context = chromium.new_context(storage_state=states.get(username), **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(HANG_S * 1000)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        if username not in states:
            log_in(page, username)
            states[username] = context.storage_state()
        return page

    yield opened
    for context in contexts:
        context.close()
    # A status of 400 or more is told on the console too, and tests ask for those on purpose.
    assert [each for each in complaints if "Failed to load resource" not in each] == []


def log_in(page: Page, username: str) -> None:
    """From the page that asks for a login through the identity provider and back."""
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name=username.capitalize()).click()
    page.get_by_role("navigation", name="Approvals").wait_for()
