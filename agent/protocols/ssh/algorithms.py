"""Which algorithms are spoken on each leg, and why."""

from __future__ import annotations

from typing import Final

#: Key exchange with clients: on curves only. In a finite field it costs the agent a hundred times as much, for whoever asks and
#: before anybody has proved anything (CVE-2002-20001).
CLIENT_KEX: Final = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
)

#: With targets, which may be old: no SHA-1, and no group that a target makes up.
TARGET_KEX: Final = (
    *CLIENT_KEX,
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)

#: Towards clients it is the *client's* order that counts (RFC 4253 §7.1), and OpenSSH puts ChaCha20 and CTR first, which cost the
#: agent twice the time of AES-GCM. OpenSSH has spoken GCM since 6.2 (2013), so nothing else is offered.
CLIENT_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

#: Towards targets it is our order that counts, and targets may be old.
TARGET_CIPHERS: Final = (*CLIENT_CIPHERS, "chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr")

#: Signatures that are believed: of targets' host keys, preferred first, and of clients' keys. An RSA key signs with SHA-2
#: (RFC 8332) or not at all.
SIGNATURES: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

#: What the public key lines of such host keys begin with.
KEY_LINES: Final = ("ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "ecdsa-sha2-nistp384 ", "ecdsa-sha2-nistp521 ", "ssh-rsa ")

#: Keys are changed after so much or so long, whichever comes first (RFC 4253 §9).
REKEY_BYTES: Final = 1 << 30
REKEY_SECONDS: Final = 3600

#: Used with CTR only; GCM and ChaCha20 authenticate by themselves.
MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")

#: Receive window of a channel, in bytes. It also bounds what waits in the agent when the other side is slow, so it is smaller for
#: channels beyond the first few of a connection: a hundred of them may not cost what fifty connections do.
WINDOW: Final = 2 * 1024 * 1024
FULL_WINDOWS: Final = 4
SMALL_WINDOW: Final = 256 * 1024

#: Largest packet of channel data that is accepted, in bytes. Larger packets are fewer packets, and a command has to fit into one.
PACKET: Final = 128 * 1024

#: Smallest limit for packets that a peer may set. Clients ask for 16 or 32 KiB. To send a page in packets of one byte would take
#: a second, and everybody else would wait for it.
LEAST_PACKET: Final = 1024


def window(channels: int) -> int:
    """Return the receive window of one more channel, where ``channels`` are open."""
    return WINDOW if channels < FULL_WINDOWS else SMALL_WINDOW


#: Seconds between keepalives, and how many may stay unanswered. People suspend their clients; targets have no excuse.
CLIENT_KEEPALIVE: Final = (30, 20)
TARGET_KEEPALIVE: Final = (15, 4)
