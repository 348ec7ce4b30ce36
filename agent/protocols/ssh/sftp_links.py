"""Where the paths of an sftp request lead at the target: through which links, to which file. Pure.

A name is not a file: any directory on the way, or its last part, may be a symbolic link. So a request that policy permits by its
name first becomes questions to the target's own file server (REALPATH, which OpenSSH's answers as the kernel would walk). Where
the answer is another name, policy is asked about that one too. What is forwarded names the answers, so that a link which is
changed afterwards leads nowhere else. Who can write to a *directory* on the way could still put a link there between the answer
and the request: version 3 of the protocol has no way to forbid a server to follow one. The person's own file transfers cannot
(``sftp_turns.py``); commands and other people can.
"""

from __future__ import annotations

import enum
import posixpath
from typing import Final

import msgspec

from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp_codec import Reader


class Lead(enum.Enum):
    """What a path in a request is to the system call behind it."""

    FOLLOW = "follow"
    """A link at its end is followed."""
    LINK = "link"
    """A link at its end is the thing itself, unless a slash stands behind it."""
    ENTRY = "entry"
    """A name in a directory, whatever it leads to."""
    CONTENT = "content"
    """What a new link will say, relative to the link, which stands behind it in the request."""
    EXPAND = "expand"
    """As FOLLOW, once the target has replaced a ``~``."""


#: Every request that names a path (draft-ietf-secsh-filexfer-02 §6), and what its paths are.
REQUESTS: Final[dict[int, tuple[Lead, ...]]] = {
    codec.OPEN: (Lead.FOLLOW,),
    codec.OPENDIR: (Lead.FOLLOW,),
    codec.STAT: (Lead.FOLLOW,),
    codec.SETSTAT: (Lead.FOLLOW,),
    codec.REALPATH: (Lead.FOLLOW,),
    codec.LSTAT: (Lead.LINK,),
    codec.READLINK: (Lead.LINK,),
    codec.REMOVE: (Lead.ENTRY,),
    codec.RMDIR: (Lead.ENTRY,),
    codec.MKDIR: (Lead.ENTRY,),
    codec.RENAME: (Lead.ENTRY, Lead.ENTRY),
    # OpenSSH's order: the content first, against the draft.
    codec.SYMLINK: (Lead.CONTENT, Lead.ENTRY),
}

_EXPAND: Final = b"expand-path@openssh.com"
_POSIX_RENAME: Final = b"posix-rename@openssh.com"

#: OpenSSH's extensions that name a path (PROTOCOL, section 4). link(2) follows a link at the end on some systems only.
EXTENSIONS: Final[dict[bytes, tuple[Lead, ...]]] = {
    _POSIX_RENAME: (Lead.ENTRY, Lead.ENTRY),
    b"hardlink@openssh.com": (Lead.FOLLOW, Lead.ENTRY),
    b"lsetstat@openssh.com": (Lead.LINK,),
    b"statvfs@openssh.com": (Lead.FOLLOW,),
    _EXPAND: (Lead.EXPAND,),
}


class Question(msgspec.Struct, frozen=True):
    """What the target is asked about one path: where ``path`` leads. ``last`` stands behind the answer."""

    path: bytes
    last: bytes = b""
    expand: bool = False
    needed: bool = True
    """False where the request makes sense even if there is no answer."""

    def packet(self, number: int) -> bytes:
        """Return the request that asks it."""
        if self.expand:
            return codec.request(codec.EXTENDED, number, codec.string(_EXPAND), codec.string(self.path))
        return codec.request(codec.REALPATH, number, codec.string(self.path))

    def answer(self, reader: Reader) -> bytes:
        """Return where the path leads, from a NAME answer after its number. Raises ValueError for what is no absolute path."""
        if reader.u32() != 1:
            raise ValueError("one path has several real ones")
        found = reader.path()
        if not found.startswith(b"/"):
            raise ValueError("a real path that is not absolute")
        return posixpath.join(found, self.last) if self.last else found


class Trail:
    """The paths of one request, what has to be asked about them, and the request with the answers in their places."""

    def __init__(self, request: bytes) -> None:
        """``request`` is a packet that names a path, and was read to its end before."""
        reader = Reader(request)
        self._kind: Final = reader.type
        self._number: Final = reader.u32()
        name = self._name = reader.string() if self._kind == codec.EXTENDED else None
        self._head: Final = b"" if name is None else codec.string(name)
        self._leads: Final = REQUESTS[self._kind] if name is None else EXTENSIONS[name]
        self._paths: Final = [reader.path() for _ in self._leads]
        self._rest: Final = reader.rest()
        self.questions: Final = [self._question(lead, at) for at, lead in enumerate(self._leads)]

    def _question(self, lead: Lead, at: int) -> Question:
        path = self._paths[at]
        if lead is Lead.CONTENT:
            return Question(posixpath.join(posixpath.dirname(self._paths[at + 1]), path) or b".", needed=False)
        bare = path.rstrip(b"/")
        folder, _, last = bare.rpartition(b"/")
        if lead in (Lead.FOLLOW, Lead.EXPAND) or last in (b"", b".", b"..") or (lead is Lead.LINK and bare != path):
            return Question(path, expand=lead is Lead.EXPAND)
        return Question(folder or (b"/" if path.startswith(b"/") else b"."), last + path[len(bare) :])

    @property
    def changes(self) -> bool:
        """True where paths may lead elsewhere behind the request: it makes a link, or moves something, which may be one."""
        return self._kind in (codec.RENAME, codec.SYMLINK) or self._name == _POSIX_RENAME

    def led(self, found: list[bytes | None]) -> bytes:
        """Return the request about what its paths lead to, for policy. None stands for a path that leads nowhere."""
        return self._packet([path if real is None else real for path, real in zip(self._paths, found, strict=True)])

    def forwarded(self, found: list[bytes | None]) -> bytes:
        """Return the request as the target gets it. What a new link will say stays as it was asked for."""
        return self.led([None if lead is Lead.CONTENT else real for lead, real in zip(self._leads, found, strict=True)])

    def _packet(self, paths: list[bytes]) -> bytes:
        return codec.request(self._kind, self._number, self._head, *map(codec.string, paths), self._rest)
