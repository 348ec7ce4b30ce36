"""``GET /config``: the version in force and the files that it was made from."""

from __future__ import annotations

import msgspec

from chalicelib.ports import Ports


class ConfigInForce(msgspec.Struct, kw_only=True, frozen=True):
    """Version 0 has no files."""

    version: int
    files: dict[str, str]


def read_config(ports: Ports) -> ConfigInForce:
    """Return the configuration in force."""
    version = ports.store.config_version()
    return ConfigInForce(version=version, files=ports.store.config_files(version))
