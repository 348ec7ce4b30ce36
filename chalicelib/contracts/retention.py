"""How long evidence must be kept, as S3 Object Lock is told: by every upload, beside its hash and length.

A deployment says what holds where nothing else is said, and between which bounds a target may choose (``infra/data.yaml``; the
bucket's own policy holds the same bounds against everybody). What a session was opened under holds for all of it: a target that
changes its retention changes it for sessions from then on.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

import msgspec

Mode = Literal["COMPLIANCE", "GOVERNANCE"]
COMPLIANCE: Final[Mode] = "COMPLIANCE"
#: S3 takes no more than a hundred years.
DAYS_LIMIT: Final = 36_500
_DAY_MS: Final = 86_400_000
#: Links live for minutes, and S3 counts whole days when the upload arrives: a link's last second must still promise all of them.
_MARGIN_MS: Final = 3_600_000


class Retention(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How long, and how firmly. Nobody shortens COMPLIANCE, the account's root user included."""

    days: int
    mode: Mode = COMPLIANCE
    legal_hold: bool = False
    """Beyond the days, until somebody with ``s3:PutObjectLegalHold`` lifts it."""

    def __str__(self) -> str:
        held = ", and under a legal hold" if self.legal_hold else ""
        return f"{self.days} day{'' if self.days == 1 else 's'} {self.mode}{held}"


class Wish(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a target says in gateway.yaml; what it leaves open is the deployment's."""

    days: int = 0
    mode: Mode | None = None
    legal_hold: bool = False


class Keeping(msgspec.Struct, kw_only=True, frozen=True):
    """A deployment's rules: what holds by default, and the fewest and most days that anything is kept."""

    default: Retention
    least_days: int = 1
    most_days: int = 3_650

    def of(self, wish: Wish | None) -> Retention:
        """Return what holds for a target with ``wish``. Bounds are checked where files are read."""
        if wish is None:
            return self.default
        return Retention(days=wish.days or self.default.days, mode=wish.mode or self.default.mode, legal_hold=wish.legal_hold)

    @property
    def longest(self) -> Retention:
        """What holds for things that must outlive every recording, such as the transparency log."""
        return Retention(days=max(self.most_days, self.default.days), mode=self.default.mode)


class Lock(msgspec.Struct, kw_only=True, frozen=True):
    """A retention from one moment on: what one upload says."""

    mode: Mode
    until_s: int
    """Unix seconds."""
    legal_hold: bool = False

    @property
    def until(self) -> dt.datetime:
        """The same moment, UTC."""
        return dt.datetime.fromtimestamp(self.until_s, dt.UTC)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an upload. Without a hold there is no header for one, and S3 takes none that was not signed."""
        made = {
            "x-amz-object-lock-mode": str(self.mode),
            "x-amz-object-lock-retain-until-date": f"{self.until:%Y-%m-%dT%H:%M:%SZ}",
        }
        return made | ({"x-amz-object-lock-legal-hold": "ON"} if self.legal_hold else {})


def lock(retention: Retention, now_ms: int) -> Lock:
    """Return what an object that is written now is told. An hour is added, so that no upload promises less than whole days."""
    until_ms = now_ms + retention.days * _DAY_MS + _MARGIN_MS
    return Lock(mode=retention.mode, until_s=until_ms // 1000, legal_hold=retention.legal_hold)
