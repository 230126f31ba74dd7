"""The folder of catalog versions: which there are, which is live, and how that changes."""

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
"""Largest `CURRENT`, here and in a bucket."""
LOCK = ".lock"
WORK_PREFIX = ".build-"
PULL_PREFIX = ".pull-"
RETRY_SECONDS = 3600.0
"""A version that failed its trial is tried again by itself after so long: the reason may have been this machine."""

# What is known of a version, as files beside the versions: each is written at once, by any process, without the lock.
_TRIED, _REFUSED, _OPENED = ".tried-", ".refused-", ".opened-"
_MARK_BYTES = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_CHOOSE = "run `logo-similarity catalog list`, then `logo-similarity catalog activate NAME`"

TryVersion = Callable[[Path], object]
"""Raises CatalogError where the version in a folder must not be opened."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version in the folder. `problem` says why its manifest can't be used, where it can't."""

    name: str
    live: bool
    size: int
    manifest: Manifest | None
    problem: str | None


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
        """Every version with its manifest, oldest first. Reads manifests only."""
        current = self._readable_current_name()
        found = []
        for name in self.names():
            size = sum(path.stat().st_size for path in (self.root / name).rglob("*") if path.is_file())
            try:
                found.append(Version(name, name == current, size, read_manifest(self.root / name), None))
            except CatalogError as error:
                found.append(Version(name, name == current, size, None, str(error)))
        return found

    def current(self) -> Path:
        """Folder of the live version.

        Raises:
            CatalogError: there is none, or CURRENT names one that is not there.
        """
        name = self.current_name()
        if name is None:
            raise CatalogError(
                f"{self.root} holds no catalog: make one with `logo-similarity build SOURCE --out {self.root}`"
            )
        if name not in self.names():
            raise CatalogError(f"{self.root / CURRENT} names the version {name!r}, which does not exist; {_CHOOSE}")
        return self.root / name

    def marker(self) -> tuple[int, int] | None:
        """Changes whenever CURRENT is set, be it to the same version; None where there is none. Costs one stat."""
        try:
            facts = (self.root / CURRENT).lstat()
        except OSError:
            return None
        return facts.st_ino, facts.st_ctime_ns

    def folder(self, name: str) -> Path:
        """Folder of one version. Raises NotFoundError where there is none of that name."""
        if name not in self.names():
            raise NotFoundError(
                f"{self.root} holds no version {name!r}; `logo-similarity catalog list` shows those it has"
            )
        return self.root / name

    def activate(
        self, name: str, on_bytes: Callable[[int], None] = lambda _: None, *, trial: TryVersion | None = None
    ) -> None:
        """Make a version the live one, after reading every byte of it and trying it. A damaged one changes nothing.

        Args:
            name: of the version.
            on_bytes: gets the number of bytes of each piece read.
            trial: the trial; None: one with the default conditions.

        Raises:
            CatalogError: it is damaged or failed its trial, or another process works in the folder.
            NotFoundError: no version of that name.
        """
        folder = self.folder(name)
        verify(folder, on_bytes)
        with self.locked():
            self.admit(folder, trial or Trial())
            self.flip(name)

    def admit(self, folder: Path, trial: TryVersion) -> None:
        """Try the version in `folder`, which may be outside of this one, and note the outcome.

        Raises:
            CatalogError: it failed.
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
        """Try a version unless its last trial, by this version of the software, says enough.

        Raises:
            CatalogError: it failed, now or less than `RETRY_SECONDS` ago.
            FolderBusyError: another process works in the folder, and may be trying it.
            NotFoundError: no version of that name.
        """
        folder = self.folder(name)
        if self._is_tried(folder):
            return
        if (reason := self.refusal(name)) is not None:
            raise CatalogError(reason)
        try:
            with self.locked():
                self.admit(folder, trial)
        except PermissionError:  # a folder that cannot be written to has no lock
            trial(folder)

    def refusal(self, name: str) -> str | None:
        """Why a version failed its trial less than `RETRY_SECONDS` ago; None where it did not."""
        path = self.root / (_REFUSED + name)
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < RETRY_SECONDS:
                return read_small(path, _MARK_BYTES).decode(errors="replace")
        return None

    def mark_opened(self, name: str) -> None:
        """Note that a service has opened this version: it is not deleted before another one was."""
        self._mark(_OPENED, name, __version__)

    def last_opened(self) -> str | None:
        """The version that a service opened last; None where none is known that is here."""
        opened = {name: at for name in self.names() if (at := self._opened_at(name))}
        return max(opened, key=opened.__getitem__, default=None)

    def choose(
        self, admit: Callable[[str], object], on_refused: Callable[[str, CatalogError], object] = lambda *_: None
    ) -> Path:
        """Folder of the version to serve: the live one, or if it is refused, the one opened last, or the newest other one.

        Args:
            admit: gets the name of a version, and raises CatalogError if it must not be opened.
            on_refused: gets the name of each version that is refused, and the reason.

        Raises:
            CatalogError: there is no version, or all are refused; gives the reason of each, the live one's first.
        """
        others = [self.last_opened(), *reversed(self.names())]
        reasons: list[str] = []
        try:
            wanted: str | None = self.current().name
        except CatalogError as error:
            if self.marker() is None:  # nothing was ever made live here
                raise
            wanted = None
            reasons.append(str(error))
            on_refused(CURRENT, error)
        for name in dict.fromkeys(name for name in (wanted, *others) if name is not None):
            try:
                admit(name)
            except CatalogError as error:
                reasons.append(str(error))
                on_refused(name, error)
            else:
                return self.root / name
        raise CatalogError("; ".join(reasons))

    def flip(self, name: str) -> None:
        """Point CURRENT at a version that is known to be good; the caller holds the lock."""
        with replacing(self.root / CURRENT) as file:
            file.write(name.encode() + b"\n")

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest `keep` versions and those that `drop` spares, and what broken-off builds and pulls left.

        Returns the names of the versions that went.

        A process that has one of them mapped goes on reading it: unlinking does not take pages away.
        """
        self.current()  # where there is none, there is nothing to lock
        with self.locked():
            doomed = self.drop(keep)
            for leftover in (path for prefix in (WORK_PREFIX, PULL_PREFIX) for path in self.root.glob(prefix + "*")):
                shutil.rmtree(leftover)
        return doomed

    def drop(self, keep: int) -> list[str]:
        """Delete all versions but the newest `keep`, the live one and the one that a service opened last.

        The caller holds the lock. Returns their names.
        """
        spared = {self.current().name, self.last_opened()}
        names = self.names()
        doomed = [name for name in names[: max(0, len(names) - keep)] if name not in spared]
        for name in doomed:
            # Out of sight first: a kill half-way must not leave a version that looks whole.
            (self.root / name).rename(self.root / f".pruned-{name}")
        for hidden in self.root.glob(".pruned-*"):
            shutil.rmtree(hidden)
        here = self.names()
        for kind in (_TRIED, _REFUSED, _OPENED):
            for mark in self.root.glob(f"{kind}*"):
                if mark.name.removeprefix(kind) not in here:
                    mark.unlink(missing_ok=True)
        sync_folder(self.root)
        return doomed

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one writer. The kernel lets go of it when the process dies, however it dies.

        Raises:
            FolderBusyError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / LOCK).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderBusyError(
                    f"{self.root}: another build or activation is at work there; wait for it to end"
                ) from None
            yield

    def current_name(self) -> str | None:
        """What CURRENT says; None where there is none.

        Raises:
            CatalogError: it is not a regular file that holds the name of a version.
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

    def _readable_current_name(self) -> str | None:
        try:
            return self.current_name()
        except CatalogError:
            return None

    def _is_tried(self, folder: Path) -> bool:
        """Whether this version of the software has tried these files: none of them is newer than the trial."""
        mark = self.root / (_TRIED + folder.name)
        try:
            newest = max(path.stat().st_mtime_ns for path in folder.rglob("*"))
            return mark.stat().st_mtime_ns >= newest and read_small(mark, _MARK_BYTES) == __version__.encode()
        except OSError:
            return False

    def _mark(self, kind: str, name: str, content: str) -> None:
        # A mark that cannot be written (a full disk, a read-only folder) costs another trial, no more.
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
    """Whether this can be the name of a version's folder: no separator, no control character, not hidden."""
    return _NAME.fullmatch(name) is not None
