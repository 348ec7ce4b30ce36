"""What a watcher is sent: JSON messages, one on a line, from the agent to the command line and never the other way.

    begun ─► fresh (per channel) ─► seen seen seen … ─► [behind ─► fresh …] ─► over

Lines are those of the recording, as they were recorded: what masking took out is not in them. A watcher who takes less than the
session says loses what is between, is told so (`Behind`), and is shown each channel anew.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from chalicelib.contracts.recording import Kind

#: The longest message, in bytes: a line of a recording has at most 1 MiB, and is a string within JSON here.
WATCH_MESSAGE_LIMIT: Final = 8 * 1024 * 1024

Channel = Annotated[int, msgspec.Meta(ge=0, le=9_999)]


class _Tagged(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", omit_defaults=True):
    """What all messages share."""


class Begun(_Tagged, frozen=True, kw_only=True, tag="begun"):
    """The watcher may look, and whoever works there was told."""

    sid: str
    owner: str
    target: str
    login: str
    protocol: str


class Fresh(_Tagged, frozen=True, kw_only=True, tag="fresh"):
    """Forget what was shown of a channel; `lines` are its heading and the last of what was recorded."""

    channel: Channel
    kind: Kind
    lines: str
    left_out: int = 0
    """Operations between the heading and the next line."""


class Seen(_Tagged, frozen=True, kw_only=True, tag="seen"):
    """The next lines of a channel."""

    channel: Channel
    kind: Kind
    lines: str


class Behind(_Tagged, frozen=True, kw_only=True, tag="behind"):
    """The watcher was too slow; something was left out here."""


class Over(_Tagged, frozen=True, kw_only=True, tag="over"):
    """The watch is over, and why: `ok` where the session ended by itself."""

    code: str
    message: str


Sight: TypeAlias = Begun | Fresh | Seen | Behind | Over

_encoder = msgspec.json.Encoder()
_sight: msgspec.json.Decoder[Sight] = msgspec.json.Decoder(Sight)


class WatchFault(ValueError):  # noqa: N818 - "fault" is the field's term
    """What came is no message of a watch."""


def encode(sight: Sight) -> bytes:
    """Return one message with its newline. JSON holds none of its own."""
    return _encoder.encode(sight) + b"\n"


def decode(line: bytes) -> Sight:
    """Return the message on ``line``. Raises WatchFault."""
    try:
        return _sight.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise WatchFault(str(error)) from None
