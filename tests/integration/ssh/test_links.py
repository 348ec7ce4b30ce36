"""Links on the target's disk: policy decides where they lead, with real sftp and scp and the target's own file server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.plugin_listener import Ran, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for

pytestmark = pytest.mark.servers

ALLOW = "permit(principal, action, resource);"


@pytest.fixture
async def tree(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> Path:
    """A vault that no transfer may touch, and beside it an open room with links of every kind."""
    root = tmp_path
    (root / "vault" / "deep").mkdir(parents=True)
    (root / "vault" / "key").write_text("the key")
    (root / "open" / "inside").mkdir(parents=True)
    (root / "open" / "note").write_text("a note")
    for name, content in {
        "file": root / "vault" / "key",
        "folder": root / "vault",
        "relative": Path("../vault/key"),
        "twice": Path("file"),
        "dangling": root / "vault" / "new",
        "harmless": Path("note"),
        "room": Path("inside"),
    }.items():
        (root / "open" / name).symlink_to(content)
    closed = (
        f'@message("The vault is closed.") forbid(principal, action == Action::"transfer", resource) '
        f'when {{ context.text like "* {root}/vault*" }};'
    )
    gateway.serving = serving_for(sshd, ALLOW, closed)
    return root


def names(root: Path) -> list[str]:
    return sorted(str(each) for each in root.rglob("*"))


async def sftp(gateway: Gateway, line: str) -> Ran[bytes]:
    return await run(gateway.batch("sftp", "-b", "-", "web@127.0.0.1"), line.encode() + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        "get {open}/file {out}",
        "get {open}/relative {out}",
        "get {open}/twice {out}",
        "get {open}/folder/key {out}",
        "get {open}/folder/../vault/key {out}",
        "reget {open}/file {out}",
        "put {note} {open}/file",
        "put {note} {open}/dangling",
        "put {note} {open}/folder/planted",
        "reput {note} {open}/file",
        "put -a {note} {open}/file",
        "ls {open}/folder",
        "ls -l {open}/folder/",
        "cd {open}/folder",
        "rm {open}/folder/key",
        "rmdir {open}/folder/deep",
        "mkdir {open}/folder/made",
        "rename {open}/note {open}/folder/moved",
        "rename {open}/folder/key {open}/moved",
        "ln {open}/file {open}/hard",
        "ln -s {open}/folder/key {open}/soft",
        "ln -s folder/key {open}/soft",
        "chmod 777 {open}/file",
        "chmod -h 777 {open}/folder/key",
        "df {open}/folder",
        "copy {open}/file {open}/copied",
    ],
)
async def test_a_link_into_the_vault_is_as_closed_as_the_vault(gateway: Gateway, tree: Path, line: str) -> None:
    before = names(tree)
    out = tree / "out"
    out.write_text("")
    ran = await sftp(gateway, line.format(open=tree / "open", note=tree / "open" / "note", out=out))
    # A listing that may not look inside shows the link's own name.
    assert ran.status == 1 or line.startswith("ls "), ran
    assert b"The vault is closed." in ran.err
    assert b"/key\n" not in ran.out.replace(line.format(open=tree / "open", note="", out=out).encode(), b"")
    out_bytes = out.read_bytes()
    out.unlink()
    assert out_bytes == b""
    assert names(tree) == before
    assert (tree / "vault" / "key").read_text() == "the key"
    assert (tree / "vault" / "key").stat().st_mode & 0o777 != 0o777
    await gateway.idle()
    lines = gateway.serving.recorder.lines(1, "jsonl")
    denied = [each for each in lines if each.get("event") == "operation" and each["verdict"] == "denied"]
    assert denied
    assert all("symlink" in each["flags"] or "vault" in line for each in denied)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("get {open}/harmless {out}", "out"),
        ("put {note} {open}/harmless", "open/note"),
        ("put {note} {open}/room/new", "open/inside/new"),
        ("rm {open}/file", None),
        ("rename {open}/folder {open}/renamed", "open/renamed"),
        ("ln -s note {open}/soft", "open/soft"),
        ("ls -l {open}", None),
        ("cd {open}/room\nput {note} here", "open/inside/here"),
        ("mkdir {open}/made/", "open/made"),
    ],
)
async def test_the_twin_links_that_lead_nowhere_closed(gateway: Gateway, tree: Path, line: str, changed: str | None) -> None:
    """A link may itself be listed, moved and removed: what it leads to is not touched by that."""
    ran = await sftp(gateway, line.format(open=tree / "open", note=tree / "open" / "note", out=tree / "out"))
    assert ran.status == 0, ran
    assert changed is None or (tree / changed).is_symlink() or (tree / changed).exists()
    assert (tree / "vault" / "key").read_text() == "the key"


async def test_the_record_has_both_names(gateway: Gateway, tree: Path) -> None:
    assert (await sftp(gateway, f"get {tree}/open/harmless {tree}/out")).status == 0
    await gateway.idle()
    lines = gateway.serving.recorder.lines(1, "jsonl")
    (file,) = [each for each in lines if each.get("event") == "file"]
    assert (file["path"], file["asked_as"], file["whole"]) == (f"{tree}/open/note", f"{tree}/open/harmless", True)
    texts = [each["text"] for each in lines if each.get("event") == "operation"]
    asked = texts.index(f"get {tree}/open/harmless")
    assert texts[asked + 1] == f"get {tree}/open/note"


async def test_scp_follows_no_link_out_of_an_open_tree(gateway: Gateway, tree: Path) -> None:
    down = await run(gateway.batch("scp", "-q", "-r", f"web@127.0.0.1:{tree}/open", f"{tree}/copy"))
    assert down.status == 1
    assert b"The vault is closed." in down.err
    assert not [each for each in (tree / "copy").rglob("*") if each.is_file() and each.read_text() == "the key"]
    assert (tree / "copy" / "note").read_text() == "a note", "what is open was copied all the same"


async def test_a_path_that_leads_nowhere_is_an_ordinary_error(gateway: Gateway, tree: Path) -> None:
    for line in (f"get {tree}/open/nothing {tree}/out", f"rm {tree}/no/such", f"put {tree}/open/note {tree}/no/such/dir"):
        ran = await sftp(gateway, line)
        assert ran.status == 1
        assert b"No such file" in ran.err or b"not found" in ran.err
        assert b"sallyport:" not in ran.err
