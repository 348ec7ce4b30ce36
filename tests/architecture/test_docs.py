"""What the documents name is there: commands and their options, files, headings, codes, routes of the API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from agent.__main__ import main as agent
from agent.core.shell import model as shell_flags
from agent.core.sql import model as sql_flags
from agent.protocols.postgres.plugin import ANNOUNCEMENT as POSTGRES
from agent.protocols.ssh.plugin import ANNOUNCEMENT as SSH
from app import app
from chalicelib.contracts.faults import CODES
from chalicelib.domain import gateway_file, policy_files
from cli.__main__ import sallyport as sallyport

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS: dict[str, click.Group] = {"sallyport": sallyport, "sallyport-agent": agent}

#: Where a setting that is told may be read.
ROOMS = ("agent", "bench", "chalicelib", "cli", "infra", "tests")
READ = (".py", ".sh", ".yaml")

_COMMAND = re.compile(r"(?<![\w-])(sallyport(?:-agent)?) ([a-z][a-z-]*)([^|;&<>#]*)")
_OPTION = re.compile(r"(?<!\S)(--?[a-z][a-z-]*)")
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
_PATH = re.compile(r"`((?:agent|chalicelib|contracts|cli|infra|tests|bench|docs)/[\w./-]*[\w/])`")
_ROUTE = re.compile(r"`(GET|POST|PUT|DELETE) (/[^ ?`]*)")


def each_line() -> Iterator[tuple[str, Path, str]]:
    for page in PAGES:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            yield f"{page.relative_to(ROOT)}:{number}", page, line


def commands() -> Iterator[tuple[str, re.Match[str]]]:
    for where, _, line in each_line():
        typed = [line] if re.match(r"    (?:\w+(?:@\w+)? ?\$ )?\S*sallyport", line) else re.findall(r"`(sallyport[^`]+)`", line)
        for text in typed:
            yield from ((where, found) for found in _COMMAND.finditer(text))


def headings(page: Path) -> set[str]:
    """Return the anchors of ``page``, as they are made on the pages where people read it."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def test_commands_and_their_options_exist() -> None:
    missing, seen = [], 0
    for where, found in commands():
        group = PROGRAMS[found[1]]
        command = group.get_command(click.Context(group), found[2])
        if command is None:
            missing.append(f"{where}: {found[0]}")
            continue
        seen += 1
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        # Behind -- stand the words of another program.
        typed = set(_OPTION.findall(found[3].split(" -- ")[0]))
        missing += [f"{where}: {found[1]} {found[2]} {option}" for option in typed - options]
    assert missing == []
    assert seen > 50


def test_links_lead_somewhere() -> None:
    broken = []
    for where, page, line in each_line():
        for name, heading in _LINK.findall(line):
            if name.startswith(("http:", "https:")):
                continue
            target = page.parent / name if name else page
            if not target.exists() or (heading and heading not in headings(target)):
                broken.append(f"{where}: {name}#{heading}")
    assert broken == []


def test_files_of_the_repository_exist() -> None:
    named = [(where, path) for where, _, line in each_line() for path in _PATH.findall(line)]
    # By their beginning: `docs/adr/0015` will do.
    assert [each for each in named if not any([*ROOT.glob(f"{each[1]}*"), *ROOT.glob(f"chalicelib/{each[1]}*")])] == []
    assert len(named) > 20


def test_every_page_can_be_found() -> None:
    """From the README, by links."""
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        ahead += [(page.parent / name).resolve() for name, _ in _LINK.findall(page.read_text()) if name and "://" not in name]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def test_the_index_leads_to_every_page_at_once() -> None:
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / name).resolve() for name, _ in _LINK.findall(index.read_text()) if name}
    pages = {page for page in PAGES if page.parent.name != "adr"} | {ROOT / "docs/adr/README.md"}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - named - {index, ROOT / "README.md"}) == []


def test_every_decision_is_listed_under_its_title() -> None:
    listed = re.findall(r"^\| \[(\d+)\]\(([^)]+)\) \| (.*) \|$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE)
    pages = sorted((ROOT / "docs/adr").glob("0*.md"))
    titles = [(page.name, page.read_text().partition("\n")[0]) for page in pages]
    assert [(name, f"# {number} {title}") for number, name, title in listed] == titles


def test_what_make_is_told_to_make_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {
        (where, name) for where, _, line in each_line() for name in re.findall(r"(?:^    |`|^    \S+=\S+ )make ([a-z-]+)", line)
    }
    assert {each for each in told if each[1] not in targets} == set()
    assert len(told) > 10


def test_modules_that_are_run_are_there() -> None:
    told = {(where, name) for where, _, line in each_line() for name in re.findall(r"python -m ([a-z_.]+)", line)} - {
        ("", "pytest")
    }
    ours = {(where, name) for where, name in told if name.split(".")[0] in {"agent", "bench", "cli", "infra"}}
    paths = {(where, ROOT.joinpath(*name.split("."))) for where, name in ours}
    assert {each for each in paths if not (each[1].with_suffix(".py").exists() or (each[1] / "__main__.py").exists())} == set()
    assert len(ours) > 2


def test_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    table = re.findall(r"^\| (`.*?) \|", text.partition("## What holds")[0], re.MULTILINE)
    told = [name for cell in table for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(told) == sorted(sallyport.list_commands(click.Context(sallyport)))


def test_settings_of_the_environment_are_read_somewhere() -> None:
    told = {(where, name) for where, _, line in each_line() for name in re.findall(r"\b((?:SALLYPORT|DEMO)_[A-Z_]+)\b", line)}
    files = [*ROOT.glob("*.py"), *(path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in READ)]
    code = "\n".join(path.read_text() for path in files)
    assert {each for each in told if each[1] not in code} == set()
    assert len(told) > 5


def blocks(language: str) -> list[tuple[str, str]]:
    """Return every block of ``language``: where it begins, and its text."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    texts = [(page.relative_to(ROOT), page.read_text()) for page in PAGES]
    return [
        (f"{page}:{text.count(chr(10), 0, found.start()) + 1}", found[1])
        for page, text in texts
        for found in fence.finditer(text)
    ]


def test_rules_are_what_plan_accepts() -> None:
    wrong = []
    for where, text in blocks("cedar"):
        rules, problems = policy_files.parse("docs.cedar", text)
        found = [*problems, *policy_files.check_together(rules)]
        wrong += [f"{where}: line {problem.line}: {problem.message}" for problem in found]
    assert wrong == []
    assert len(blocks("cedar")) > 10


def test_targets_are_what_plan_accepts() -> None:
    shown = [(where, text) for where, text in blocks("yaml") if "targets:" in text]
    wrong = []
    for where, text in shown:
        targets, problems = gateway_file.parse(text if "version:" in text else f"version: 1\n{text}")
        wrong += [f"{where}: {problem.message}" for problem in problems]
        assert targets, where
    assert wrong == []
    assert len(shown) > 1


def test_every_code_is_told_once() -> None:
    told = re.findall(r"^\| \d+ \| `([a-z_]+)`", (ROOT / "docs/reference/exit-codes.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(CODES)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_the_api_is_the_one_that_is_told(method: str) -> None:
    text = (ROOT / "docs/reference/http-api.md").read_text()
    told = {nameless(path) for verb, path in _ROUTE.findall(text) if verb == method}
    assert told == {nameless(path) for path, entries in app.routes.items() if method in entries}


def nameless(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_a_rule_can_look_at_what_the_documents_say() -> None:
    page = (ROOT / "docs/reference/policies.md").read_text()
    for known in (shell_flags.FLAGS, sql_flags.FLAGS):
        assert not [flag for flag, words in known.items() if f"| `{flag}` | {words} |" not in page]
    listed = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert not [flag for protocol in (SSH, POSTGRES) for flag in protocol.flags if flag not in listed]
    looked = {(path, flag) for path in PAGES for flag in re.findall(r'flags\.contains\("(\w+)"\)', path.read_text())}
    assert len(looked) > 4
    assert not [(path.name, flag) for path, flag in looked if flag not in listed]
