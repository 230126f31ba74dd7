"""Readers of data sets: each row of one becomes a record or a reject, in a stable order, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol

from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.catalog.sources.folder import FolderSource, has_images
from logo_similarity.catalog.sources.images import ImageNames, OpenNames
from logo_similarity.catalog.sources.l3d import L3dSource, metadata_files
from logo_similarity.catalog.sources.mapping import TableOptions, read_mapping
from logo_similarity.catalog.sources.registers import RegisterSource, is_register
from logo_similarity.catalog.sources.table import TABLES, TableSource
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, file_names, open_images
from logo_similarity.image.formats import EXTENSIONS
from logo_similarity.image.zips import SUFFIX

UPDATED_KINDS = (RegisterSource.kind,)
"""Kinds of sources in which later rows of a logo update earlier ones. In all others, a repeated id is a fault."""


class Source(Protocol):
    """A data set that can be read."""

    kind: str
    images: ImageFiles
    """The images that `Record.filename` names."""

    def files(self) -> Iterator[Path]:
        """The files with the metadata: a change in one of them leads to a new catalog."""
        ...

    def rows(self) -> Iterator[Record | Removal | Reject]:
        """Every row, in the same order each time. Only kinds in `UPDATED_KINDS` have removals.

        Raises:
            SourceError: the rest of the data set cannot be read.
        """
        ...

    def description(self) -> SourceDescription:
        """How the data set is read. `SourceDescription(kind=self.kind)` will do.

        Raises:
            SourceError: the data set cannot be read.
        """
        ...


def open_source(
    path: Path,
    *,
    kind: str | None = None,
    images: Path | ImageFiles | None = None,
    mapping: Path | None = None,
    columns: Mapping[str, str] = MappingProxyType({}),
    encoding: str | None = None,
    sheet: str | None = None,
    names: OpenNames = ImageNames,
) -> Source:
    """A source of the given kind ("l3d", "table", "register", "folder"), or of the kind that is recognised at `path`.

    Args:
        path: a folder in L3D's layout, a table, a folder with a table, a file or folder of a register, or a folder or ZIP
            file of images.
        kind: one of the four; None: recognised.
        images: folder or ZIP file of the images, or the images of a bucket; None: see `find_images`.
        mapping: TOML file that states how a table is read.
        columns: columns of a table by field; these go before those of `mapping`.
        encoding: of a text table; None: that of `mapping`, or recognised.
        sheet: of a workbook; None: that of `mapping`, or the first with rows.
        names: `NamesAsWritten` if the images are not available. A folder of images always reads its own names.

    Raises:
        SourceError: `path` is not a source of this kind, or `images` cannot be read.
    """
    kind = kind or _recognise(path)
    images = open_images(images) if isinstance(images, Path) else images
    stated = {"--mapping": mapping, "--map": columns, "--encoding": encoding, "--sheet": sheet}
    given = [option for option, value in stated.items() if value]
    if given and kind != "table":
        raise SourceError(f"{path}: read as {kind}; leave out {' and '.join(given)}, for tables only")
    if kind == "l3d":
        return L3dSource(path, images, names)
    if kind == "table":
        options = TableOptions() if mapping is None else read_mapping(mapping)
        options = replace(
            options,
            columns={**options.columns, **columns},
            encoding=encoding or options.encoding,
            sheet=sheet or options.sheet,
        )
        return TableSource(_only_table(path), images, options, mapping_file=mapping, names=names)
    if kind == "register":
        return RegisterSource(path, images, names)
    if kind == "folder":
        return FolderSource(path, images)
    raise SourceError(f"unknown kind of source {kind!r}; use l3d, table, register or folder")


def _recognise(path: Path) -> str:
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    # A JSON file may also be an answer of an office's API.
    if path.is_file() and path.suffix.lower() in TABLES and (path.suffix.lower() != ".json" or not is_register(path)):
        return "table"
    if path.is_dir() and metadata_files(path):
        return "l3d"
    if is_register(path):
        return "register"
    if path.is_dir() and _tables(path):
        return "table"
    if path.is_dir() or path.suffix.lower() == SUFFIX:
        images = open_images(path)
        if path.is_file() and (inner := next(filter(_is_table, file_names(images)), None)) is not None:
            raise SourceError(
                f"{path}: contains a table ({inner}), which is not read in a ZIP file; unpack the table, and name the ZIP "
                "file with --images, or read the images without the table with --kind folder"
            )
        if has_images(images):
            return "folder"
    reason = ": the folder contains neither images nor metadata" if path.is_dir() else ""
    raise SourceError(
        f"{path}: not recognised as a source{reason}; name a folder with results.json or output_<year>.json (layout of "
        f"L3D), a table ({', '.join(TABLES)}), XML or JSON files of a register, or a folder or ZIP file of "
        f"images ({', '.join(EXTENSIONS)})"
    )


def _tables(folder: Path) -> list[Path]:
    """The tables in a folder; text files may be anything, and are not taken for one."""
    return sorted(path for path in folder.iterdir() if _is_table(path.name) and path.is_file())


def _is_table(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in set(TABLES) - {".txt", ".json"} and not path.name.startswith((".", "~$"))


def _only_table(path: Path) -> Path:
    """The table at `path`, or the only one in the folder `path`."""
    if not path.is_dir():
        return path
    tables = _tables(path)
    if len(tables) == 1:
        return tables[0]
    names = ", ".join(table.name for table in tables[:10])
    raise SourceError(
        f"{path}: contains {f'several tables ({names}); name one of them' if tables else 'no table'}, or read the images "
        "without their metadata with --kind folder"
    )
