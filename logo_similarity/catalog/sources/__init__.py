"""Readers of data sets: each row of one becomes a record or a reject, in a stable order, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.folder import FolderSource
from logo_similarity.catalog.sources.images import ImageNames, OpenNames
from logo_similarity.catalog.sources.l3d import L3dSource, metadata_files
from logo_similarity.catalog.sources.registers import RegisterSource, is_register
from logo_similarity.catalog.sources.table import TABLES, TableSource
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.folder import image_names
from logo_similarity.image.formats import EXTENSIONS

UPDATED_KINDS = (RegisterSource.kind,)
"""Kinds of sources in which later rows of a logo update earlier ones. In all others, a repeated id is a fault."""


class Source(Protocol):
    """A data set that can be read."""

    kind: str
    images: Path
    """The folder that `Record.filename` is relative to."""

    def files(self) -> Iterator[Path]:
        """The files with the metadata: a change in one of them leads to a new catalog."""
        ...

    def rows(self) -> Iterator[Record | Removal | Reject]:
        """Every row, in the same order each time. Only kinds in `UPDATED_KINDS` have removals.

        Raises:
            SourceError: the rest of the data set cannot be read.
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
    """A source of the given kind ("l3d", "table", "register", "folder"), or of the kind that is recognised at `path`.

    Args:
        path: a folder in L3D's layout, a table file, a file or folder of a register, or a folder of images.
        kind: one of the four; None: recognised.
        images: folder of the images; None: the source's default.
        mapping: TOML file that maps the columns of a table to fields.
        names: `NamesAsWritten` if the images are not available. A folder of images always reads its own names.

    Raises:
        SourceError: `path` is not a source of this kind.
    """
    kind = kind or _recognise(path)
    if mapping is not None and kind != "table":
        raise SourceError(f"{path}: read as {kind}, and a mapping applies to tables only; leave out --mapping")
    if kind == "l3d":
        return L3dSource(path, images, names)
    if kind == "table":
        return TableSource(path, images, mapping, names)
    if kind == "register":
        return RegisterSource(path, images, names)
    if kind == "folder":
        return FolderSource(images or path)
    raise SourceError(f"unknown kind of source {kind!r}; use l3d, table, register or folder")


def _recognise(path: Path) -> str:
    if path.is_file() and path.suffix.lower() in TABLES:
        return "table"
    if path.is_dir() and metadata_files(path):
        return "l3d"
    if path.exists() and is_register(path):
        return "register"
    if path.is_dir() and any(name.lower().endswith(EXTENSIONS) for name in image_names(path)):
        return "folder"
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    reason = ": the folder contains neither images nor metadata" if path.is_dir() else ""
    raise SourceError(
        f"{path}: not recognised as a source{reason}; name a folder with results.json or output_<year>.json (layout of "
        f"L3D), a table ({', '.join(TABLES)}), XML or JSON files of a register, or a folder of images ({', '.join(EXTENSIONS)})"
    )
