"""The JSON text messages that travel through the WebSocket API.

Three parties share this file: the CLI and the agent (the two *clients* of a tunnel), and the Lambda function
that relays between them. Every message is one JSON object with its tag in `t`; names are short because each
byte is paid for. An unknown field is ignored, so a newer side may add one; a missing or mistyped one is
refused; an unknown tag is told apart (`UnknownMessage`) because an old client must survive a new word.

    upward     client -> Lambda   Hello  Data  Beat
    downward   Lambda -> client   Route  Deliver  Lost  Refused
    control    Lambda -> agent    Offer  Kill  Watch  Refresh  Decided  Refused    (the agent's control socket)
    waiting    Lambda -> CLI      Decided  Refused                     (a socket that waits for one approval request)

The Lambda function never looks inside a frame: `Data.f` is base64 text that `deliver` puts back unchanged.
Only the two ends turn it into bytes (`pack`, `unpack`). API Gateway allows 128 KB per message in frames of at
most 32 KB (Amazon API Gateway quotas, "WebSocket API"), and delivers messages in any order.
"""

from __future__ import annotations

import binascii
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec

MESSAGE_LIMIT: Final = 128 * 1024
"""Bytes in one WebSocket message, at most."""

FRAGMENT_LIMIT: Final = 32 * 1024
"""Bytes in one WebSocket frame, at most; a longer message is sent in fragments."""

ROUTE_LIMIT: Final = 300
"""Characters in a signed route, at most. `MESSAGE_LIMIT` minus this and the envelope is left for the frame."""

FRAME_TEXT_LIMIT: Final = MESSAGE_LIMIT - ROUTE_LIMIT - 64
"""Characters of base64 in `Data.f`, at most."""

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Code = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Message = Annotated[str, msgspec.Meta(max_length=1024)]
SignedRoute = Annotated[str, msgspec.Meta(min_length=1, max_length=ROUTE_LIMIT)]
FrameText = Annotated[str, msgspec.Meta(min_length=1, max_length=FRAME_TEXT_LIMIT)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]
Generation = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Tagged(msgspec.Struct, frozen=True, tag_field="t", omit_defaults=True):
    """What all messages share: immutable, tag in `t`, defaults left out."""


class Hello(_Tagged, frozen=True, tag="hello"):
    """Client -> Lambda: "who is my peer?". Repeated with backoff until a `Route` arrives."""


class Data(_Tagged, frozen=True, tag="d"):
    """Client -> Lambda: carry frame `f` (base64) along the signed route `r`."""

    r: SignedRoute
    f: FrameText


class Beat(_Tagged, frozen=True, tag="beat"):
    """Client -> Lambda: keepalive. On the agent's control socket `live` lists the sessions it still serves;
    absent means "not said", empty means "none". `refuses` is the fault code with which it turns new sessions away now;
    empty while it takes them."""

    live: tuple[Identifier, ...] | None = None
    refuses: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Route(_Tagged, frozen=True, tag="route"):
    """Lambda -> client: the way to the peer.

    `r` goes into `Data.r`; `resume` admits the next connection of this client; `gen` grows with every change of
    either end, so that of two routes which overtook each other the one with the lower number is stale. Sent as
    the answer to `Hello` and, unasked, when the peer connects anew."""

    r: SignedRoute
    resume: Token
    gen: Generation


class Deliver(_Tagged, frozen=True, tag="f"):
    """Lambda -> client: the peer's frame `f` (base64)."""

    f: FrameText


class Lost(_Tagged, frozen=True, tag="lost"):
    """Lambda -> client: the peer's connection is gone; say `Hello` again, with backoff.

    `gen`, when said, is the generation of the route that failed: a client which already holds a newer route
    ignores the message. 0 means "not said"."""

    code: Code
    gen: Generation = 0


class Refused(_Tagged, frozen=True, tag="refused"):
    """Lambda -> client: final. Nothing that this connection could still say would change it."""

    code: Code
    message: Message


class Offer(_Tagged, frozen=True, tag="offer"):
    """Lambda -> agent: a session waits; open a tunnel for `sid` with `ticket`."""

    sid: Identifier
    ticket: Token


class Kill(_Tagged, frozen=True, tag="kill"):
    """Lambda -> agent: end session `sid` now and tell its client why."""

    sid: Identifier
    code: Code
    message: Message


class Watch(_Tagged, frozen=True, tag="watch"):
    """Lambda -> agent: somebody wants to look on at session `sid`; open a tunnel for the watch that `ticket` names."""

    sid: Identifier
    ticket: Token


class Refresh(_Tagged, frozen=True, tag="refresh"):
    """Lambda -> agent: policy or configuration changed; `version` is the newest one."""

    version: Identifier


class Decided(_Tagged, frozen=True, tag="decided"):
    """Lambda -> agent, and to a command line that waits: request `rid` is now in `state`. For the agent of the session
    that it waits in, `approval` is the signed yes; it is a hint for everybody else, who asks by HTTP what follows."""

    rid: Identifier
    state: Code
    sid: Annotated[str, msgspec.Meta(max_length=128)] = ""
    approval: Annotated[str, msgspec.Meta(max_length=8192)] = ""


Upward: TypeAlias = Hello | Data | Beat
Downward: TypeAlias = Route | Deliver | Lost | Refused
Control: TypeAlias = Offer | Kill | Watch | Refresh | Decided | Refused
Waiting: TypeAlias = Decided | Refused


class RelayFault(ValueError):  # noqa: N818 - "fault" is the field's term
    """The sender's fault: the text is not a message of ours. `code` is one of `faults.CODES`."""

    code: Final = "protocol_error"


class UnknownMessage(RelayFault):
    """Well-formed JSON with a tag that this version does not know, or with none.

    The second is API Gateway itself: when an integration fails it answers `{"message": "Internal server
    error", ...}`. Clients skip either kind."""


class _AnyTag(msgspec.Struct):
    t: str = ""


_encoder = msgspec.json.Encoder()
_any_tag = msgspec.json.Decoder(_AnyTag)
_upward: msgspec.json.Decoder[Upward] = msgspec.json.Decoder(Upward)
_downward: msgspec.json.Decoder[Downward] = msgspec.json.Decoder(Downward)
_control: msgspec.json.Decoder[Control] = msgspec.json.Decoder(Control)
_waiting: msgspec.json.Decoder[Waiting] = msgspec.json.Decoder(Waiting)

_UPWARD_TAGS: Final = frozenset({"hello", "d", "beat"})
_DOWNWARD_TAGS: Final = frozenset({"route", "f", "lost", "refused"})
_CONTROL_TAGS: Final = frozenset({"offer", "kill", "watch", "refresh", "decided", "refused"})
_WAITING_TAGS: Final = frozenset({"decided", "refused"})


def encode(message: Upward | Downward | Control) -> bytes:
    """Return the UTF-8 text of one WebSocket message. It is bytes because both roads out want them: the Lambda
    function's post, and `websockets` (`send(..., text=True)`).

    Raises RelayFault if it would be longer than API Gateway carries (`MESSAGE_LIMIT`).
    """
    text = _encoder.encode(message)
    if len(text) > MESSAGE_LIMIT:
        raise RelayFault(f"a message of {len(text)} bytes exceeds the limit of {MESSAGE_LIMIT}")
    return text


def deliver(data: Data) -> bytes:
    """Return what the peer of ``data``'s sender gets: the same frame text, neither decoded nor inspected."""
    return encode(Deliver(data.f))


def fragments(text: bytes) -> list[bytes]:
    """Cut a message into WebSocket frames that API Gateway accepts: `FRAGMENT_LIMIT` bytes each, at most."""
    return [text[at : at + FRAGMENT_LIMIT] for at in range(0, len(text), FRAGMENT_LIMIT)]


def decode_upward(text: str | bytes) -> Upward:
    """Return a client's message, in the Lambda function. Raises RelayFault, UnknownMessage."""
    return _decode(_upward, _UPWARD_TAGS, text)


def decode_downward(text: str | bytes) -> Downward:
    """Return the relay's message, in a client of a tunnel. Raises RelayFault, UnknownMessage."""
    return _decode(_downward, _DOWNWARD_TAGS, text)


def decode_control(text: str | bytes) -> Control:
    """Return the control plane's message, on an agent's control socket. Raises RelayFault, UnknownMessage."""
    return _decode(_control, _CONTROL_TAGS, text)


def decode_waiting(text: str | bytes) -> Waiting:
    """Return the control plane's message, on a socket that waits for a request. Raises RelayFault, UnknownMessage."""
    return _decode(_waiting, _WAITING_TAGS, text)


def pack(frame: bytes) -> str:
    """Return frame bytes as the text of `Data.f`."""
    return binascii.b2a_base64(frame, newline=False).decode("ascii")


def unpack(text: str) -> bytes:
    """Return frame bytes from `Deliver.f`. Raises RelayFault for anything but padded base64."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is a character outside ASCII
        raise RelayFault("the frame is not base64") from None


_M = TypeVar("_M")


def _decode(decoder: msgspec.json.Decoder[_M], tags: frozenset[str], text: str | bytes) -> _M:
    if len(text) > MESSAGE_LIMIT:
        raise RelayFault(f"a message of {len(text)} bytes exceeds the limit of {MESSAGE_LIMIT}")
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        if _tag_of(text) in tags:
            raise RelayFault("a message has the wrong shape") from None
        raise UnknownMessage("a message has an unknown tag") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RelayFault("a message is not JSON") from None


def _tag_of(text: str | bytes) -> str:
    """The tag of a message that its decoder refused; empty if the object has none."""
    try:
        return _any_tag.decode(text).t
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RelayFault("a message is not an object with a tag") from None
