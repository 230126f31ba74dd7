"""`live/<version>/`: the changes of the overlay as segments, small immutable folders that are searched with the version.

`live.json` names the segments, and is replaced atomically. Everything else in the folder is being written or no longer
needed. All of it derives from `overlay.db`, and may be deleted while no service runs.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from logo_similarity.catalog.files import read_small, replacing
from logo_similarity.catalog.live import LiveFiles
from logo_similarity.errors import CatalogError, FolderBusyError

LIVE = "live"
"""The folder, beside the versions."""
LIVE_JSON = "live.json"
IDS = "ids.json"
MOST_BYTES = 1_000_000
"""Maximum size of `live.json`."""
LOCK = ".lock"
"""Held while the segments are changed."""
MERGE_LOCK, PUBLISH_LOCK = ".merge-lock", ".publish-lock"
MERGING = ".merging-"
"""Prefix of the folder in which a merged segment is written, beside those of the versions."""
PUBLISHING = ".publishing"
"""The folder of the files that are being published."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9\-]{1,100}$")]
Sequence = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SegmentRange(_Part):
    """The logos whose latest change, when it was written, was in a range of the overlay."""

    name: Name
    """Of its folder; if all logos of the range are deleted, it has no folder."""
    first: Sequence
    """The last change before the range."""
    last: Sequence
    logos: Annotated[int, Field(ge=0)]
    """Number of its rows."""
    changed: Annotated[int, Field(ge=0)]
    """Number of the logos that were changed, deleted ones included."""


class LiveState(_Part):
    """The content of `live.json`."""

    format: Literal[1] = 1
    overlay: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    """`Overlay.id`."""
    start: Sequence
    """`Overlay.start`: the last change that is not applied."""
    generation: Sequence
    """The last change that is applied."""
    segments: tuple[SegmentRange, ...] = ()
    """Oldest first."""
    hidden: Name
    """Name of the file of the hidden rows."""
    hidden_counts: tuple[Sequence, ...] = (0,)
    """Number of the hidden rows of the base, and of each segment that has a folder."""


@dataclass(frozen=True, slots=True)
class LiveFolder:
    """The folder of the segments for one version."""

    path: Path

    @classmethod
    def of(cls, root: Path, version: str) -> LiveFolder:
        """That of a version of the catalog in the folder `root`."""
        return cls(root / LIVE / version)

    def marker(self) -> tuple[int, int] | None:
        """A value that changes whenever `live.json` is written; None: there is none. Costs one stat call."""
        try:
            status = (self.path / LIVE_JSON).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def read(self, name: str = LIVE_JSON) -> LiveState | None:
        """The state in `live.json`, or in another file of the folder; None: there is none.

        Raises:
            CatalogError: the file is damaged.
        """
        path = self.path / name
        try:
            return LiveState.model_validate_json(read_small(path, MOST_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CatalogError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValidationError, RecursionError):
            raise CatalogError(f"{path}: damaged; it is written again from the changes") from None

    def files(self, name: str = LIVE_JSON) -> LiveFiles | None:
        """The files of the state in `live.json`, or in another file of the folder; None: there is none.

        Raises:
            CatalogError: the state or the file of the hidden rows is damaged.
        """
        state = self.read(name)
        if state is None:
            return None
        return LiveFiles(state.generation, self.segments(state), self.read_hidden(state))

    def write(self, state: LiveState, name: str = LIVE_JSON) -> None:
        """Replace `live.json`, or another file of the folder."""
        with replacing(self.path / name) as file:
            file.write(state.model_dump_json().encode() + b"\n")

    def discard(self) -> None:
        """Delete `live.json`, so that everything is written again from the changes."""
        (self.path / LIVE_JSON).unlink(missing_ok=True)

    def write_hidden(self, name: str, hidden: list[NDArray[np.int64]]) -> None:
        """Write a file of hidden rows."""
        with replacing(self.path / name) as file:
            np.save(file, np.concatenate(hidden), allow_pickle=False)

    def read_hidden(self, state: LiveState) -> tuple[NDArray[np.int64], ...]:
        """The hidden rows of the base, and of each segment that has a folder.

        Raises:
            CatalogError: the file is missing or damaged.
        """
        path = self.path / state.hidden
        try:
            rows = np.array(np.load(path, mmap_mode="r", allow_pickle=False))  # mapped: no larger than the file
        except (OSError, ValueError, EOFError) as error:
            raise CatalogError(f"{path}: cannot be read ({error})") from None
        if rows.dtype != np.int64 or rows.shape != (sum(state.hidden_counts),):
            raise CatalogError(f"{path}: damaged: not the rows that {LIVE_JSON} lists")
        return tuple(np.split(rows, np.cumsum(state.hidden_counts)[:-1]))

    def segments(self, state: LiveState) -> tuple[Path, ...]:
        """The folders of the segments that have one, oldest first."""
        return tuple(self.path / segment.name for segment in state.segments if segment.logos)

    def clean(self, state: LiveState) -> None:
        """Delete what `live.json` does not name. A process that has mapped a deleted segment can keep using it."""
        named = {LIVE_JSON, state.hidden, *(name for one in state.segments for name in (one.name, ids_name(one.name)))}
        for path in self.path.iterdir():
            if path.name in named:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def locked(root: Path, name: str, *, waiting: bool = False) -> Iterator[None]:
    """Hold one of the locks of the segments of a catalog. The kernel releases it when the process ends.

    Raises:
        FolderBusyError: another process holds the lock, and `waiting` is false.
    """
    folder = root / LIVE
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        except BlockingIOError:
            raise FolderBusyError(f"{folder}: another process is writing the segments") from None
        yield


def ids_name(segment: str) -> str:
    """The name of the file of a segment's ids, which only its writer reads."""
    return f"{segment}.{IDS}"
