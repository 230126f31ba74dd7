"""The image store in a local folder, with signed, expiring links."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.signer import SigningAlgorithm

from logo_similarity.catalog.files import replacing
from logo_similarity.errors import LinkRefusedError, NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FILES_PATH = "/v1/files"


class _Hmac(SigningAlgorithm):
    """HMAC-SHA256 with the key set up once, since a response has a hundred links."""

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.new(key, digestmod=hashlib.sha256)

    def get_signature(self, key: bytes, value: bytes) -> bytes:  # noqa: ARG002 - the key is set up once
        """The signature of a value, 32 bytes."""
        mac = self._mac.copy()
        mac.update(value)
        return mac.digest()


class LocalStore:
    """Images below `folder`. All processes with the same `secret` accept each other's links.

    A link is `/v1/files/<token>/<name>`. The token contains the expiry time and the filename, signed with HMAC-SHA256;
    browsers save the image under the name after it. The token contains the expiry time instead of the time of signing,
    so that small clock differences between machines do not matter.
    """

    def __init__(self, folder: Path, *, secret: str, link_seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._seconds = link_seconds
        self._clock = clock
        # Derived once, since this takes longer than signing a link.
        key = Signer(
            secret, salt="logo-similarity.files", key_derivation="hmac", digest_method=hashlib.sha256
        ).derive_key()
        self._signer = Signer(key, key_derivation="none", algorithm=_Hmac(key))

    def sign(self, filenames: Sequence[str]) -> list[str]:
        """One path per filename, in order, to append to the service's public URL."""
        expires = b"%d:" % math.ceil(self._clock() + self._seconds)
        return [
            f"{FILES_PATH}/{self._signer.sign(base64_encode(expires + os.fsencode(name))).decode()}"
            f"/{quote(os.fsencode(name.rpartition('/')[2]), safe='')}"
            for name in filenames
        ]

    def open_link(self, token: str) -> Path:
        """The path of the file in a link's token.

        Raises:
            LinkRefusedError: the token was altered, was signed with another secret, or has expired.
            NotFoundError: the file does not exist, or its name or a symbolic link leads out of the folder.
        """
        expires, filename = self._read_token(token)
        if self._clock() > expires:
            raise LinkRefusedError("The link has expired. Request a new one.")
        return self._path(filename)

    def read(self, filename: str, max_bytes: int) -> bytes:
        """See `ImageStore.read`."""
        try:
            with self._path(filename).open("rb") as file:
                content = file.read(max_bytes + 1)
        except OSError:
            raise NotFoundError("The image is not in the store.") from None
        if len(content) > max_bytes:
            raise NotFoundError(f"The image has more than {max_bytes:,} bytes.")
        return content

    def write(self, filename: str, data: bytes) -> None:
        """See `ImageStore.write`."""
        path = self._folder / filename
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(data)
        except OSError as error:
            raise StoreError(f"{path}: the image cannot be written: {error.strerror}") from error

    def _path(self, filename: str) -> Path:
        """The path of a file below the folder. Raises NotFoundError."""
        try:
            folder = self._folder.resolve(strict=True)
            path = (folder / filename).resolve(strict=True)
            if path.is_relative_to(folder) and path.is_file():
                return path
        except (OSError, ValueError, RuntimeError):  # missing file, NUL in the name, or a loop of symbolic links
            pass
        raise NotFoundError("The image is not in the store.")

    async def check(self) -> None:
        """Raise StoreError if the folder cannot be read."""
        try:
            await asyncio.to_thread(_read_one_entry, self._folder)
        except OSError as error:
            raise StoreError(f"LOGO_IMAGES_DIR={self._folder} cannot be read: {error.strerror}") from error

    def _read_token(self, token: str) -> tuple[int, str]:
        try:
            value = self._signer.unsign(token)
            # Several base64 strings decode to the same bytes. Only ours is valid, so that altered links are refused.
            if self._signer.sign(value).decode() != token:
                raise LinkRefusedError("The link is not valid.")
            expires, _, filename = base64_decode(value).partition(b":")
            return int(expires), os.fsdecode(filename)
        except (BadData, ValueError):
            raise LinkRefusedError("The link is not valid.") from None


def _read_one_entry(folder: Path) -> None:
    with os.scandir(folder) as entries:
        next(entries, None)
