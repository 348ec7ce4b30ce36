"""The tunnel: a reliable byte stream over relayed messages. `stream` tells the strategy, `frames` the wire format."""

from chalicelib.contracts.tunnel.frames import (
    FRAME_LIMIT,
    INITIAL_CREDIT,
    OPEN_LIMIT,
    PAYLOAD_LIMIT,
    SPREAD,
    VERSION,
    Frame,
    FrameFault,
    Kind,
    VersionFault,
    decode,
    encode,
)
from chalicelib.contracts.tunnel.inbound import Opened, PeerEof, Received
from chalicelib.contracts.tunnel.limits import Limits
from chalicelib.contracts.tunnel.stream import Aborted, Event, Lost, Phase, Stream

__all__ = [
    "FRAME_LIMIT",
    "INITIAL_CREDIT",
    "OPEN_LIMIT",
    "PAYLOAD_LIMIT",
    "SPREAD",
    "VERSION",
    "Aborted",
    "Event",
    "Frame",
    "FrameFault",
    "Kind",
    "Limits",
    "Lost",
    "Opened",
    "PeerEof",
    "Phase",
    "Received",
    "Stream",
    "VersionFault",
    "decode",
    "encode",
]
