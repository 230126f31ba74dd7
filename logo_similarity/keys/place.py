"""Where the document of the keys is kept: a file, or an object in a bucket that replicas share."""

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
"""What a service's look at the bucket may take: a connection that stalls must not hold up a revocation; it looks again soon."""

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
Changed = Callable[[KeyDocument], tuple[KeyDocument, Result]]


class KeyPlace(ABC):
    """Reads and changes the document. One who read it can ask whether it is still the same."""

    @abstractmethod
    def read(self) -> KeyDocument:
        """The document; an empty one where none has been written yet.

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
    def change(self, change: Callable[[KeyDocument], tuple[KeyDocument, Result]]) -> Result:
        """Put another document in the place of this one: whole or not at all, and none that somebody else wrote meanwhile.

        Returns:
            What `change` gives beside the document.

        Raises:
            ConfigError, StoreError: as `read`; or it can't be written, and nothing has changed.
        """


class FileKeys(KeyPlace):
    """The document as a file. Writers wait for each other; readers see the old or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: bytes | None = None
        """Digest of the last valid content."""

    def read(self) -> KeyDocument:
        data = self._data()
        return KeyDocument() if data is None else self._parsed(data)

    def read_changed(self) -> KeyDocument | None:
        data = self._data()
        if data is None:
            if self._seen is not None:
                raise ConfigError(f"LOGO_KEYS: {self._path} has been deleted")
            return None
        # By content: an edit in place can keep the size, and within a tick of the clock all timestamps.
        return None if self._seen == _digest(data) else self._parsed(data)

    def change(self, change: Changed[Result]) -> Result:
        if not self._path.parent.is_dir():
            raise ConfigError(
                f"LOGO_KEYS: {self._path}: the folder {self._path.parent} does not exist; create it, or correct the path"
            )
        try:
            with _locked(self._path):
                document, result = change(self.read())
                with replacing(self._path) as file:
                    _own_as_before(file.fileno(), self._path)
                    file.write(_json(document))
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be written: {error.strerror}") from None
        return result

    def _data(self) -> bytes | None:
        """The content; None where there is no file."""
        try:
            return read_regular(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be read: {error.strerror}") from None

    def _parsed(self, data: bytes) -> KeyDocument:
        document = _document(data, str(self._path))
        self._seen = _digest(data)  # only now: invalid content is reported at every look
        return document


class BucketKeys(KeyPlace):
    """The document as `<prefix>/keys.json` in a bucket."""

    def __init__(self, remote: ObjectFolder, copy: Path | None) -> None:
        """Look at `remote`; a service keeps a `copy` here, for a start while the bucket is down."""
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
            self._keep(data, self._copy)
        return document

    def _keep(self, data: bytes, copy: Path) -> None:
        try:
            with _locked(copy), replacing(copy) as file:  # all workers keep the same one
                file.write(data)
        except OSError as error:
            # What the bucket says holds all the same.
            log.warning("keys_not_copied", error=f"{copy}: {error.strerror}")

    def change(self, change: Changed[Result]) -> Result:
        self._tag = None
        document, result = change(self.read_changed() or KeyDocument())
        self._remote.write_over(OBJECT, _json(document), self._tag)
        return result


def open_keys(settings: Settings, copy: Path | None = None) -> KeyPlace:
    """The place that LOGO_KEYS names.

    Args:
        settings: say where, and how to reach a bucket.
        copy: where a service keeps what it read of a bucket, for when the bucket does not answer soon.

    Raises:
        ConfigError: it names none.
    """
    if settings.keys is None:
        raise ConfigError(
            "say where the keys are: LOGO_KEYS=keys.json, or s3://bucket/prefix where replicas share them"
        )
    if "://" in settings.keys:
        seconds = None if copy is None else BUCKET_SECONDS
        return BucketKeys(ObjectFolder(settings.keys, settings, seconds=seconds), copy)
    return FileKeys(Path(settings.keys))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until nobody else writes the file."""
    with path.with_name(path.name + ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own_as_before(descriptor: int, path: Path) -> None:
    """Give a file that will take another's place its owner and mode: who could read that one can read this one."""
    with suppress(FileNotFoundError, PermissionError):
        before = path.stat()
        os.fchmod(descriptor, before.st_mode & 0o777)
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _json(document: KeyDocument) -> bytes:
    return document.model_dump_json(indent=1).encode() + b"\n"


def _document(data: bytes, place: str) -> KeyDocument:
    try:
        document = KeyDocument.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ConfigError(f"LOGO_KEYS: {place} is not a valid keys file: {reason}") from None
    if "format" not in document.model_fields_set:  # `{}` would revoke every key
        raise ConfigError(f"LOGO_KEYS: {place} is not a valid keys file: format: Field required")
    return document
