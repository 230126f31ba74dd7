"""The changes of the overlay as segments: what searches see of them."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logo_similarity.build.base import BaseVersion
from logo_similarity.build.merging import merge_logo
from logo_similarity.build.overlay_images import OverlayImages, unpack
from logo_similarity.build.segment import SegmentEntry, write_segment
from logo_similarity.build.shards import StoredImage
from logo_similarity.catalog.files import replacing, sync_folder
from logo_similarity.catalog.live_folder import (
    LIVE,
    LOCK,
    MERGE_LOCK,
    MERGING,
    PUBLISHING,
    LiveFolder,
    LiveState,
    SegmentRange,
    ids_name,
    locked,
)
from logo_similarity.catalog.overlay import Overlay, OverlayImage
from logo_similarity.catalog.versions import Catalog
from logo_similarity.description import Description, Parts, Place
from logo_similarity.errors import CatalogError, FolderBusyError
from logo_similarity.fields import Record
from logo_similarity.search.part_index import BOX_STEPS

SEALED_ROWS = 500
"""A segment of so many changed logos is not written anew with the next changes: that takes about a second."""
LARGER = 2
"""Each sealed segment is at least so many times as large as all later ones together; otherwise it is merged with them. Of
200 sealed segments 3 remain on average, 5 at most, and each logo is written 6 times."""
LEAST_MERGED = 3
"""Least number of segments that are merged into one."""

DescribeImage = Callable[[str], OverlayImage | None]
"""Describes an image by its name in the image store, and keeps the description; None: it cannot be read."""


class _Ids(NamedTuple):
    """The logos of a segment."""

    rows: list[str]
    """Ids, in row order."""
    gone: list[str]
    """Ids of those that are deleted."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush did."""

    state: LiveState
    written: bool
    """Whether there was something new."""
    unreadable: int
    """Number of logos that are left out, because their images are neither described nor in the image store."""


class Flusher:
    """Writes the changes of an overlay into the segments for one version. Not safe for threads."""

    def __init__(
        self, root: Path, overlay: Overlay, base: BaseVersion, describe: DescribeImage = lambda _: None
    ) -> None:
        """Write nothing yet.

        Args:
            root: folder of the catalog.
            overlay: the changes.
            base: the version.
            describe: describes an image that another encoder than that of the version described.
        """
        self._root = root
        self._overlay = overlay
        self._base = base
        self._images = OverlayImages(overlay, base.encoder)
        self._describe = describe
        self._folder = LiveFolder.of(root, base.name)
        self._ids: dict[str, _Ids] = {}
        """By segment; those of `_checked`."""
        self._base_rows: dict[str, int | None] = {}
        self._checked: LiveState | None = None
        """The latest state that this process has written or checked."""
        self._unreadable = 0

    def is_due(self) -> bool:
        """Whether the overlay has changes that are not in the segments. Costs a few queries."""
        state = self._read()
        return state is None or state.generation < self._overlay.last() or self._is_stale(state)

    def is_behind(self) -> bool:
        """Whether changes were dropped that the version does not contain: the live version, not yet open here, does."""
        complete = self._overlay.start(self._base.name) == self._overlay.folded(self._base.name)
        return not complete and Catalog(self._root).current_name() != self._base.name

    def _check_not_behind(self) -> None:
        if self.is_behind():
            raise FolderBusyError(f"{self._base.folder}: a newer version is being opened")

    def flush(self) -> Flushed:
        """Write the segments up to the latest change.

        Raises:
            FolderBusyError: another process is doing this, or the version is behind.
            CatalogError: the overlay or the base is damaged.
            OSError: the files cannot be written.
        """
        with locked(self._root, LOCK):
            self._check_not_behind()
            self._unreadable = 0
            last = self._overlay.last()
            usable = self._usable_state()
            if usable is not None:
                self._folder.clean(usable)  # another process may have been killed before it did
            if usable is not None and usable.generation >= last:
                return Flushed(usable, written=False, unreadable=0)
            state = usable or self._empty()
            self._folder.path.mkdir(parents=True, exist_ok=True)
            made = self._finish(state, self._with_tail(state, last), last)
            return Flushed(made, written=True, unreadable=self._unreadable)

    def merge(self) -> bool:
        """Merge some segments into one, if there are many. Other processes may flush in the meantime.

        Returns:
            Whether there were many.

        Raises:
            FolderBusyError: another process is doing this.
            CatalogError, OSError: as `flush`.
        """
        with locked(self._root, MERGE_LOCK):
            state = self._usable_state()
            group = () if state is None else _choose(state.segments)
            if state is None or not group:
                return False
            work = self._root / LIVE / (MERGING + self._base.name)
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            later = {
                logo_id
                for segment in state.segments
                if segment.first >= group[-1].last
                for logo_id in _all(self._ids[segment.name])
            }
            newest_first = (
                logo_id for segment in reversed(group) for logo_id in reversed(_all(self._ids[segment.name]))
            )
            current = [logo_id for logo_id in dict.fromkeys(newest_first) if logo_id not in later]
            made, ids = self._write(work, group[0].first, group[-1].last, current[::-1])
            with locked(self._root, LOCK, waiting=True):
                self._check_not_behind()
                self._replace(group, made, ids, work)
            shutil.rmtree(work)
            return True

    def _replace(self, group: Sequence[SegmentRange], made: SegmentRange, ids: _Ids, work: Path) -> None:
        """Put a merged segment in the place of the others, unless they have been replaced."""
        state = self._usable_state()
        if state is None or not set(group) <= set(state.segments):
            return
        if made.logos:
            (work / made.name).rename(self._folder.path / made.name)
        self._keep_ids(made, ids)
        before = [segment for segment in state.segments if segment.last <= made.first]
        after = [segment for segment in state.segments if segment.first >= made.last]
        self._finish(state, (*before, made, *after), state.generation)

    def _read(self) -> LiveState | None:
        try:
            return self._folder.read()
        except CatalogError:
            return None

    def _is_stale(self, state: LiveState) -> bool:
        """Whether the segments belong to another overlay, or to other changes of it."""
        overlay = self._overlay
        return (state.overlay, state.start) != (overlay.id, overlay.start(self._base.name)) or (
            state.generation > overlay.last()
        )

    def _usable_state(self) -> LiveState | None:
        """The state to go on from; None: there is none, or a part of it cannot be used."""
        state = self._read()
        if state is None or self._is_stale(state):
            return None
        if state == self._checked:
            return state
        try:
            self._folder.read_hidden(state)
            ids = {segment.name: self._read_ids(segment) for segment in state.segments}
        except CatalogError:
            return None
        self._ids, self._checked = ids, state
        return state

    def _empty(self) -> LiveState:
        self._ids = {}
        start = self._overlay.start(self._base.name)
        return LiveState(overlay=self._overlay.id, start=start, generation=start, hidden="none")

    def _read_ids(self, segment: SegmentRange) -> _Ids:
        path = self._folder.path / ids_name(segment.name)
        try:
            ids = _Ids(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise CatalogError(f"{path}: cannot be read ({error})") from None
        manifest = self._folder.path / segment.name / "manifest.json"
        if len(ids.rows) != segment.logos or (segment.logos and not manifest.exists()):
            raise CatalogError(f"{path}: not the logos of its segment")
        return ids

    def _with_tail(self, state: LiveState, last: int) -> tuple[SegmentRange, ...]:
        """The segments with a new last one, which replaces one that is not sealed."""
        sealed = state.segments
        if sealed and sealed[-1].changed < SEALED_ROWS:
            sealed = sealed[:-1]
        first = sealed[-1].last if sealed else state.start
        ids = self._overlay.changed_ids(first, last)
        if not ids:
            return sealed
        made, logos = self._write(self._folder.path, first, last, ids)
        self._keep_ids(made, logos)
        return (*sealed, made)

    def _write(self, folder: Path, first: int, last: int, ids: list[str]) -> tuple[SegmentRange, _Ids]:
        """Write a segment of the logos with these ids, whose latest changes are in a range, below `folder`."""
        name = f"{last}-{secrets.token_hex(4)}"
        rows: list[str] = []
        gone: list[str] = []

        def entries() -> Iterator[SegmentEntry]:
            for logo_id in ids:
                entry = self._entry(logo_id, last)
                if entry is None:
                    gone.append(logo_id)
                else:
                    rows.append(logo_id)
                    yield entry

        found = entries()
        if (one := next(found, None)) is not None:
            write_segment(folder / name, _after(one, found), self._base.manifest)
        made = SegmentRange(name=name, first=first, last=last, logos=len(rows), changed=len(ids))
        return made, _Ids(rows, gone)

    def _keep_ids(self, segment: SegmentRange, ids: _Ids) -> None:
        with replacing(self._folder.path / ids_name(segment.name)) as file:
            file.write(json.dumps(ids._asdict()).encode())
        self._ids[segment.name] = ids

    def _entry(self, logo_id: str, last: int) -> SegmentEntry | None:
        """A logo as it is after a change; None: it is deleted, or has no image."""
        rows = [*self._base.rows(logo_id), *self._overlay.rows(logo_id, self._overlay.start(self._base.name), last)]
        merged = merge_logo(rows)
        if merged is None or merged.record is None or not merged.record.filename:
            return None
        record = merged.record
        logo = self._base.find(logo_id)
        if logo is not None and logo.filename == record.filename:
            return make_entry(record, self._base.images.of_row(logo.id), self._base.text(logo.id))
        image = self._images.named(record.filename) or self._describe(record.filename)
        if image is None:
            self._unreadable += 1
            return None
        return make_entry(record, unpack(image, self._base.encoder), image.words)

    def _finish(self, state: LiveState, segments: tuple[SegmentRange, ...], last: int) -> LiveState:
        """Compute the hidden rows, and make the segments visible."""
        seen: set[str] = set()
        hidden: list[NDArray[np.int64]] = []
        for segment in reversed(segments):
            ids = self._ids[segment.name]
            if segment.logos:
                hidden.append(_numbers(row for row, logo_id in enumerate(ids.rows) if logo_id in seen))
            seen.update(_all(ids))
        hidden.append(_numbers(row for logo_id in seen if (row := self._base_row(logo_id)) is not None))
        hidden.reverse()
        name = f"hidden-{last}-{secrets.token_hex(4)}"
        self._folder.write_hidden(name, hidden)
        made = LiveState(
            overlay=state.overlay,
            start=state.start,
            generation=last,
            segments=segments,
            hidden=name,
            hidden_counts=tuple(map(len, hidden)),
        )
        sync_folder(self._folder.path)
        self._folder.write(made)
        self._checked = made
        self._ids = {segment.name: self._ids[segment.name] for segment in segments}
        self._folder.clean(made)
        return made

    def _base_row(self, logo_id: str) -> int | None:
        if logo_id not in self._base_rows:
            logo = self._base.find(logo_id)
            self._base_rows[logo_id] = None if logo is None else logo.id
        return self._base_rows[logo_id]


def make_entry(record: Record, image: StoredImage, words: str | None) -> SegmentEntry:
    """A logo of a segment."""
    boxes = (image.parts.boxes / np.float32(BOX_STEPS)).astype(np.float32)
    return SegmentEntry(
        record,
        Description(image.embedding, image.patches, place=Place(*image.place.tolist())),
        Parts(image.parts.embeddings, boxes),
        words,
        image.digest,
        image.damage,
    )


def drop_segments(catalog: Catalog, keep: str) -> None:
    """Delete the segments for versions that no longer exist; those for the version `keep` stay."""
    names = {*catalog.names(), keep, PUBLISHING}
    for path in (catalog.root / LIVE).glob("*"):
        if path.is_dir() and path.name.removeprefix(MERGING) not in names:
            shutil.rmtree(path, ignore_errors=True)


def _choose(segments: Sequence[SegmentRange]) -> Sequence[SegmentRange]:
    """The sealed segments to merge: the latest ones, see `LARGER`; none if there are few."""
    sealed = segments if segments and segments[-1].changed >= SEALED_ROWS else segments[:-1]
    start, later = len(sealed), 0
    for place in reversed(range(len(sealed))):
        if sealed[place].changed < LARGER * later:
            start = place
        later += sealed[place].changed
    return sealed[start:] if len(sealed) - start >= LEAST_MERGED else ()


def _all(ids: _Ids) -> list[str]:
    return [*ids.rows, *ids.gone]


def _after(first: SegmentEntry, rest: Iterable[SegmentEntry]) -> Iterator[SegmentEntry]:
    yield first
    yield from rest


def _numbers(rows: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(sorted(rows), np.int64)
