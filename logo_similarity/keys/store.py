"""Stores of the key document: a file, or an object in a bucket that replicas share."""

from __future__ import annotations

import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import ValidationError

from logo_similarity.catalog.files import replacing
from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, NotFoundError, StoreError
from logo_similarity.keys.document import KeyDocument
from logo_similarity.keys.files import read_regular
from logo_similarity.storage.objects import ObjectFolder

OBJECT = "keys.json"
BUCKET_SECONDS = 3.0
"""Time limit for a service to read the bucket. It is short, so that a stalled connection delays no revocation."""

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Change = Callable[[KeyDocument], tuple[KeyDocument, Result]]


class KeyStore(ABC):
    """Reads and changes the document, and detects whether it has changed since it was read."""

    @abstractmethod
    def read(self) -> KeyDocument:
        """The document; an empty one if none has been written yet.

        Raises:
            ConfigError: the file or object is not a valid keys file.
            StoreError: the bucket cannot be read.
        """

    @abstractmethod
    def read_changed(self) -> KeyDocument | None:
        """The document if it has changed since the last read, else None.

        Raises as `read` does, and ConfigError if the document has been deleted.
        """

    @abstractmethod
    def change(self, change: Change[Result]) -> Result:
        """Replace the document atomically. A concurrent change is never overwritten.

        Args:
            change: returns the new document and a result.

        Returns:
            That result.

        Raises:
            ConfigError, StoreError: as `read`; or the document cannot be written, and is unchanged.
        """


class FileKeyStore(KeyStore):
    """The document as a file. Writers wait for each other; readers see the old or the new document."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: bytes | None = None
        """Digest of the last valid content."""

    def read(self) -> KeyDocument:
        data = self._data()
        return KeyDocument() if data is None else self._parsed(data)

    def read_changed(self) -> KeyDocument | None:
        data = self._data()
        if data is None:
            if self._known is not None:
                raise ConfigError(f"LOGO_KEYS: {self._path} has been deleted")
            return None
        # Compared by content: an edit in place can keep the size and, within a tick of the clock, all timestamps.
        return None if self._known == _digest(data) else self._parsed(data)

    def change(self, change: Change[Result]) -> Result:
        if not self._path.parent.is_dir():
            raise ConfigError(
                f"LOGO_KEYS: {self._path}: the folder {self._path.parent} does not exist; create it or correct the path"
            )
        try:
            with _locked(self._path):
                document, result = change(self.read())
                with replacing(self._path) as file:
                    _keep_permissions(file.fileno(), self._path)
                    file.write(_json(document))
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be written: {error.strerror}") from None
        return result

    def _data(self) -> bytes | None:
        """The content; None if there is no file."""
        try:
            return read_regular(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be read: {error.strerror}") from None

    def _parsed(self, data: bytes) -> KeyDocument:
        document = _document(data, str(self._path))
        self._known = _digest(data)  # after parsing, so that invalid content is reported at every read
        return document


class BucketKeyStore(KeyStore):
    """The document as `<prefix>/keys.json` in a bucket."""

    def __init__(self, remote: ObjectFolder, copy: Path | None) -> None:
        """Use `remote`. A service keeps a local `copy`, so that it can start while the bucket is down."""
        self._remote = remote
        self._copy = copy
        self._tag: str | None = None

    def read(self) -> KeyDocument:
        self._tag = None
        try:
            return self.read_changed() or KeyDocument()
        except StoreError:
            if self._copy is None or not self._copy.exists():
                raise
            return _document(self._copy.read_bytes(), str(self._copy))

    def read_changed(self) -> KeyDocument | None:
        try:
            data, tag = self._remote.read_tagged(OBJECT, self._tag)
        except NotFoundError:
            if self._tag is None:
                return None
            raise ConfigError(f"LOGO_KEYS: {self._remote.url}/{OBJECT} has been deleted") from None
        if data is None:
            return None
        document = _document(data, f"{self._remote.url}/{OBJECT}")
        self._tag = tag
        if self._copy is not None:
            self._write_copy(data, self._copy)
        return document

    def _write_copy(self, data: bytes, copy: Path) -> None:
        try:
            with _locked(copy), replacing(copy) as file:  # all workers share the copy
                file.write(data)
        except OSError as error:
            # The document of the bucket is used all the same.
            log.warning("keys_not_copied", error=f"{copy}: {error.strerror}")

    def change(self, change: Change[Result]) -> Result:
        self._tag = None
        document, result = change(self.read_changed() or KeyDocument())
        self._remote.write_over(OBJECT, _json(document), self._tag)
        return result


def open_key_store(settings: Settings, copy: Path | None = None) -> KeyStore:
    """The store that LOGO_KEYS names.

    Args:
        settings: name the store, and the credentials of a bucket.
        copy: file for a local copy of the document of a bucket, which a service uses if the bucket does not respond.

    Raises:
        ConfigError: LOGO_KEYS is not set.
    """
    if settings.keys is None:
        raise ConfigError(
            "LOGO_KEYS is not set: set it, or --keys, to a file (keys.json) or to s3://bucket/prefix if replicas share keys"
        )
    if "://" in settings.keys:
        seconds = None if copy is None else BUCKET_SECONDS
        return BucketKeyStore(ObjectFolder(settings.keys, settings, seconds=seconds), copy)
    return FileKeyStore(Path(settings.keys))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that serialises writers of the file."""
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep_permissions(descriptor: int, path: Path) -> None:
    """Give a file that will replace `path` its owner and mode, so that the same users can read it."""
    with suppress(FileNotFoundError, PermissionError):
        status = path.stat()
        os.fchmod(descriptor, status.st_mode & 0o777)
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _json(document: KeyDocument) -> bytes:
    return document.model_dump_json(indent=1).encode() + b"\n"


def _document(data: bytes, location: str) -> KeyDocument:
    try:
        document = KeyDocument.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        reason = f"{field}: {first['msg']}" if field else first["msg"]
        raise ConfigError(f"LOGO_KEYS: {location} is not a valid keys file: {reason}") from None
    if "format" not in document.model_fields_set:  # `{}` would revoke every key
        raise ConfigError(f"LOGO_KEYS: {location} is not a valid keys file: format: Field required")
    return document
