"""Tables: CSV, JSON Lines and Parquet, with a mapping from their columns to our fields."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from logo_similarity.catalog.sources.fields import SEPARATORS, RowError, checked_filename, make_record, shown
from logo_similarity.catalog.sources.images import ImageNames, Names, OpenNames
from logo_similarity.domain import Record, Reject
from logo_similarity.errors import SourceError

OPTIONAL = ("text", "company", "vienna_codes", "nice_classes", "status", "office", "application_date", "year")
COLUMNS = ("logo_id", "filename", *OPTIONAL)
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SNIFFED_BYTES = 65_536
PARQUET_ROWS = 4_096
LONGEST_CELL = 1_000_000


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column of a table is which of our fields, and how its values are written."""

    columns: dict[str, str] = field(default_factory=dict)
    """Our name to theirs; a field that is not in it has its own name."""
    separators: re.Pattern[str] = SEPARATORS
    date_format: str | None = None


class TableSource:
    """One row, one logo. Only `filename` is needed; `logo_id` defaults to the filename without its extension."""

    kind = "table"

    def __init__(
        self, path: Path, images: Path | None = None, mapping: Path | None = None, names: OpenNames = ImageNames
    ) -> None:
        if path.suffix.lower() not in TABLES:
            raise SourceError(f"{path}: no table; its name should end in one of {', '.join(TABLES)}")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        self._path = path
        self._mapping_file = mapping
        self._names = names
        self._mapping = read_mapping(mapping) if mapping else Mapping()
        usual = path.parent / "images"
        self.images = images or (usual if usual.is_dir() else path.parent)

    def files(self) -> Iterator[Path]:
        """The table and its mapping."""
        yield self._path
        if self._mapping_file is not None:
            yield self._mapping_file

    def rows(self) -> Iterator[Record | Reject]:
        """Every row of the table."""
        names = self._names(self.images)
        for where, row in self._read():
            try:
                yield self._record(row, names)
            except RowError as error:
                yield Reject(where, str(error))

    def _record(self, row: dict[str, Any] | RowError, names: Names) -> Record:
        if isinstance(row, RowError):
            raise row
        theirs = {ours: self._mapping.columns.get(ours, ours) for ours in COLUMNS}
        filename = names.resolve(checked_filename(row.get(theirs["filename"])))
        logo_id = row.get(theirs["logo_id"])
        taken = set(theirs.values())
        return make_record(
            logo_id=str(PurePosixPath(filename).with_suffix("")) if logo_id in (None, "") else logo_id,
            filename=filename,
            fields={ours: row.get(theirs[ours]) for ours in OPTIONAL},
            extra={name: value for name, value in row.items() if name not in taken and value not in (None, "")},
            separators=self._mapping.separators,
            date_format=self._mapping.date_format,
        )

    def _read(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        """Where each row stands, and the row or why there is none."""
        suffix = self._path.suffix.lower()
        try:
            if suffix == ".parquet":
                yield from self._read_parquet()
            elif suffix in (".jsonl", ".ndjson"):
                yield from self._read_json_lines()
            else:
                yield from self._read_csv()
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read ({error.strerror or error})") from None

    def _read_csv(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        # An undecodable byte spoils its own cell, not the table.
        with self._path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            start = file.read(SNIFFED_BYTES)
            file.seek(0)
            header_line = start.partition("\n")[0]
            delimiter = max(",;\t", key=header_line.count)
            csv.field_size_limit(LONGEST_CELL)
            # Strict, since a quote that is never closed would else swallow the rows behind it without a word.
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
            except csv.Error as error:
                raise SourceError(f"{self._path}: no readable header ({error})") from None
            self._check_columns(header)
            while True:
                first = reader.line_num + 1
                where = f"{self._path.name}:{first}"
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield where, RowError(f"no readable row in lines {first} to {reader.line_num}: {error}")
                    continue
                if cells is None:
                    return
                if not cells:
                    continue
                if len(cells) != len(header):
                    yield where, RowError(f"has {len(cells)} cells, the header {len(header)}")
                else:
                    yield where, dict(zip(header, cells, strict=True))

    def _read_json_lines(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{self._path.name}:{number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    yield where, RowError("is no JSON")
                    continue
                yield where, row if isinstance(row, dict) else RowError(f"{shown(row)} is no object")

    def _read_parquet(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        import pyarrow as pa  # 100 MB that only this format needs
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(self._path)
            self._check_columns(file.schema_arrow.names)
            position = 0
            for batch in file.iter_batches(PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield f"{self._path.name}[{position}]", row
                    position += 1
        except (pa.ArrowException, ValueError, OverflowError) as error:  # the latter two: dates that Python has not
            raise SourceError(f"{self._path}: no readable Parquet file ({error})") from None

    def _check_columns(self, found: list[str]) -> None:
        """A mapped column that is missing is a mistake; an unmapped one is just a field that this table lacks."""
        needed = {"filename": self._mapping.columns.get("filename", "filename"), **self._mapping.columns}
        for ours, theirs in needed.items():
            if theirs not in found:
                raise SourceError(
                    f"{self._path}: has no column {theirs!r} for {ours}; it has {', '.join(map(repr, found))}. "
                    "Say which is which in a mapping file (--mapping)"
                )


def read_mapping(path: Path) -> Mapping:
    """A mapping file: `[columns]` ours = "theirs"; `[format]` list_separator, date.

    Raises:
        SourceError: it can't be read, or names something that there is not.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SourceError(f"{path}: no readable mapping ({error})") from None
    columns, written = content.get("columns", {}), content.get("format", {})
    if not isinstance(columns, dict) or not isinstance(written, dict):
        raise SourceError(f"{path}: columns and format are tables, written [columns] and [format]")
    unknown = [
        *(set(content) - {"columns", "format"}),
        *(set(columns) - set(COLUMNS)),
        *(set(written) - {"list_separator", "date"}),
    ]
    if unknown or not all(isinstance(value, str) for value in (*columns.values(), *written.values())):
        raise SourceError(
            f"{path}: {', '.join(sorted(unknown)) or 'a value that is no text'}: not understood. [columns] takes "
            f"{', '.join(COLUMNS)}; [format] takes list_separator, date"
        )
    separator = written.get("list_separator")
    return Mapping(
        columns, re.compile(rf"\s*{re.escape(separator)}\s*") if separator else SEPARATORS, written.get("date")
    )
