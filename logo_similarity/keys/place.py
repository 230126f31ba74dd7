"""Where the document of the keys lies: a file, or an object in a bucket that replicas share."""

from __future__ import annotations

import fcntl
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
        """The document; an empty one where there is none yet.

        Raises:
            ConfigError: what is there is no such document.
            StoreError: the bucket can't be read.
        """

    @abstractmethod
    def read_changed(self) -> KeyDocument | None:
        """The document where it is another than at the last read; None where it is the same.

        Raises as `read` does, and ConfigError where it was there and is gone.
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
        self._seen: tuple[int, int] | None = None

    def read(self) -> KeyDocument:
        marker = self._marker()
        try:
            document = _document(self._path.read_bytes(), str(self._path))
        except FileNotFoundError:
            return KeyDocument()
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be read: {error.strerror}") from None
        self._seen = marker  # only now: what could not be read is tried again
        return document

    def read_changed(self) -> KeyDocument | None:
        marker = self._marker()
        if marker is None and self._seen is not None:
            raise ConfigError(f"LOGO_KEYS: {self._path} is gone")
        return None if marker == self._seen else self.read()

    def change(self, change: Changed[Result]) -> Result:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._path):
                document, result = change(self.read())
                with replacing(self._path) as file:
                    _own_as_before(file.fileno(), self._path)
                    file.write(_json(document))
        except OSError as error:
            raise ConfigError(f"LOGO_KEYS: {self._path} cannot be written: {error.strerror}") from None
        return result

    def _marker(self) -> tuple[int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns


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
            raise ConfigError(f"LOGO_KEYS: {self._remote.url}/{OBJECT} is gone") from None
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


def _json(document: KeyDocument) -> bytes:
    return document.model_dump_json(indent=1).encode() + b"\n"


def _document(data: bytes, place: str) -> KeyDocument:
    try:
        return KeyDocument.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"LOGO_KEYS: {place} is no document of keys: {where or 'the whole'}: {first['msg']}"
        ) from None
