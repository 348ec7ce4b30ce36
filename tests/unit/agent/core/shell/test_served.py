"""The far ends of rsync and git."""

from __future__ import annotations

import pytest

from agent.core.shell.classify import classify

SENDER = "rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv/data"
RECEIVER = "rsync --server -vlogDtprze.iLsfxCIvu . /srv/data/"


@pytest.mark.parametrize(
    ("text", "verb", "effects", "objects", "flags"),
    [
        (SENDER, "rsync:download", {"read"}, {"/srv/data"}, set()),
        (RECEIVER, "rsync:upload", {"write"}, {"/srv/data"}, set()),
        (RECEIVER.replace(" . ", " --delete . "), "rsync:upload", {"write"}, {"/srv/data"}, {"deletes"}),
        (RECEIVER.replace(" . ", " --delete-during --force . "), "rsync:upload", {"write"}, {"/srv/data"}, {"deletes"}),
        (SENDER.replace(" . ", " --remove-source-files . "), "rsync:download", {"read", "write"}, {"/srv/data"}, {"deletes"}),
        (
            SENDER.replace(" . ", " --partial --numeric-ids --inplace --bwlimit=100 . "),
            "rsync:download",
            {"read"},
            {"/srv/data"},
            set(),
        ),
        (SENDER + " /srv/other", "rsync:download", {"read"}, {"/srv/data", "/srv/other"}, set()),
        (SENDER.replace("/srv/data", "//srv/./x/../data//"), "rsync:download", {"read"}, {"//srv/data"}, set()),
        (SENDER.replace("/srv/data", "."), "rsync:download", {"read"}, {"."}, set()),
        (SENDER.replace("/srv/data", "'/srv/a b'"), "rsync:download", {"read"}, {"/srv/a b"}, set()),
        (RECEIVER.replace(" . ", " --link-dest /srv/old . "), "rsync:upload", {"write"}, {"/srv/data", "/srv/old"}, set()),
        (RECEIVER.replace(" . ", " --backup-dir=/srv/old . "), "rsync:upload", {"write"}, {"/srv/data", "/srv/old"}, set()),
        (SENDER.replace("/srv/data", "/srv/*.log"), "rsync:download", {"read"}, {"/srv/*.log"}, {"glob"}),
        ("git-upload-pack '/srv/app.git'", "git:upload-pack", {"read"}, {"/srv/app.git"}, set()),
        ("git-receive-pack '/srv/app'", "git:receive-pack", {"write"}, {"/srv/app", "/srv/app.git"}, set()),
        ("git-receive-pack '/srv/app/.git/'", "git:receive-pack", {"write"}, {"/srv/app", "/srv/app.git"}, set()),
        ("git-upload-pack --strict --timeout=30 '~/app.git'", "git:upload-pack", {"read"}, {"~/app.git"}, set()),
    ],
)
def test_what_they_do(text: str, verb: str, effects: set[str], objects: set[str], flags: set[str]) -> None:
    found = classify(text)
    assert verb in found.verbs
    assert found.effects == effects
    assert found.objects == objects
    assert found.flags == flags


@pytest.mark.parametrize(
    "text",
    [
        "rsync --server -svlogDtpre.iLsfxCIvu",
        "rsync --server --sender -sre.iLsfxCIvu . /srv/data",
        "rsync --server --sender -e sh . /srv/data",
        "rsync --server --sender -re.iLs$X . /srv/data",
        "rsync --server --sender --rsh=sh . /srv/data",
        "rsync --server --daemon .",
        "rsync --server --daemon --config=/tmp/x .",
        "rsync --server --sender --config=/tmp/x . /srv/data",
        "rsync --server --sender --log-file=/etc/cron.d/x . /srv/data",
        "rsync --server --sender -M--x . /srv/data",
        "rsync --server --sender --early-exec=/tmp/x . /srv/data",
        "rsync --server --sender -r .",
        "rsync --server --sender -r /srv/data",
        "rsync --server --sender -r . $X",
        "rsync --server --sender -r . *",
        "rsync --server --sender -* . /srv/data",
        "rsync --server --sender -re . /srv/data",
        "rsync --server --sender -r . `id`",
        "rsync --sender --server -e sh . /srv/data",
        "git-upload-pack",
        "git-upload-pack /a /b",
        "git-upload-pack $X",
        "git-upload-pack --upload-pack=x /a",
        "git-receive-pack --exec=x /a",
        "git-shell -c id",
        "git upload-pack /srv/app.git",
        "/tmp/rsync --server --sender -r . /srv/data",
    ],
)
def test_what_is_not_understood(text: str) -> None:
    assert "unknown" in classify(text).effects


@pytest.mark.parametrize("text", ["rsync -a /a /b", "rsync -e ssh /a host:/b", "rsync -a --delete /a /b"])
def test_an_rsync_that_is_started_here_is_what_it_was(text: str) -> None:
    found = classify(text)
    assert found.effects == {"read", "write"}
    assert "network" in found.flags


@pytest.mark.parametrize("option", ["--delete", "--del", "--delete-after", "--remove-source-files", "--force"])
def test_an_rsync_that_is_started_here_may_delete_as_well(option: str) -> None:
    assert "deletes" in classify(f"rsync -a {option} /empty/ /srv/data/").flags
    assert "deletes" in classify(f"sudo rsync -a /empty/ /srv/data/ {option}").flags


@pytest.mark.parametrize("line", ["rsync -a a b", "rsync -a --stats --files-from=list a b", "rsync -a -- a --delete"])
def test_other_rsyncs_delete_nothing(line: str) -> None:
    assert "deletes" not in classify(line).flags
