"""The folder of catalog versions: which there are, which is live, and how that changes."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from logo_similarity.catalog.files import replacing, sync_folder
from logo_similarity.catalog.manifest import MANIFEST, Manifest, read_manifest, verify
from logo_similarity.errors import CatalogError, FolderBusyError, NotFoundError

CURRENT = "CURRENT"
LOCK = ".lock"
WORK_PREFIX = ".build-"


@dataclass(frozen=True, slots=True)
class Version:
    """One version in the folder. `problem` says why its manifest can't be used, where it can't."""

    name: str
    live: bool
    size: int
    manifest: Manifest | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class CatalogFolder:
    """The folder that holds the versions and `CURRENT`."""

    root: Path

    def names(self) -> list[str]:
        """Names of the versions, oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if (path / MANIFEST).is_file() and path.name[0] != ".")

    def versions(self) -> list[Version]:
        """Every version with its manifest, oldest first. Reads manifests only."""
        current = self.current_name()
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
            raise CatalogError(
                f"{self.root / CURRENT}: names a version that is not there: choose one with `logo-similarity catalog activate`"
            )
        return self.root / name

    def marker(self) -> tuple[int, int] | None:
        """Changes whenever CURRENT is set, be it to the same version; None where there is none. Costs one stat."""
        try:
            facts = (self.root / CURRENT).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns

    def folder(self, name: str) -> Path:
        """Folder of one version. Raises NotFoundError where there is none of that name."""
        if name not in self.names():
            raise NotFoundError(
                f"{self.root} holds no version {name!r}; `logo-similarity catalog list` shows those it has"
            )
        return self.root / name

    def activate(self, name: str, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Make a version the live one, after reading every byte of it. A damaged one changes nothing."""
        folder = self.folder(name)
        verify(folder, on_bytes)
        with self.locked():
            self.flip(name)

    def flip(self, name: str) -> None:
        """Point CURRENT at a version that is known to be good; the caller holds the lock."""
        with replacing(self.root / CURRENT) as file:
            file.write(name.encode() + b"\n")

    def prune(self, keep: int) -> list[str]:
        """Delete all but the newest `keep` versions, never the live one, and what broken-off builds left.

        Returns the names of the versions that went.

        A process that has one of them mapped goes on reading it: unlinking does not take pages away.
        """
        self.current()  # where there is none, there is nothing to lock
        with self.locked():
            doomed = self.drop(keep)
            for leftover in (path for prefix in (WORK_PREFIX, ".pull-") for path in self.root.glob(prefix + "*")):
                shutil.rmtree(leftover)
        return doomed

    def drop(self, keep: int) -> list[str]:
        """Delete all versions but the newest `keep` and the live one; the caller holds the lock. Returns their names."""
        live = self.current().name
        names = self.names()
        doomed = [name for name in names[: max(0, len(names) - keep)] if name != live]
        for name in doomed:
            # Out of sight first: a kill half-way must not leave a version that looks whole.
            (self.root / name).rename(self.root / f".pruned-{name}")
        for hidden in self.root.glob(".pruned-*"):
            shutil.rmtree(hidden)
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
        """What CURRENT says; None where there is none."""
        try:
            return (self.root / CURRENT).read_text(encoding="utf8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise CatalogError(f"{self.root / CURRENT}: cannot be read") from None
