"""Keys that are fixed at a service's start: in its environment, or in a file that an orchestrator puts there."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from pathlib import Path

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.document import Key, Secret

KEY_LINE = re.compile(r"^(?P<name>[A-Za-z0-9._@\-]{1,64}):(?P<digest>[0-9a-f]{64})$")


def read_fixed_keys(settings: Settings) -> tuple[Key, ...]:
    """The keys of LOGO_API_KEYS and of LOGO_API_KEYS_FILE: for searching, without an end or bounds.

    Raises:
        ConfigError: the key file can't be read, has a line that is no `name:sha256-hex`, or no key at all.
    """
    found = [
        _fixed(f"setting-{number}", hashlib.sha256(key.get_secret_value().encode()).hexdigest())
        for number, key in enumerate(settings.api_keys, 1)
    ]
    if settings.api_keys_file is not None:
        found += _read_key_file(settings.api_keys_file)
    return tuple(found)


def _read_key_file(path: Path) -> list[Key]:
    try:
        lines = path.read_text(encoding="utf8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = KEY_LINE.match(content)
        if match is None:
            raise ConfigError(f"LOGO_API_KEYS_FILE: {path}, line {number}: expected `name:sha256-hex`")
        found.append(_fixed(match["name"], match["digest"]))
    if not found:
        raise ConfigError(f"LOGO_API_KEYS_FILE: {path} holds no key: nobody could be let in")
    return found


def _fixed(name: str, digest: str) -> Key:
    began = dt.datetime.fromtimestamp(0, dt.UTC)
    return Key(id=name, name=name, created=began, secrets=(Secret(sha256=digest),))
