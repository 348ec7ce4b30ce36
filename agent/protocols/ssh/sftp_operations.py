"""SFTP requests as operations. One row per request; a request without a row is refused.

Paths are made absolute with the home directory that the target reported, and ``.`` and ``..`` are resolved by name. Where they
lead is found out in ``sftp_links.py``, and read here once more with the names that were found.

Flags that rules can use: ``metadata`` (attributes and names of single files; every transfer begins with it), ``listing``,
``download``, ``upload``, ``append``, ``dotdot`` (the client wrote ``..``), ``not_utf8``, ``symlink`` (reached through a link).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Final

import msgspec

from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp_codec import Reader
from agent.protocols.ssh.sftp_files import OpenFile
from chalicelib.contracts.operation import READ, WRITE, Operation

#: The size that policy sees where none is known beforehand: a rule about too much holds then, and one about little does not.
SIZE_UNKNOWN: Final = (1 << 63) - 1

_READ: Final = frozenset({READ})
_WRITE: Final = frozenset({WRITE})


class Paths:
    """Names paths as policy sees them."""

    def __init__(self) -> None:
        self.home = "/"

    def name(self, raw: bytes) -> tuple[str, frozenset[str]]:
        """Return the absolute path and the flags that its spelling earns."""
        text = raw.decode(errors="backslashreplace")
        flags = set()
        if b".." in raw.split(b"/"):
            flags.add("dotdot")
        try:
            raw.decode()
        except UnicodeDecodeError:
            flags.add("not_utf8")
        whole = posixpath.normpath(posixpath.join(self.home, text))
        # POSIX lets two leading slashes mean something else, and normpath keeps them; Linux does not.
        return "/" + whole.lstrip("/"), frozenset(flags)

    def operation(
        self, name: str, verb: str, raw: bytes, effects: frozenset[str], flags: frozenset[str] = frozenset(), rest: str = ""
    ) -> Operation:
        """Return the operation ``verb path rest``."""
        path, spelling = self.name(raw)
        return Operation(
            action="transfer",
            kind=f"sftp.{name}",
            text=f"{verb} {path} {rest}".rstrip(),
            effects=effects,
            verbs=frozenset({verb}),
            objects=frozenset({path}),
            flags=flags | spelling,
            arguments=(path, rest) if rest else (path,),
        )

    def pair(self, name: str, verb: str, first: bytes, second: bytes) -> Operation:
        """Return the operation ``verb first -> second``, which changes names."""
        (one, one_flags), (two, two_flags) = self.name(first), self.name(second)
        return Operation(
            action="transfer",
            kind=f"sftp.{name}",
            text=f"{verb} {one} -> {two}",
            effects=_WRITE,
            verbs=frozenset({verb}),
            objects=frozenset({one, two}),
            flags=one_flags | two_flags,
            arguments=(one, two),
        )

    def open(self, raw: bytes, flags: int, size: int | None) -> tuple[Operation, OpenFile]:
        """Return the opening of a file, and what the handle will be good for. ``size`` is what the client announced.

        OpenSSH opens for reading where neither is asked for, and creates or truncates even then: both count.
        """
        writes = bool(flags & ~(codec.FLAG_READ | codec.FLAG_EXCLUSIVE))
        reads = bool(flags & codec.FLAG_READ) or not flags & codec.FLAG_WRITE
        path, spelling = self.name(raw)
        verb = "get" if not writes else "edit" if flags & codec.FLAG_READ else "put"
        words = {"download"} if reads else set()
        effects = {READ} if reads else set()
        if writes:
            words.add("upload")
            effects.add(WRITE)
        if flags & codec.FLAG_APPEND:
            words.add("append")
        operation = Operation(
            action="transfer",
            kind="sftp.open",
            text=f"{verb} {path}",
            effects=frozenset(effects),
            verbs=frozenset({verb}),
            objects=frozenset({path}),
            flags=frozenset(words) | spelling,
            arguments=(path, str(flags)),
            size=SIZE_UNKNOWN if reads or size is None else min(size, SIZE_UNKNOWN),
        )
        return operation, OpenFile(path, reads=reads, writes=writes, limit=size)


Row = Callable[[Paths, Reader], Operation]


def _metadata(name: str) -> Row:
    return lambda paths, reader: paths.operation(name, name, reader.path(), _READ, frozenset({"metadata"}))


def _change(name: str) -> Row:
    return lambda paths, reader: paths.operation(name, name, reader.path(), _WRITE)


def _attributes(name: str) -> Row:
    def row(paths: Paths, reader: Reader) -> Operation:
        raw = reader.path()
        return paths.operation(name, name, raw, _WRITE, rest=str(reader.attributes()))

    return row


def _symlink(paths: Paths, reader: Reader) -> Operation:
    # OpenSSH sends the link's content first, against the draft; either way both names are objects of the operation. The content
    # of a link is relative to the link and not to the home directory.
    content, link = reader.path(), reader.path()
    path, _ = paths.name(link)
    return paths.pair("symlink", "symlink", link, posixpath.join(posixpath.dirname(path).encode(errors="replace"), content))


def _expand(paths: Paths, reader: Reader) -> Operation:
    raw = reader.path()
    # Everybody's own home is known here; whoever else's is found out by asking.
    raw = b"." + raw[1:] if raw == b"~" or raw.startswith(b"~/") else raw
    return paths.operation("expand", "expand", raw, _READ, frozenset({"metadata"}))


def _pair(name: str, verb: str) -> Row:
    return lambda paths, reader: paths.pair(name, verb, reader.path(), reader.path())


#: Requests that name a path, apart from OPEN and OPENDIR, which give out handles.
PATH_REQUESTS: Final[dict[int, Row]] = {
    codec.LSTAT: _metadata("lstat"),
    codec.STAT: _metadata("stat"),
    codec.REALPATH: _metadata("realpath"),
    codec.READLINK: _metadata("readlink"),
    codec.REMOVE: _change("remove"),
    codec.RMDIR: _change("rmdir"),
    codec.MKDIR: _attributes("mkdir"),
    codec.SETSTAT: _attributes("setstat"),
    codec.RENAME: _pair("rename", "rename"),
    codec.SYMLINK: _symlink,
}

#: OpenSSH's extensions that name a path (PROTOCOL, section 4).
PATH_EXTENSIONS: Final[dict[bytes, Row]] = {
    b"posix-rename@openssh.com": _pair("rename", "rename"),
    b"hardlink@openssh.com": _pair("hardlink", "hardlink"),
    b"lsetstat@openssh.com": _attributes("setstat"),
    b"statvfs@openssh.com": _metadata("statvfs"),
    b"expand-path@openssh.com": _expand,
}

#: OpenSSH's extensions that work on open handles or on nothing.
HANDLE_EXTENSIONS: Final = frozenset(
    {b"fstatvfs@openssh.com", b"fsync@openssh.com", b"limits@openssh.com", b"copy-data", b"users-groups-by-id@openssh.com"}
)

KNOWN_EXTENSIONS: Final = frozenset(PATH_EXTENSIONS) | HANDLE_EXTENSIONS


def named(paths: Paths, packet: bytes) -> tuple[Operation, OpenFile | None] | None:
    """Return what a request that names a path asks for, with the file that its handle would open; None for other requests.

    Raises ValueError where it cannot be read to its end.
    """
    reader = Reader(packet)
    reader.u32()
    kind = reader.type
    file: OpenFile | None = None
    if kind == codec.OPEN:
        raw, flags, attributes = reader.path(), reader.u32(), reader.attributes()
        if flags & ~codec.ALL_FLAGS:
            raise ValueError("unknown flags")
        operation, file = paths.open(raw, flags, attributes.size)
    elif kind == codec.OPENDIR:
        raw = reader.path()
        operation = paths.operation("opendir", "ls", raw, _READ, frozenset({"listing"}))
        file = OpenFile(paths.name(raw)[0], directory=True)
    elif kind in PATH_REQUESTS:
        operation = PATH_REQUESTS[kind](paths, reader)
    elif kind == codec.EXTENDED and (name := reader.string(codec.HANDLE_LIMIT)) in PATH_EXTENSIONS:
        operation = PATH_EXTENSIONS[name](paths, reader)
    else:
        return None
    reader.end()
    return operation, file


def through_links(asked: Operation, led: Operation) -> Operation | None:
    """Return ``led``, which is what ``asked`` leads to, where that is something else."""
    if (led.text, led.arguments) == (asked.text, asked.arguments):
        return None
    return msgspec.structs.replace(led, flags=led.flags | asked.flags | {"symlink"})


def change_open_file(path: str, attributes: str) -> Operation:
    """Return the change of attributes of an open file."""
    return Operation(
        action="transfer",
        kind="sftp.setstat",
        text=f"setstat {path} {attributes}".rstrip(),
        effects=_WRITE,
        verbs=frozenset({"setstat"}),
        objects=frozenset({path}),
        arguments=(path, attributes),
    )
