"""Readers of data sets: each row of one becomes a record or a reject, in a stable order, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.folder import FolderSource
from logo_similarity.catalog.sources.images import EXTENSIONS, ImageNames, OpenNames, walk_files
from logo_similarity.catalog.sources.l3d import L3dSource, metadata_files
from logo_similarity.catalog.sources.table import TABLES, TableSource
from logo_similarity.domain import Record, Reject
from logo_similarity.errors import SourceError


class Source(Protocol):
    """A data set that can be read."""

    kind: str
    images: Path
    """The folder that `Record.filename` is relative to."""

    def files(self) -> Iterator[Path]:
        """The files that hold the metadata: a change in one of them makes another catalog."""
        ...

    def rows(self) -> Iterator[Record | Reject]:
        """Every row, as a record or as a reject, in the same order each time.

        Raises:
            SourceError: the rest of the data set can't be read.
        """
        ...


def open_source(
    path: Path,
    *,
    kind: str | None = None,
    images: Path | None = None,
    mapping: Path | None = None,
    names: OpenNames = ImageNames,
) -> Source:
    """A source of the given kind ("l3d", "table", "folder"), or of the kind that `path` looks like.

    Args:
        path: a folder in L3D's layout, a table file, or a folder of images.
        kind: which of them; recognised where it is None.
        images: folder of the images, where it is not the usual one.
        mapping: TOML file that says which column of a table is which field.
        names: `NamesAsWritten` where the images are not at hand; a folder of images is one of images all the same.

    Raises:
        SourceError: there is nothing of the kind; says what was looked for.
    """
    kind = kind or _recognise(path)
    if mapping is not None and kind != "table":
        raise SourceError(f"a mapping is for tables; {path} is read as {kind}")
    if kind == "l3d":
        return L3dSource(path, images, names)
    if kind == "table":
        return TableSource(path, images, mapping, names)
    if kind == "folder":
        return FolderSource(images or path)
    raise SourceError(f"there is no kind of source {kind!r}: l3d, table or folder")


def _recognise(path: Path) -> str:
    if path.is_file() and path.suffix.lower() in TABLES:
        return "table"
    if path.is_dir():
        if metadata_files(path):
            return "l3d"
        if any(name.lower().endswith(EXTENSIONS) for name in walk_files(path)):
            return "folder"
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    raise SourceError(
        f"{path}: not recognised. It should be a folder with results.json or output_<year>.json (L3D's layout), a table "
        f"({', '.join(TABLES)}), or a folder with images ({', '.join(EXTENSIONS)})"
    )
