from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.faults import Fault
from cli import ssh_config
from cli.home import Home
from tests.unit.cli.conftest import target

COMMAND = ["/opt/sally port/100%/bin/sallyport"]


def parsed(file: Path, host: str, *extra: str) -> dict[str, str]:
    """What the real ssh makes of it."""
    said = subprocess.run(["ssh", "-G", "-F", file, *extra, host], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


@pytest.fixture
def odd(tmp_path: Path) -> Home:
    return Home(tmp_path / "my home" / "50%")


def test_ssh_reads_what_we_mean(odd: Home, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(ssh_config.render([target(), target("db-1", logins=["admin"])], odd, COMMAND))
    seen = parsed(file, "prod-web")
    assert {
        name: seen[name]
        for name in ("user", "hostname", "hostkeyalias", "stricthostkeychecking", "identitiesonly", "forwardagent")
    } == {
        "user": "deploy",
        "hostname": "prod-web",
        "hostkeyalias": "prod-web.sallyport",
        "stricthostkeychecking": "true",
        "identitiesonly": "yes",
        "forwardagent": "no",
    }
    assert seen["proxycommand"] == "'/opt/sally port/100%%/bin/sallyport' connect --fdpass --login '%r' prod-web"
    assert seen["preferredauthentications"] == "publickey"
    assert seen["controlmaster"] == "false"
    assert "controlpath" not in seen
    # Tokens are expanded when a file is opened; here the percent sign is still doubled.
    for name, path in {
        "identityfile": odd.key_file,
        "certificatefile": odd.certificate_file,
        "userknownhostsfile": odd.known_hosts_file,
    }.items():
        assert seen[name].strip('"').replace("%%", "%") == str(path)
    assert parsed(file, "db-1")["user"] == "admin"
    assert parsed(file, "prod-web", "-l", "root")["user"] == "root"
    assert "proxycommand" not in parsed(file, "prod-web-2")


def test_the_shell_gets_one_word_each(odd: Home, tmp_path: Path) -> None:
    program = tmp_path / "it is 100%" / "sallyport"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word; do echo "<$word>"; done >&2\n')
    program.chmod(0o755)
    file = tmp_path / "config"
    file.write_text(ssh_config.render([target()], odd, [str(program)]))
    ran = subprocess.run(["ssh", "-T", "-F", file, "-l", "x$HOME y", "prod-web"], capture_output=True, text=True, check=False)
    words = [line for line in ran.stderr.splitlines() if line.startswith("<")]
    assert words == ["<connect>", "<--fdpass>", "<--login>", "<x$HOME y>", "<prod-web>"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-oProxyCommand=x",
        "a b",
        "a\nHost *",
        "a\r",
        'a"',
        "a'",
        "a;b",
        "a%h",
        "a*",
        "!a",
        "a,b",
        "a$x",
        "a`x`",
        "ä",
        "x" * 254,
        "../a",
    ],
)
def test_a_name_that_ssh_could_misread_is_refused(odd: Home, name: str) -> None:
    with pytest.raises(Fault, match="cannot be written"):
        ssh_config.block(target(name, host_alias="a.sallyport"), odd, COMMAND)
    with pytest.raises(Fault, match="cannot be written"):
        ssh_config.block(target(host_alias=name), odd, COMMAND)
    if name not in ("a,b",):
        with pytest.raises(Fault, match="cannot be written"):
            ssh_config.block(target(logins=[name]), odd, COMMAND)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_server_adds_a_line(name: str, alias: str, login: str) -> None:
    expected = ssh_config.block(target(), Home(Path("/h")), ["/s"]).count("\n")
    try:
        text = ssh_config.block(target(name, host_alias=alias, logins=[login]), Home(Path("/h")), ["/s"])
    except Fault:
        return
    assert len(text.splitlines()) == expected


@pytest.mark.parametrize("path", ["/a'b/sallyport", '/a"b', "/a\nb", "/a\\b", "/a$b", "relative$"])
def test_a_path_that_cannot_be_quoted_is_refused(path: str) -> None:
    with pytest.raises(Fault, match="cannot be written"):
        ssh_config.block(target(), Home(Path("/h")), [path])


@pytest.mark.parametrize("path", ["/a'b", '/a"b', "/a\nb", "/a$b", "/a\\b"])
def test_a_home_that_cannot_be_quoted_is_refused(path: str) -> None:
    with pytest.raises(Fault, match="cannot be written"):
        ssh_config.block(target(), Home(Path(path)), ["/s"])


def test_no_name_hides_a_real_host(odd: Home) -> None:
    with pytest.raises(Fault, match="cannot be written"):
        ssh_config.render([target("github.com", host_alias="a.sallyport")], odd, COMMAND)


def test_only_ssh_targets_get_a_block(odd: Home) -> None:
    assert "Host" not in ssh_config.render([target("db", protocol="postgres")], odd, COMMAND)


def test_writing_twice_includes_once(odd: Home, tmp_path: Path) -> None:
    folder = tmp_path / "ssh"
    text = ssh_config.render([target()], odd, COMMAND)
    first, second = ssh_config.write(text, folder), ssh_config.write(text, folder)
    assert (first.included, second.included, first.hosts) == (True, False, ["prod-web"])
    assert (folder / "config").read_text().count("Include") == 1
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {"config": 0o600, "sallyport.conf": 0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert parsed(folder / "config", "prod-web")["hostkeyalias"] == "prod-web.sallyport"


def test_what_was_there_stays(odd: Home, tmp_path: Path) -> None:
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o755)
    theirs = b"# mine \xff\nHost *\n    User me\nHost prod-web\n    HostName 10.0.0.1\n"
    (folder / "config").write_bytes(theirs)
    (folder / "config").chmod(0o644)
    written = ssh_config.write(ssh_config.render([target()], odd, COMMAND), folder)
    assert (folder / "config").read_bytes().endswith(theirs)
    assert (folder / "config").stat().st_mode & 0o777 == 0o644
    assert written.shadowed == ["prod-web"]
    assert parsed(folder / "config", "prod-web")["user"] == "deploy"
    assert parsed(folder / "config", "other")["user"] == "me"


def test_an_include_below_a_host_does_not_count(odd: Home, tmp_path: Path) -> None:
    folder = tmp_path / "ssh"
    folder.mkdir()
    (folder / "config").write_text(f"Host somewhere\n  Include {folder}/sallyport.conf\n")
    assert ssh_config.write(ssh_config.render([target()], odd, COMMAND), folder).included


@pytest.mark.parametrize(
    "line",
    ["Include sallyport.conf", "include=sallyport.conf", 'INCLUDE "~/.ssh/sallyport.conf"', "Include a.conf sallyport.conf"],
)
def test_an_include_in_any_spelling_counts(odd: Home, tmp_path: Path, line: str) -> None:
    folder = tmp_path / "ssh"
    folder.mkdir()
    (folder / "config").write_text(f"# mine\n{line}\n")
    assert not ssh_config.write(ssh_config.render([target()], odd, COMMAND), folder).included


def test_a_linked_configuration_stays_linked(odd: Home, tmp_path: Path) -> None:
    folder, dotfiles = tmp_path / "ssh", tmp_path / "dotfiles"
    folder.mkdir()
    dotfiles.write_text("Host *\n")
    (folder / "config").symlink_to(dotfiles)
    ssh_config.write(ssh_config.render([target()], odd, COMMAND), folder)
    assert (folder / "config").is_symlink()
    assert dotfiles.read_text().startswith("Include ")


def test_the_usual_folder_is_included_by_its_short_name(odd: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALLYPORT_SSH_DIR")
    assert not ssh_config.is_written()
    ssh_config.write("", ssh_config.ssh_folder())
    assert (tmp_path / ".ssh/config").read_text() == "Include sallyport.conf\n"
    assert ssh_config.is_written()


def test_our_own_command_is_absolute() -> None:
    assert os.path.isabs(ssh_config.own_command()[0])  # noqa: PTH117
