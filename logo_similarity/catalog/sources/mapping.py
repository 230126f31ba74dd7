"""How a table is to be read: its columns, and how it writes values; from a file, and to a file that can be edited."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from logo_similarity.catalog.sources.columns import USUAL_COLUMNS, Columns
from logo_similarity.catalog.sources.delimited import SEPARATORS
from logo_similarity.errors import SourceError
from logo_similarity.facets import EXTRA, facet_name
from logo_similarity.field_kinds import DEFAULT_NOTATION, Notation

DAY_FIRST = {"day-month": True, "month-day": False}
"""Orders of day and month in 01/02/2019."""
_SEPARATORS = {name: separator for separator, name in SEPARATORS.items()}
_FIELDS = (*USUAL_COLUMNS, f"{EXTRA}NAME for a facet")
"""What a column can be mapped to, for messages."""
_EXTRA_TABLE = EXTRA.rstrip(".")
_BARE_KEY = re.compile(r"^[A-Za-z0-9_-]+$")
"""A key that TOML has without quotes."""
_FORMAT = ("encoding", "separator", "sheet", "list_separator", "date", "date_order")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the user states about a table, by the names that `[format]` has. None: recognised, or the usual form."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns by field; facets as `extra.colour`."""
    encoding: str | None = None
    separator: str | None = None
    sheet: str | None = None
    list_separator: str | None = None
    date: str | None = None
    """A format for `strptime`."""
    date_order: str | None = None
    """One of `DAY_FIRST`."""

    @property
    def notation(self) -> Notation:
        """How the table writes lists and dates."""
        between = re.compile(rf"\s*{re.escape(self.list_separator)}\s*") if self.list_separator else None
        return Notation(
            separators=between or DEFAULT_NOTATION.separators,
            keyword_separators=between or DEFAULT_NOTATION.keyword_separators,
            date_format=self.date,
            day_first=None if self.date_order is None else DAY_FIRST[self.date_order],
        )


def read_mapping(path: Path) -> TableOptions:
    """A mapping file: `[columns]` field = "column", or extra.name = "column", and `[format]` with the names in `_FORMAT`.

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
    columns, stated = content.get("columns", {}), content.get("format", {})
    if not isinstance(columns, dict) or not isinstance(stated, dict):
        raise SourceError(f"{path}: `columns` and `format` must be tables, written [columns] and [format]")
    if isinstance(facets := columns.get(_EXTRA_TABLE), dict):  # TOML reads extra.colour as a table in a table
        del columns[_EXTRA_TABLE]
        columns |= {f"{EXTRA}{name}": column for name, column in facets.items()}
    unknown = [
        *(set(content) - {"columns", "format"}),
        *(name for name in columns if name not in USUAL_COLUMNS and not name.startswith(EXTRA)),
        *(set(stated) - set(_FORMAT)),
    ]
    if unknown or not all(isinstance(value, str) for value in (*columns.values(), *stated.values())):
        fault = f"unknown: {', '.join(sorted(unknown))}" if unknown else "a value is not text"
        raise SourceError(
            f"{path}: {fault}; [columns] takes {', '.join(_FIELDS)}, and [format] takes {', '.join(_FORMAT)}"
        )
    try:
        columns = {_field(name): column for name, column in columns.items()}
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    options = TableOptions(columns=columns, **stated)
    if options.date_order is not None and options.date_order not in DAY_FIRST:
        raise SourceError(f"{path}: date_order must be one of {', '.join(DAY_FIRST)}, not {options.date_order!r}")
    if options.separator is None:
        return options
    separator = _SEPARATORS.get(options.separator, options.separator)
    if len(separator) != 1 or separator in "\r\n\"'":
        raise SourceError(
            f"{path}: separator must be {', '.join(_SEPARATORS)} or one other character, not {separator!r}"
        )
    return replace(options, separator=separator)


def parse_columns(assignments: list[str]) -> dict[str, str]:
    """Columns by field from "field=column", as after --map.

    Raises:
        SourceError: one is not of this form, or names an unknown field.
    """
    columns = {}
    for assignment in assignments:
        name, equals, column = assignment.partition("=")
        if not equals or not column or not (name in USUAL_COLUMNS or name.startswith(EXTRA)):
            raise SourceError(
                f"--map {assignment!r} is not of the form FIELD=COLUMN; the fields are {', '.join(_FIELDS)}"
            )
        try:
            columns[_field(name)] = column
        except ValueError as error:
            raise SourceError(f"--map {assignment!r}: {error}") from None
    return columns


def write_mapping(columns: Columns, facts: Mapping[str, str], possible_facets: Sequence[str] = ()) -> str:
    """A mapping file that states the columns and the facts of a table, with the other columns as comments.

    The line of a possible facet declares it once its "#" is removed.
    """
    lines = ["[columns]"]
    lines += [f"{_key(name)} = {_quoted(column)}" for name, column in columns.by_field.items()]
    others = [name for name in columns.names if not columns.fields_of(name) and name not in possible_facets]
    lines += [f"# kept in metadata.extra: {_quoted(name)}" for name in others]
    if possible_facets:
        lines.append("# kept, too, with few different values; without the #, logos are filtered and counted by them:")
        lines += [f"# {_key(EXTRA + name)} = {_quoted(name)}" for name in possible_facets]
    if columns.classes:
        lines.append(f"# nice_classes: from the columns {', '.join(map(_quoted, columns.classes))}")
    lines += ["", "[format]", *(f"{name} = {_quoted(value)}" for name, value in facts.items() if name in _FORMAT)]
    return "\n".join(lines) + "\n"


def _field(name: str) -> str:
    """The name of a field, of which that of a facet is checked. Raises ValueError."""
    return EXTRA + facet_name(name.removeprefix(EXTRA)) if name.startswith(EXTRA) else name


def _key(field: str) -> str:
    """A key of TOML."""
    if not field.startswith(EXTRA):
        return field
    name = field.removeprefix(EXTRA)
    return field if _BARE_KEY.match(name) else EXTRA + _quoted(name)


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
