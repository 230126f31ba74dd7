"""Tables: CSV, JSON Lines and Parquet, with a mapping of their columns to fields."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from logo_similarity.catalog.sources.images import ImageNames, OpenNames
from logo_similarity.catalog.sources.rows import RowError, abbreviate, checked_filename, make_record, make_reject
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.field_kinds import DEFAULT_NOTATION, Notation
from logo_similarity.fields import FIELDS, Record
from logo_similarity.wording import counted

USUAL_COLUMNS = {
    "logo_id": ("id", "number", "application number", "serial number", "registration number"),
    "filename": ("file", "file name", "image", "image file", "picture"),
    **{field.name: field.spellings for field in FIELDS},
}
"""Usual names of the column of the id, of the filename and of every field, besides their own; for messages."""
COLUMNS = tuple(USUAL_COLUMNS)
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SNIFFED_BYTES = 65_536
PARQUET_ROWS = 4_096
LONGEST_CELL = 1_000_000


@dataclass(frozen=True, slots=True)
class Mapping:
    """The columns of a table, and how it writes lists and dates."""

    columns: dict[str, str] = field(default_factory=dict)
    """Names of columns by field; the column of any other field has the field's name."""
    notation: Notation = DEFAULT_NOTATION


class TableSource:
    """One row, one logo. Only `filename` is required; `logo_id` defaults to the filename without its extension."""

    kind = "table"

    def __init__(
        self, path: Path, images: Path | None = None, mapping: Path | None = None, names: OpenNames = ImageNames
    ) -> None:
        if path.suffix.lower() not in TABLES:
            raise SourceError(f"{path}: not a table; its name must end in one of {', '.join(TABLES)}")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        self._path = path
        self._mapping_file = mapping
        self._names = names
        self._mapping = read_mapping(mapping) if mapping else Mapping()
        self._columns = {name: self._mapping.columns.get(name, name) for name in COLUMNS}
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
            if isinstance(row, RowError):
                yield make_reject(where, row)
                continue
            logo_id, filename = (row.get(self._columns[name]) for name in ("logo_id", "filename"))
            try:
                yield self._record(where, row, logo_id, names.resolve(checked_filename(filename)))
            except RowError as error:
                yield make_reject(where, error, logo_id=logo_id, filename=filename)

    def _record(self, where: str, row: dict[str, Any], logo_id: object, filename: str) -> Record:
        mapped = set(self._columns.values())
        return make_record(
            where=where,
            logo_id=str(PurePosixPath(filename).with_suffix("")) if logo_id in (None, "") else logo_id,
            filename=filename,
            fields={field.name: row.get(self._columns[field.name]) for field in FIELDS},
            extra={name: value for name, value in row.items() if name not in mapped and value not in (None, "")},
            notation=self._mapping.notation,
        )

    def _read(self) -> Iterator[tuple[str, dict[str, Any] | RowError]]:
        """The position of each row, and its values by column or the reason why it cannot be read."""
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
        # An undecodable byte damages its own cell, not the table.
        with self._path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            start = file.read(SNIFFED_BYTES)
            file.seek(0)
            header_line = start.partition("\n")[0]
            delimiter = max(",;\t", key=header_line.count)
            csv.field_size_limit(LONGEST_CELL)
            # Strict: a quote that is never closed would otherwise silently swallow the rows behind it.
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
            except csv.Error as error:
                raise SourceError(f"{self._path}: the header cannot be read ({error})") from None
            self._check_columns(header)
            while True:
                first = reader.line_num + 1
                where = f"{self._path.name}:{first}"
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield where, RowError(f"lines {first} to {reader.line_num} cannot be read as a row: {error}")
                    continue
                if cells is None:
                    return
                if not cells:
                    continue
                if len(cells) != len(header):
                    yield where, RowError(f"the row has {counted(len(cells), 'cell')}, the header {len(header)}")
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
                    yield where, RowError("the line is not valid JSON")
                    continue
                yield where, row if isinstance(row, dict) else RowError(f"{abbreviate(row)} is not an object")

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
        except (pa.ArrowException, ValueError, OverflowError) as error:  # the latter two: dates beyond Python's range
            raise SourceError(f"{self._path}: cannot be read as Parquet ({error})") from None

    def _check_columns(self, columns: list[str]) -> None:
        """Raise SourceError if `filename` or a mapped column is missing; any other field may be missing in a table."""
        required = {"filename": "filename", **self._mapping.columns}
        for name, column in required.items():
            if column not in columns:
                if self._mapping_file is None:
                    remedy = f"write this line into a file and pass it with --mapping: {_suggest_mapping(columns)}"
                else:
                    remedy = f"name another column for {name} under [columns] in {self._mapping_file}"
                raise SourceError(
                    f"{self._path}: has no column {column!r} for {name}; its columns are "
                    f"{', '.join(map(repr, columns))}; {remedy}"
                )


def read_mapping(path: Path) -> Mapping:
    """A mapping file: `[columns]` field = "column"; `[format]` list_separator, date.

    Raises:
        SourceError: it cannot be read, or contains unknown entries.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise SourceError(
            f"{path}: the mapping file cannot be read ({error.strerror}); check the path after --mapping"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SourceError(f"{path}: the mapping file is not valid TOML ({error}); correct it") from None
    columns, notation = content.get("columns", {}), content.get("format", {})
    if not isinstance(columns, dict) or not isinstance(notation, dict):
        raise SourceError(f"{path}: `columns` and `format` must be tables, written [columns] and [format]")
    unknown = [
        *(set(content) - {"columns", "format"}),
        *(set(columns) - set(COLUMNS)),
        *(set(notation) - {"list_separator", "date"}),
    ]
    if unknown or not all(isinstance(value, str) for value in (*columns.values(), *notation.values())):
        fault = f"unknown: {', '.join(sorted(unknown))}" if unknown else "a value is not text"
        raise SourceError(
            f"{path}: {fault}; [columns] takes {', '.join(COLUMNS)}, and [format] takes list_separator and date"
        )
    separator = notation.get("list_separator")
    separators = re.compile(rf"\s*{re.escape(separator)}\s*") if separator else DEFAULT_NOTATION.separators
    return Mapping(columns, Notation(separators=separators, date_format=notation.get("date")))


def _suggest_mapping(columns: Sequence[str]) -> str:
    """A mapping of `filename`, and of columns with a usual name for a field without a column, as one line of TOML."""
    usual = {_letters(spelling): name for name, spellings in USUAL_COLUMNS.items() for spelling in (name, *spellings)}
    mapped = {
        name: column for column in columns if (name := usual.get(_letters(column))) is not None and name not in columns
    }
    entries = [
        f"{name} = {json.dumps(column, ensure_ascii=False)}" for name, column in ({"filename": "..."} | mapped).items()
    ]
    return f"columns = {{ {', '.join(entries)} }}"


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()
