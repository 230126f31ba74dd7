"""The layout of L3D, the Large Labelled Logo Dataset (arXiv 2112.05404): images/ beside results.json or output_<year>.json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import ijson

from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.catalog.sources.images import ImageNames, OpenNames
from logo_similarity.catalog.sources.rows import RowError, abbreviate, make_record, make_reject
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, find_images

YEARLY = re.compile(r"^output_\d{4}\.json$", re.IGNORECASE)
LONGEST_BLANK = 4_096
FIELDS_OF_L3D = ("text", "vienna_codes", "year")
"""The register fields that L3D has. It calls them by the same names."""


class L3dSource:
    """Records of `results.json`, then those of the yearly files whose image is not in it.

    The names in these files may differ in case from those on disk; codes are a list, or a text if there is only one; a year is
    a text or a number.
    """

    kind = "l3d"

    def __init__(self, folder: Path, images: ImageFiles | None = None, names: OpenNames = ImageNames) -> None:
        self._metadata = metadata_files(folder)
        if not self._metadata:
            raise SourceError(f"{folder}: contains neither results.json nor output_<year>.json")
        self._names = names
        self.images: ImageFiles = images or find_images(folder)

    def files(self) -> Iterator[Path]:
        """The JSON files that are read."""
        return iter(self._metadata)

    def description(self) -> SourceDescription:
        """The files that are read."""
        return SourceDescription(kind=self.kind, facts={"files": ", ".join(path.name for path in self._metadata)})

    def rows(self) -> Iterator[Record | Reject]:
        """Every record of the files, except those of an image that an earlier file contains."""
        names = self._names(self.images)
        seen: set[str] = set()
        for path in self._metadata:
            in_this_file: set[str] = set()
            for position, item in enumerate(_items(path)):
                where = f"{path.name}[{position}]"
                try:
                    filename = names.resolve(_file(item))
                    if filename in seen:
                        continue
                    if len(self._metadata) > 1:
                        in_this_file.add(filename)
                    yield _record(where, item, filename)
                except RowError as error:
                    yield make_reject(where, error, filename=item.get("file") if isinstance(item, dict) else None)
            seen |= in_this_file


def metadata_files(folder: Path) -> list[Path]:
    """`results.json` first, since it is the cleaned form, then the yearly files in order; empty if `folder` has neither."""
    if not folder.is_dir():
        return []
    yearly = sorted(path for path in folder.iterdir() if YEARLY.match(path.name))
    results = folder / "results.json"
    return [*([results] if results.is_file() else []), *yearly]


def _items(path: Path) -> Iterator[Any]:
    """The elements of a JSON array, one at a time."""
    try:
        with path.open("rb") as file:
            if not file.read(LONGEST_BLANK).lstrip().startswith(b"["):
                raise ValueError("it does not start with [")  # noqa: TRY301 - reported like every other fault of the file
            file.seek(0)
            yield from ijson.items(file, "item", use_float=True)
    except (ijson.JSONError, ValueError, OverflowError) as error:
        reason = str(error).strip().partition("\n")[0] or "invalid JSON"
        raise SourceError(
            f"{path}: is not a complete JSON array ({reason}); fix the file and run the build again"
        ) from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None


def _file(item: object) -> object:
    if not isinstance(item, dict):
        raise RowError(f"{abbreviate(item)} is not an object")
    if "file" not in item:
        raise RowError("the object has no 'file'")
    return item["file"]


def _record(where: str, item: dict[str, Any], filename: str) -> Record:
    extra = {name: value for name, value in item.items() if name not in ("file", *FIELDS_OF_L3D)}
    return make_record(
        where=where,
        logo_id=PurePosixPath(filename).stem,
        filename=filename,
        fields={name: item.get(name) for name in FIELDS_OF_L3D},
        extra=extra,
    )
