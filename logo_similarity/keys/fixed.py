"""Keys that are fixed when a service starts: in its environment, or in a file that an orchestrator provides."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from pathlib import Path

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.document import Key, Secret
from logo_similarity.keys.files import read_regular

KEY_LINE = re.compile(r"^(?P<name>[A-Za-z0-9._@\-]{1,64}):(?P<digest>[0-9a-f]{64})$")


def read_fixed_keys(settings: Settings) -> tuple[Key, ...]:
    """The keys of LOGO_API_KEYS and of LOGO_API_KEYS_FILE. Their role is "search"; they have no expiry and no limits.

    Raises:
        ConfigError: the key file cannot be read, has a line that is not `name:sha256-hex`, or contains no key.
    """
    keys = [
        _fixed(f"setting-{number}", hashlib.sha256(key.get_secret_value().encode()).hexdigest())
        for number, key in enumerate(settings.api_keys, 1)
    ]
    if settings.api_keys_file is not None:
        keys += _read_key_file(settings.api_keys_file)
    return tuple(keys)


def _read_key_file(path: Path) -> list[Key]:
    try:
        lines = read_regular(path).decode().splitlines()
    except OSError as error:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} is not UTF-8: {error}") from None
    keys = []
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = KEY_LINE.match(content)
        if match is None:
            raise ConfigError(f"LOGO_API_KEYS_FILE: {path}, line {number}: expected `name:sha256-hex`")
        keys.append(_fixed(match["name"], match["digest"]))
    if not keys:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} contains no key; every request would be rejected")
    return keys


def _fixed(name: str, digest: str) -> Key:
    epoch = dt.datetime.fromtimestamp(0, dt.UTC)  # the time of creation is unknown
    return Key(id=name, name=name, created=epoch, secrets=(Secret(sha256=digest),))
