"""One target, a list of modes, and people whom policy gives different ones. Stock ssh, the real agent, real sshd and shells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from infra.demo.stack import Person, must
from tests.e2e.conftest import World
from tests.e2e.test_watching import live, terminal, text
from tests.fakes.gateway_yaml import ssh_target
from tests.patience import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("e2e")]

GUARDED = "every line is decided before it runs, and recorded"
LOCKED = "locked shell: every line is edited here, decided before it leaves the gateway, and recorded"
BANNERS = {"pat": GUARDED, "alice": LOCKED}
ENGINEERS = 'forbid (principal in Group::"engineering", action == Action::"run", resource == Target::"shells")'
RULES = f"""
@id("engineers-are-locked") @message("Engineers type at the gateway.")
{ENGINEERS} when {{ context.kind == "shell" && context.flags.contains("guarded") }};

@id("auditors-run-commands")
permit (principal in Group::"auditors", action in [Action::"connect", Action::"run"], resource == Target::"shells");

@id("auditors-have-no-shell") @message("Auditors read recordings.")
forbid (principal in Group::"auditors", action == Action::"run", resource == Target::"shells") when {{ context.kind == "shell" }};
"""


@pytest.fixture(scope="module")
def gateway(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The world's configuration with one more target, which lists two modes, and rules about them."""
    pat, before = world.stack.person("pat"), world.stack.folder / "gateway"
    must(pat.login(world.stack.url))
    folder = tmp_path_factory.mktemp("modes") / "gateway"
    shutil.copytree(before, folder)
    target = world.stack.target
    more = ssh_target(
        "shells", target.port, target.host_key, [target.account], shell=["guarded", "locked"], require=["record", "block"]
    )
    file = folder / "gateway.yaml"
    file.write_text(file.read_text() + more)
    (folder / "shells.cedar").write_text(RULES)
    must(pat.run(["sallyport", "apply", "--yes", str(folder)]))
    yield folder
    must(pat.run(["sallyport", "apply", "--yes", str(before)]))


@pytest.fixture(scope="module")
def people(world: World, gateway: Path) -> dict[str, Person]:
    """Alice is an engineer, pat is not, carol is one whom another rule gives no shell at all."""
    found = {name: world.stack.person(name) for name in ("pat", "carol")} | {"alice": world.alice}
    for name, person in found.items():
        if name != "alice":
            must(person.login(world.stack.url))
        must(person.run(["sallyport", "ssh-config", "--write"]))
    return found


@contextmanager
def shell(person: Person) -> Iterator[pexpect.spawn[str]]:
    with terminal(person, ["ssh", "-tt", "shells"]) as process:
        yield process


def leave(process: pexpect.spawn[str]) -> None:
    process.send("exit\r")
    process.expect(pexpect.EOF)


@pytest.mark.parametrize("name", BANNERS)
def test_policy_gives_each_person_their_own_mode(people: dict[str, Person], scratch: Path, name: str) -> None:
    person = people[name]
    (scratch / "kept").mkdir()
    with shell(person) as process:
        process.expect(r"sallyport: ([^\r\n]*)\r\n")
        sid = live(person, "shells")
        # One line says what is recorded and under which session.
        assert process.match[1] == f"{BANNERS[name]} ({sid})"  # type: ignore[index]
        process.send("echo be''fore\r")
        text(process, "before")
        process.send(f"rm -r {scratch / 'kept'}\r")
        text(process, "a second pair of eyes. (denied, ")
        process.send("echo af''ter\r")
        text(process, "after")
        leave(process)
    assert (scratch / "kept").exists()
    told = until(lambda: _told(person, sid), "its recording is there")
    assert BANNERS[name] in told
    for line in ("echo be''fore", f"rm -r {scratch / 'kept'}", "echo af''ter"):
        assert line in told


def _told(person: Person, sid: str) -> str:
    told = person.run(["sallyport", "replay", sid, "--text"])
    return told.stdout if "exit" in told.stdout else ""


def test_where_every_mode_is_forbidden_there_is_no_shell(people: dict[str, Person]) -> None:
    with shell(people["carol"]) as process:
        process.expect(pexpect.EOF)
        said = process.before or ""
    assert "Auditors read recordings." in said
    assert "(denied, " in said
    assert GUARDED not in said
    assert LOCKED not in said
    # The twin: commands are hers.
    assert must(people["carol"].run(["ssh", "shells", "echo in"])).stdout == "in\n"


def test_another_policy_gives_another_mode(people: dict[str, Person], gateway: Path, tmp_path: Path) -> None:
    pat = people["pat"]
    folder = tmp_path / "gateway"
    shutil.copytree(gateway, folder)
    rules = folder / "shells.cedar"
    assert ENGINEERS in rules.read_text()
    rules.write_text(rules.read_text().replace(ENGINEERS, ENGINEERS.replace("engineering", "platform")))
    try:
        must(pat.run(["sallyport", "apply", "--yes", str(folder)]))
        for name, banner in (("pat", LOCKED), ("alice", GUARDED)):
            with shell(people[name]) as process:
                text(process, banner)
                leave(process)
    finally:
        must(pat.run(["sallyport", "apply", "--yes", str(gateway)]))


@pytest.mark.parametrize("modes", ['["guarded", "recorded"]', '["recorded", "locked"]', '"recorded"'])
def test_a_list_with_a_mode_that_cannot_block_is_refused(
    people: dict[str, Person], gateway: Path, tmp_path: Path, modes: str
) -> None:
    folder = tmp_path / "gateway"
    shutil.copytree(gateway, folder)
    file = folder / "gateway.yaml"
    listed = '"shell": ["guarded", "locked"]'
    assert file.read_text().count(listed) == 1
    file.write_text(file.read_text().replace(listed, f'"shell": {modes}'))
    for verb in (["plan"], ["apply", "--yes"]):
        answer = people["pat"].run(["sallyport", *verb, str(folder)])
        said = answer.stdout + answer.stderr
        assert answer.returncode == 6, said
        assert "target shells cannot enforce block: in a recorded shell, commands are seen only after they ran" in said
    # The twin: nothing was applied, and what is in force opens as before.
    with shell(people["alice"]) as process:
        text(process, LOCKED)
        leave(process)
