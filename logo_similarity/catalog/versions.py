"""The folder of catalog versions: listing, activation, trials and deletion."""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from logo_similarity.catalog.files import read_small, replacing, sync_folder
from logo_similarity.catalog.manifest import MANIFEST, Manifest, read_manifest, verify
from logo_similarity.catalog.trial import Trial
from logo_similarity.errors import CatalogError, FolderBusyError, NotFoundError
from logo_similarity.version import __version__

CURRENT = "CURRENT"
CURRENT_BYTES = 1_000
"""Maximum size of `CURRENT`, in a folder and in a bucket."""
LOCK = ".lock"
WORK_PREFIX = ".build-"
PULL_PREFIX = ".pull-"
RETRY_SECONDS = 3600.0
"""A version that failed its trial is tried again automatically after this time: the machine may have been the cause."""

# Files beside the versions that record the state of each version. Any process may write them, without the lock.
_TRIED, _REFUSED, _OPENED = ".tried-", ".refused-", ".opened-"
_MARK_BYTES = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_CHOOSE = "run `logo-similarity catalog list`, then `logo-similarity catalog activate NAME`"

TryVersion = Callable[[Path], object]
"""Raises CatalogError if the version in a folder must not be opened."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version in the folder."""

    name: str
    live: bool
    size: int
    """Total size of its files in bytes."""
    manifest: Manifest | None
    """None: the manifest cannot be used, see `problem`."""
    problem: str | None
    """Why the manifest cannot be used."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """A folder of versions; `CURRENT` names the live one."""

    root: Path

    def names(self) -> list[str]:
        """Names of the versions, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name for path in self.root.iterdir() if is_version_name(path.name) and (path / MANIFEST).is_file()
        )

    def versions(self) -> list[Version]:
        """All versions, oldest first. Reads manifests only."""
        current = self._readable_current_name()
        versions = []
        for name in self.names():
            size = sum(path.stat().st_size for path in (self.root / name).rglob("*") if path.is_file())
            try:
                versions.append(Version(name, name == current, size, read_manifest(self.root / name), None))
            except CatalogError as error:
                versions.append(Version(name, name == current, size, None, str(error)))
        return versions

    def current(self) -> Path:
        """Folder of the live version.

        Raises:
            CatalogError: no version is live, or CURRENT is not valid or names a missing version.
        """
        name = self.current_name()
        if name is None:
            raise CatalogError(
                f"{self.root} contains no catalog; build one with `logo-similarity build SOURCE --out {self.root}`"
            )
        if name not in self.names():
            raise CatalogError(f"{self.root / CURRENT} names the version {name!r}, which does not exist; {_CHOOSE}")
        return self.root / name

    def marker(self) -> tuple[int, int] | None:
        """A value that changes whenever CURRENT is written, even with the same name; None: no version is live.

        Costs one stat call.
        """
        try:
            status = (self.root / CURRENT).lstat()
        except OSError:
            return None
        return status.st_ino, status.st_ctime_ns

    def folder(self, name: str) -> Path:
        """Folder of one version.

        Raises:
            NotFoundError: no version has this name.
        """
        if name not in self.names():
            raise NotFoundError(
                f"{self.root} contains no version {name!r}; list the versions with `logo-similarity catalog list`"
            )
        return self.root / name

    def activate(
        self, name: str, on_bytes: Callable[[int], None] = lambda _: None, *, trial: TryVersion | None = None
    ) -> None:
        """Verify every byte of a version, try it, and make it live.

        Args:
            name: name of the version.
            on_bytes: called with the size of each piece read.
            trial: the trial that the version must pass; None: a trial with the default conditions.

        Raises:
            CatalogError: the version is damaged or failed its trial, or another process is writing to the folder.
            NotFoundError: no version has this name.
        """
        folder = self.folder(name)
        verify(folder, on_bytes)
        with self.locked():
            self.admit(folder, trial or Trial())
            self.flip(name)

    def admit(self, folder: Path, trial: TryVersion) -> None:
        """Try the version in `folder`, which may be outside this catalog, and record the outcome.

        Raises:
            CatalogError: the version failed its trial.
        """
        name = folder.name
        try:
            trial(folder)
        except CatalogError as error:
            self._mark(_REFUSED, name, str(error))
            self._unmark(_TRIED, name)
            raise
        self._mark(_TRIED, name, __version__)
        self._unmark(_REFUSED, name)

    def admit_once(self, name: str, trial: TryVersion) -> None:
        """Try a version, unless this version of the software has already tried the same files.

        Raises:
            CatalogError: the version failed its trial, now or less than `RETRY_SECONDS` ago.
            FolderBusyError: another process is writing to the folder, and may be trying the version.
            NotFoundError: no version has this name.
        """
        folder = self.folder(name)
        if self._is_tried(folder):
            return
        if (reason := self.refusal(name)) is not None:
            raise CatalogError(reason)
        try:
            with self.locked():
                self.admit(folder, trial)
        except PermissionError:  # a read-only folder cannot be locked
            trial(folder)

    def refusal(self, name: str) -> str | None:
        """The reason why a version failed its trial less than `RETRY_SECONDS` ago; None if it did not."""
        path = self.root / (_REFUSED + name)
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < RETRY_SECONDS:
                return read_small(path, _MARK_BYTES).decode(errors="replace")
        return None

    def mark_opened(self, name: str) -> None:
        """Record that a service has opened this version: it is not deleted until another one has been opened."""
        self._mark(_OPENED, name, __version__)

    def last_opened(self) -> str | None:
        """Name of the version that a service opened last; None if no service has opened one of these versions."""
        times = {name: time_ns for name in self.names() if (time_ns := self._opened_at(name))}
        return max(times, key=times.__getitem__, default=None)

    def choose(
        self, admit: Callable[[str], object], on_refused: Callable[[str, CatalogError], object] = lambda *_: None
    ) -> Path:
        """Folder of the version to serve: the live one, else the one opened last, else the newest that is admitted.

        Args:
            admit: called with the name of a version; raises CatalogError if it must not be opened.
            on_refused: called with the name of each refused version, or CURRENT, and the error.

        Raises:
            CatalogError: no version exists, or all are refused; the message has every reason, the live one's first.
        """
        others = [self.last_opened(), *reversed(self.names())]
        reasons: list[str] = []
        try:
            current: str | None = self.current().name
        except CatalogError as error:
            if self.marker() is None:  # no version was ever live
                raise
            current = None
            reasons.append(str(error))
            on_refused(CURRENT, error)
        for name in dict.fromkeys(name for name in (current, *others) if name is not None):
            try:
                admit(name)
            except CatalogError as error:
                reasons.append(str(error))
                on_refused(name, error)
            else:
                return self.root / name
        raise CatalogError("; ".join(reasons))

    def flip(self, name: str) -> None:
        """Make a version live that has passed its trial. The caller holds the lock."""
        with replacing(self.root / CURRENT) as file:
            file.write(name.encode() + b"\n")

    def prune(self, keep: int) -> list[str]:
        """Delete old versions as `drop` does, and the leftovers of interrupted and failed builds and pulls.

        A build or pull in progress holds the lock, so its folder is not deleted. A process that has mapped a deleted
        version can keep using it, because its files remain until they are unmapped.

        Args:
            keep: number of newest versions to keep.

        Returns:
            The names of the deleted folders: versions, then leftovers.

        Raises:
            CatalogError: the folder has versions but none is live, it has neither versions nor leftovers, or another
                process is writing to it.
        """
        if self.names() or not self._leftovers():
            self.current()  # raises CatalogError
        with self.locked():
            names = self.drop(keep) if self.names() else []
            leftovers = self._leftovers()
            for leftover in leftovers:
                shutil.rmtree(leftover)
        return [*names, *(leftover.name for leftover in leftovers)]

    def drop(self, keep: int) -> list[str]:
        """Delete old versions. The caller holds the lock.

        Args:
            keep: number of newest versions to keep. The live version and the last opened one are kept, too.

        Returns:
            The names of the deleted versions.
        """
        kept = {self.current().name, self.last_opened()}
        names = self.names()
        old_names = [name for name in names[: max(0, len(names) - keep)] if name not in kept]
        for name in old_names:
            # Renamed first: an interrupted deletion must not leave a version that looks complete.
            (self.root / name).rename(self.root / f".pruned-{name}")
        for folder in self.root.glob(".pruned-*"):
            shutil.rmtree(folder)
        remaining = self.names()
        for kind in (_TRIED, _REFUSED, _OPENED):
            for mark in self.root.glob(f"{kind}*"):
                if mark.name.removeprefix(kind) not in remaining:
                    mark.unlink(missing_ok=True)
        sync_folder(self.root)
        return old_names

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for writing. The kernel releases the lock when the process ends, even if it is killed.

        Raises:
            FolderBusyError: another process holds the lock.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / LOCK).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusyError(
                    f"{self.root}: another build or activation is running; wait until it has finished"
                ) from None
            yield

    def current_name(self) -> str | None:
        """The name in CURRENT; None if the file does not exist. The version may be missing.

        Raises:
            CatalogError: CURRENT is not a regular file with a valid version name.
        """
        path = self.root / CURRENT
        if path.is_symlink():
            raise CatalogError(f"{path} is a symbolic link, not a regular file; {_CHOOSE}")
        try:
            name = read_small(path, CURRENT_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CatalogError(f"{path}: cannot be read ({error.strerror})") from None
        if not is_version_name(name):
            raise CatalogError(f"{path} does not contain the name of a version; {_CHOOSE}")
        return name

    def _leftovers(self) -> list[Path]:
        """The working folders of builds and pulls. None of them is in use if this process holds the lock."""
        return [path for prefix in (WORK_PREFIX, PULL_PREFIX) for path in sorted(self.root.glob(prefix + "*"))]

    def _readable_current_name(self) -> str | None:
        try:
            return self.current_name()
        except CatalogError:
            return None

    def _is_tried(self, folder: Path) -> bool:
        """Whether a version passed a trial by this version of the software, and no file has changed since."""
        mark = self.root / (_TRIED + folder.name)
        try:
            newest = max(path.stat().st_mtime_ns for path in folder.rglob("*"))
            return mark.stat().st_mtime_ns >= newest and read_small(mark, _MARK_BYTES) == __version__.encode()
        except OSError:
            return False

    def _mark(self, kind: str, name: str, content: str) -> None:
        # If a mark cannot be written (full disk, read-only folder), the only consequence is another trial.
        with suppress(OSError):
            (self.root / (kind + name)).write_bytes(content.encode()[:_MARK_BYTES])

    def _unmark(self, kind: str, name: str) -> None:
        with suppress(OSError):
            (self.root / (kind + name)).unlink(missing_ok=True)

    def _opened_at(self, name: str) -> int | None:
        try:
            return (self.root / (_OPENED + name)).stat().st_mtime_ns
        except OSError:
            return None


def is_version_name(name: str) -> bool:
    """Whether a version's folder may have this name: no separators, no control characters, not hidden."""
    return _NAME.fullmatch(name) is not None
