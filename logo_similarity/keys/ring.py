"""API key lookup."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Iterator

from logo_similarity.errors import UnauthorizedError
from logo_similarity.keys.document import Key, Secret


class KeyRing:
    """Finds the key of a secret, in a time that does not reveal how similar a wrong secret is to a right one.

    Digests are stored as HMACs with a random key of this process. An attacker cannot predict them, so the time of their
    comparison reveals nothing.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._hmac_key = secrets.token_bytes(32)
        self._keys = {self._hmac(bytes.fromhex(secret.sha256)): (key, secret) for key, secret in _secrets(keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, text: bytes, now: dt.datetime) -> Key:
        """The key of the secret `text`.

        Raises:
            UnauthorizedError: there is no such key, it is revoked, or the secret has expired.
        """
        entry = self._keys.get(self._hmac(hashlib.sha256(text).digest()))
        if entry is None:
            raise UnauthorizedError("send exactly one valid key in the X-API-Key header")
        key, secret = entry
        if key.revoked is not None:
            raise UnauthorizedError(f"this key was revoked at {key.revoked.isoformat(timespec='seconds')}")
        if secret.expires is not None and secret.expires <= now:
            raise UnauthorizedError(f"this key expired at {secret.expires.isoformat(timespec='seconds')}")
        return key

    def _hmac(self, digest: bytes) -> bytes:
        return hmac.digest(self._hmac_key, digest, "sha256")


def _secrets(keys: tuple[Key, ...]) -> Iterator[tuple[Key, Secret]]:
    for key in keys:
        for secret in key.secrets:
            yield key, secret
