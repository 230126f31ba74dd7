"""Finding the key that a text opens with."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterator

from logo_similarity.errors import UnauthorizedError
from logo_similarity.keys.document import Key, Secret


class KeyRing:
    """Finds the key that a text opens with, in a time that does not tell how nearly a wrong one fits.

    Digests are kept under a code of this process's own, which nobody can aim at: what the lookup compares says nothing.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._code = secrets.token_bytes(32)
        self._keys = {self._place(bytes.fromhex(secret.sha256)): (key, secret) for key, secret in _secrets(keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, text: bytes, now: dt.datetime) -> Key:
        """The key, where it opens now.

        Raises:
            UnauthorizedError: it is not known, revoked, or its time is over.
        """
        key, secret = self._keys.get(self._place(hashlib.sha256(text).digest()), (None, None))
        if key is None or secret is None:
            raise UnauthorizedError("send one known key in the X-API-Key header")
        if key.revoked is not None:
            raise UnauthorizedError(f"this key was revoked at {key.revoked.isoformat(timespec='seconds')}")
        if secret.expires is not None and secret.expires <= now:
            raise UnauthorizedError(f"this key's time was over at {secret.expires.isoformat(timespec='seconds')}")
        return key

    def _place(self, digest: bytes) -> bytes:
        return hmac.digest(self._code, digest, "sha256")


def _secrets(keys: tuple[Key, ...]) -> Iterator[tuple[Key, Secret]]:
    for key in keys:
        for secret in key.secrets:
            yield key, secret
