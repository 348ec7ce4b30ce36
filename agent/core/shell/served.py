"""The far ends of rsync and git, as their clients ask for them: `rsync --server …`, `git-upload-pack 'path'`.

Their arguments say which way files go, where, and whether any are deleted; which files, only the stream says. The recognisers are
lists of what those clients send (rsync 3.2.7, options.c, server_options; git's connect.c). What they do not know is code.
"""

from __future__ import annotations

import posixpath
import re

from agent.core.shell.options import has_option, names, operands
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

DOWNLOAD, UPLOAD = "rsync:download", "rsync:upload"
GIT = {"git-upload-pack": "read", "git-upload-archive": "read", "git-receive-pack": "write"}
#: Verbs of commands whose input and output are a stream of files.
STREAMS = frozenset({DOWNLOAD, UPLOAD, "git:upload-pack", "git:upload-archive", "git:receive-pack"})

#: Letters behind `e` say what the client can do. Not f, M, T (values, programs), not s: then the paths are in the stream.
_CLUSTER = re.compile(r"-[abcdghijklmnopqrtuvxyzACDEHIJKLNOPRSUWX]*(?:e[\d.]*\.[A-Za-z.]*)?|-B\d+|-@-?\d+")
_DELETES = names("""delete delete-before delete-during delete-delay delete-after delete-excluded delete-missing-args
    remove-source-files remove-sent-files force""")
_KNOWN = _DELETES | names("""
    append append-verify backup backup-dir block-size bwlimit checksum-choice checksum-seed compare-dest compress-choice
    compress-level compress-threads copy-dest copy-devices copy-unsafe-links debug existing fake-super files-from from0 fsync
    fuzzy groupmap iconv ignore-errors ignore-existing ignore-missing-args ignore-non-existing info inplace link-dest
    log-format max-alloc max-delete max-size min-size mkpath modify-window munge-links new-compress no-W no-group no-i-r
    no-implied-dirs no-inc-recursive no-msgs2stderr no-old-compress no-owner no-perms no-r no-relative no-times no-whole-file
    numeric-ids old-compress old-dirs one-file-system open-noatime out-format outbuf partial partial-dir preallocate recursive
    safe-links sender size-only skip-compress specials stats stop-after stop-at suffix super temp-dir timeout use-qsort
    usermap whole-file write-devices zc zl
""")
#: Options whose value is a path that something is written to, or read from.
_PATHS = names("backup-dir compare-dest copy-dest link-dest partial-dir temp-dir files-from")


def serves(program: str, words: list[Word]) -> bool:
    """True for the far end of a git or an rsync, whose words mean something else than those of one that is started here."""
    return program in GIT or (program == "rsync" and bool(words) and words[0].text == "--server")


def rsync(reading: Reading, program: str, words: list[Word]) -> None:
    """rsync --server [--sender] options . path…; any other rsync is what the tables say, and may delete as well."""
    if not serves(program, words):
        if has_option(words, "", tuple(_DELETES)):
            reading.flags.add("deletes")
        return
    sends = any(word.text == "--sender" for word in words)
    reading.effects.clear()
    reading.flags.discard("network")
    reading.effects.add("read" if sends else "write")
    reading.verbs.add(DOWNLOAD if sends else UPLOAD)
    for word in words[1:]:
        _option(reading, word)
    plain = operands(words[1:])
    texts = [word.text for word in plain]
    # What stands before the lonely dot are values of options; behind it are the paths.
    if "." not in texts or texts.index(".") == len(texts) - 1:
        reading.flags.add("dynamic_code")
    paths = list(plain)
    if "." in texts:
        del paths[texts.index(".")]
    for word in paths:
        _path(reading, word, writes=not sends)


def _option(reading: Reading, word: Word) -> None:
    text = word.text
    if text is None or word.glob:
        # A file that is called like an option would be one.
        reading.flags.update({"dynamic_code"} if word.may_be_option else ())
        return
    if not text.startswith("-"):
        return
    name, equals, value = text.removeprefix("--").partition("=")
    if not text.startswith("--"):
        if not _CLUSTER.fullmatch(text):
            reading.flags.add("dynamic_code")
        return
    if text != "--" and name not in _KNOWN:
        reading.flags.add("dynamic_code")
    if name in _DELETES:
        reading.flags.add("deletes")
        reading.effects.add("write")
    if equals and name in _PATHS:
        _path(reading, Word(value, value), writes=True)


def _path(reading: Reading, word: Word, *, writes: bool) -> None:
    if word.text is None:
        reading.flags.add("dynamic_code")
    elif word.text != "-":
        reading.path(posixpath.normpath(word.text or "."), writes=writes)


_GIT_OPTION = re.compile(
    r"--(?:no-)?strict|--timeout=\d+|--stateless-rpc|--advertise-refs|--http-backend-info-refs|--skip-connectivity-check"
)


def git(reading: Reading, program: str, words: list[Word]) -> None:
    """git-upload-pack (fetch, clone), git-receive-pack (push), git-upload-archive: one repository, and which way.

    git finds ``x.git`` and ``x/.git`` for ``x``: without the ending both are named.
    """
    reading.verbs.add(program.replace("git-", "git:", 1))
    reading.effects.add(GIT[program])
    plain = operands(words)
    if any(word not in plain and not _GIT_OPTION.fullmatch(word.text or "") and word.text != "--" for word in words):
        reading.flags.add("dynamic_code")
    if len(plain) != 1 or plain[0].text is None or plain[0].glob:
        reading.flags.add("dynamic_code")
        return
    path = posixpath.normpath(plain[0].text)
    path = posixpath.dirname(path) if posixpath.basename(path) == ".git" else path
    reading.objects.add(path)
    if not path.endswith(".git"):
        reading.objects.add(f"{path}.git")


CHECKERS = {"rsync": rsync, **dict.fromkeys(GIT, git)}
