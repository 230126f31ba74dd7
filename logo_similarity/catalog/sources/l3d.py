"""The layout of L3D, the Large Labelled Logo Dataset (arXiv 2112.05404): images/ beside results.json or output_<year>.json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import ijson

from logo_similarity.catalog.sources.fields import RowError, checked_filename, make_record, shown
from logo_similarity.catalog.sources.images import ImageNames, OpenNames
from logo_similarity.domain import Record, Reject
from logo_similarity.errors import SourceError

YEARLY = re.compile(r"^output_\d{4}\.json$", re.IGNORECASE)
LONGEST_BLANK = 4_096
FIELDS = ("text", "vienna_codes", "year")


class L3dSource:
    """Records of `results.json`, then those of the yearly files whose image was not in it.

    The names in these files differ in case from those on disk; codes are a list, or a plain text when there is one; a year is
    a text or a number. All are taken as they are.
    """

    kind = "l3d"

    def __init__(self, folder: Path, images: Path | None = None, names: OpenNames = ImageNames) -> None:
        self._metadata = metadata_files(folder)
        if not self._metadata:
            raise SourceError(f"{folder}: holds neither results.json nor output_<year>.json")
        self._names = names
        usual = folder / "images"
        self.images = images or (usual if usual.is_dir() else folder)

    def files(self) -> Iterator[Path]:
        """The JSON files that are read."""
        return iter(self._metadata)

    def rows(self) -> Iterator[Record | Reject]:
        """Every record of the files; a later one about an image that was met in an earlier file is passed over."""
        names = self._names(self.images)
        several = len(self._metadata) > 1
        seen: set[str] = set()
        for path in self._metadata:
            met: set[str] = set()
            for position, item in enumerate(_items(path)):
                where = f"{path.name}[{position}]"
                try:
                    filename = names.resolve(checked_filename(_file(item)))
                    if filename in seen:
                        continue
                    if several:
                        met.add(filename)
                    yield _record(item, filename)
                except RowError as error:
                    yield Reject(where, str(error))
            seen |= met


def metadata_files(folder: Path) -> list[Path]:
    """`results.json` first, since it is the cleaned form, then the yearly files in order."""
    if not folder.is_dir():
        return []
    yearly = sorted(path for path in folder.iterdir() if YEARLY.match(path.name))
    results = folder / "results.json"
    return [*([results] if results.is_file() else []), *yearly]


def _items(path: Path) -> Iterator[Any]:
    """The elements of a JSON list, one at a time."""
    try:
        with path.open("rb") as file:
            if not file.read(LONGEST_BLANK).lstrip().startswith(b"["):
                raise ValueError("it does not begin with [")  # noqa: TRY301 - said like every other fault of the file
            file.seek(0)
            yield from ijson.items(file, "item", use_float=True)
    except (ijson.JSONError, ValueError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "broken JSON"
        raise SourceError(
            f"{path}: is no whole JSON list ({reason}); what follows there would be lost: mend it first"
        ) from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None


def _file(item: object) -> object:
    if not isinstance(item, dict):
        raise RowError(f"{shown(item)} is no object with a file")
    if "file" not in item:
        raise RowError("has no file")
    return item["file"]


def _record(item: dict[str, Any], filename: str) -> Record:
    extra = {name: value for name, value in item.items() if name not in ("file", *FIELDS)}
    return make_record(
        logo_id=PurePosixPath(filename).stem,
        filename=filename,
        fields={name: item.get(name) for name in FIELDS},
        extra=extra,
    )
