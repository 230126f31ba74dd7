"""Tables: CSV, JSON, Excel and Parquet. Their columns are recognised, or mapped to fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from logo_similarity.catalog.sources.columns import Columns, can_be_field, choose_columns, is_marked, names_other_class
from logo_similarity.catalog.sources.date_orders import DateOrders
from logo_similarity.catalog.sources.delimited import DelimitedTable
from logo_similarity.catalog.sources.description import ColumnReading, SourceDescription
from logo_similarity.catalog.sources.excel import ExcelTable
from logo_similarity.catalog.sources.images import ImageNames, Names, OpenNames
from logo_similarity.catalog.sources.json_rows import JsonTable
from logo_similarity.catalog.sources.mapping import DAY_FIRST, TableOptions, write_mapping
from logo_similarity.catalog.sources.merging import Merger
from logo_similarity.catalog.sources.parquet import ParquetTable
from logo_similarity.catalog.sources.possible_facets import PossibleFacets
from logo_similarity.catalog.sources.rows import RowError, abbreviate, make_record, make_reject
from logo_similarity.catalog.sources.tables import Row, Table
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.facets import EXTRA, MOST_FACETS
from logo_similarity.field_kinds import Date, Notation, is_missing
from logo_similarity.fields import FIELDS, Record
from logo_similarity.image.files import ImageFiles, find_images
from logo_similarity.wording import counted

_JSON = (".jsonl", ".ndjson", ".json")
_EXCEL = (".xlsx", ".xlsm")
TABLES = (".csv", ".tsv", ".txt", *_JSON, *_EXCEL, ".parquet")
MOST_COLUMNS = 500
"""Columns of a JSON table that are listed, besides those that may be fields; its rows may have any."""
SHOWN_COLUMNS = 40
_DATES = tuple(field.name for field in FIELDS if isinstance(field.kind, Date))
_ORDER_NAMES = {order: name for name, order in DAY_FIRST.items()}


@dataclass(frozen=True, slots=True)
class _Reading:
    """Everything that is decided before the first row becomes a record."""

    columns: Columns
    notations: Mapping[str, Notation]
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    classes_by_mark: bool
    """Whether the class columns mark their own class; otherwise each holds a class."""
    possible_facets: tuple[str, ...]
    """Columns."""


class TableSource:
    """One row, one logo; rows of one id that follow each other are merged.

    Every row is read twice: the first time to recognise columns and the order of day and month.
    """

    kind = "table"

    def __init__(
        self,
        path: Path,
        images: ImageFiles | None = None,
        options: TableOptions | None = None,
        *,
        mapping_file: Path | None = None,
        names: OpenNames = ImageNames,
    ) -> None:
        """Choose the file and the folder of the images.

        Args:
            path: the table.
            images: folder or ZIP file of the images; None: see `find_images`.
            options: what is known of the table.
            mapping_file: the file that these options come from, if any.
            names: looks up the images.

        Raises:
            SourceError: `path` is not a table, `images` cannot be read, or the options have too many facets.
        """
        if path.suffix.lower() not in TABLES:
            remedy = "; save it as .xlsx or CSV" if path.suffix.lower() in (".xls", ".ods") else ""
            raise SourceError(f"{path}: not a table; its name must end in one of {', '.join(TABLES)}{remedy}")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")
        self._path = path
        self._mapping_file = mapping_file
        self._options = options or TableOptions()
        self._facets = tuple(name for name in self._options.columns if name.startswith(EXTRA))
        if len(self._facets) > MOST_FACETS:
            raise SourceError(
                f"{mapping_file or path}: {len(self._facets)} columns are mapped as facets; a catalog has at most "
                f"{MOST_FACETS}"
            )
        self._notation = self._options.notation
        self._names = names
        self.images: ImageFiles = images or find_images(path)
        self._met: list[str] = []

    def files(self) -> Iterator[Path]:
        """The table and its mapping."""
        yield self._path
        if self._mapping_file is not None:
            yield self._mapping_file

    def description(self) -> SourceDescription:
        """See `Source.description`."""
        reading = self._reading
        columns = reading.columns
        return SourceDescription(
            kind=self.kind,
            facts=reading.facts,
            columns=tuple(
                ColumnReading(name=name, fields=tuple(fields), reason=_reason(columns, name, fields))
                for name in columns.names
                for fields in [columns.fields_of(name)]
            ),
            notes=(*reading.notes, *self._met),
            possible_facets=reading.possible_facets,
            mapping=write_mapping(columns, reading.facts, reading.possible_facets),
        )

    def rows(self) -> Iterator[Record | Reject]:
        """Every row of the table, those of one id merged."""
        reading = self._reading
        names = self._names(self.images)
        merger = Merger(name.removeprefix(EXTRA) for name in self._facets)
        yield from merger.merge(self._records(reading, names))
        self._met = [*_merger_notes(merger), *names.notes()]

    def _records(self, reading: _Reading, names: Names) -> Iterator[Record | Reject]:
        column_of = reading.columns.by_field
        images: dict[str, int] = {}
        for where, row in self._rows():
            if isinstance(row, RowError):
                yield make_reject(where, row)
                continue
            logo_id = row.get(column_of.get("logo_id", ""))
            filename = row.get(column_of["filename"])
            try:
                on_disk = names.resolve(filename)
                if is_missing(logo_id):
                    logo_id = str(PurePosixPath(on_disk).with_suffix(""))
                    # Without ids, two rows with one image are two logos.
                    images[on_disk] = images.get(on_disk, 0) + 1
                    logo_id += f"#{images[on_disk]}" if images[on_disk] > 1 else ""
                yield self._record(reading, where, row, logo_id, on_disk)
            except RowError as error:
                yield make_reject(where, error, logo_id=logo_id, filename=filename)

    def _record(self, reading: _Reading, where: str, row: Mapping[str, Any], logo_id: object, filename: str) -> Record:
        columns = reading.columns
        names = (*(field.name for field in FIELDS), *self._facets)
        fields = {name: row.get(columns.by_field.get(name, "")) for name in names}
        if columns.classes:
            cells = [(row.get(name), number) for name, number in columns.classes.items()]
            fields["nice_classes"] = (
                [number for value, number in cells if is_marked(value)]
                if reading.classes_by_mark
                else [value for value, _ in cells if is_marked(value)]
            )
        used = _used(columns)
        return make_record(
            where=where,
            logo_id=logo_id,
            filename=filename,
            fields=fields,
            extra={name: value for name, value in row.items() if name not in used and value not in (None, "")},
            notation=self._notation,
            notations=reading.notations,
        )

    @cached_property
    def _table(self) -> Table:
        """Raises SourceError if the file cannot be read."""
        options, suffix = self._options, self._path.suffix.lower()
        try:
            if suffix == ".parquet":
                return ParquetTable(self._path)
            if suffix in _EXCEL:
                return ExcelTable(self._path, options.sheet)
            if suffix in _JSON:
                return JsonTable(self._path, options.encoding)
            return DelimitedTable(self._path, options.encoding, options.separator)
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read ({error.strerror or error})") from None

    def _rows(self) -> Iterator[Row]:
        try:
            yield from self._table.rows()
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read ({error.strerror or error})") from None

    @cached_property
    def _reading(self) -> _Reading:
        """Read the whole table once, and decide how its values are read.

        Raises:
            SourceError: the table cannot be read, or has no column for the images or a mapped field.
        """
        dates = DateOrders()
        possible = PossibleFacets(self._notation)
        columns, by_mark = self._look_at_rows(dates, possible)
        self._check_columns(columns)
        facts = dict(self._table.facts)
        for name in ("list_separator", "date", "date_order"):
            if (stated := getattr(self._options, name)) is not None:
                facts[name] = stated
        orders, notes = ({}, []) if {"date", "date_order"} & facts.keys() else dates.choose()
        if len(set(orders.values())) == 1:
            facts["date_order"] = _ORDER_NAMES[next(iter(orders.values()))]
        else:
            facts |= {f"date_order of {name}": _ORDER_NAMES[order] for name, order in orders.items()}
        notations = {name: replace(self._notation, day_first=order) for name, order in orders.items()}
        notes += dates.notes_on_years()
        return _Reading(columns, notations, facts, tuple(notes), by_mark, possible.choose(_used(columns)))

    def _look_at_rows(self, dates: DateOrders, possible: PossibleFacets) -> tuple[Columns, bool]:
        """The columns, and whether the columns of single classes are marked; dates and further values are counted."""
        columns = choose_columns(self._table.columns, self._options.columns)
        names = dict.fromkeys(columns.names)
        used = _used(columns)
        by_mark = True
        for _, row in self._rows():
            if isinstance(row, RowError):
                continue
            if not row.keys() <= names.keys():  # only the rows of JSON name their columns
                new = [name for name in row if name not in names]
                known = [name for name in new if can_be_field(name, self._options.columns)]
                names |= dict.fromkeys(new if len(names) < MOST_COLUMNS else known)
                if known:
                    columns = choose_columns(tuple(names), self._options.columns)
                    used = _used(columns)
            possible.look_at(row, used)
            for name in _DATES:
                if name in columns.by_field:
                    dates.look_at(name, row.get(columns.by_field[name]))
            by_mark = by_mark and not any(names_other_class(row.get(name), n) for name, n in columns.classes.items())
        return choose_columns(tuple(names), self._options.columns), by_mark

    def _check_columns(self, columns: Columns) -> None:
        """Raise SourceError if a mapped column, or any for the images, is missing; other fields may be missing."""
        required = {"filename": "filename", **self._options.columns}
        taken = set(columns.names) - _used(columns)
        for name in self._facets:
            if name.removeprefix(EXTRA) in taken:
                raise SourceError(
                    f"{self._path}: {name} is mapped to the column {columns.by_field.get(name)!r}, but the table has a column of "
                    "that name, too, which is kept in metadata.extra; give the facet another name"
                )
        missing = next((name for name in required if name not in columns.by_field), None)
        if missing is None or (not columns.names and self._path.suffix.lower() in _JSON):
            return
        if self._mapping_file is not None and missing in self._options.columns:
            remedy = f"name another column for {missing} under [columns] in {self._mapping_file}"
        else:
            remedy = f'name the right one, as --map {missing}="Column"'
        shown = ", ".join(map(abbreviate, columns.names[:SHOWN_COLUMNS])) or "none"
        more = f", and {len(columns.names) - SHOWN_COLUMNS:,} more" if len(columns.names) > SHOWN_COLUMNS else ""
        raise SourceError(
            f"{self._path}: has no column {required[missing]!r} for {missing}; its columns are {shown}{more}; {remedy}"
        )


def _used(columns: Columns) -> set[str]:
    """The columns that are read as fields or facets."""
    return {*columns.by_field.values(), *columns.classes}


def _reason(columns: Columns, name: str, fields: list[str]) -> str:
    if not fields:
        return "kept in metadata.extra"
    if name in columns.classes:
        return "one column for each class"
    return ", ".join(dict.fromkeys(columns.reasons[field] for field in fields))


def _merger_notes(merger: Merger) -> list[str]:
    notes = []
    if merger.merged:
        notes.append(f"{counted(merger.merged, 'logo')} with several rows, which were merged")
    if merger.pictures:
        notes.append(
            f"{counted(merger.pictures, 'logo')} with several images: the ids of the second and later ones end in #2, #3"
        )
    notes += [
        f"{counted(count, 'logo')} whose rows differ in {name}: the first value is used"
        for name, count in merger.conflicts.items()
    ]
    return notes
