"""How a table is to be read: its columns, and how it writes values; from a file, and to a file that can be edited."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from logo_similarity.catalog.sources.columns import USUAL_COLUMNS, Columns
from logo_similarity.catalog.sources.delimited import SEPARATORS
from logo_similarity.errors import SourceError
from logo_similarity.field_kinds import DEFAULT_NOTATION, Notation

DAY_FIRST = {"day-month": True, "month-day": False}
"""Orders of day and month in 01/02/2019."""
_SEPARATORS = {name: separator for separator, name in SEPARATORS.items()}
_FORMAT = ("encoding", "separator", "sheet", "list_separator", "date", "date_order")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the user states about a table, by the names that `[format]` has. None: recognised, or the usual form."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns by field."""
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
        between = self.list_separator
        return Notation(
            separators=re.compile(rf"\s*{re.escape(between)}\s*") if between else DEFAULT_NOTATION.separators,
            date_format=self.date,
            day_first=None if self.date_order is None else DAY_FIRST[self.date_order],
        )


def read_mapping(path: Path) -> TableOptions:
    """A mapping file: `[columns]` field = "column", and `[format]` with the names in `_FORMAT`.

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
    unknown = [
        *(set(content) - {"columns", "format"}), *(set(columns) - set(USUAL_COLUMNS)), *(set(stated) - set(_FORMAT))
    ]  # fmt: skip
    if unknown or not all(isinstance(value, str) for value in (*columns.values(), *stated.values())):
        fault = f"unknown: {', '.join(sorted(unknown))}" if unknown else "a value is not text"
        raise SourceError(
            f"{path}: {fault}; [columns] takes {', '.join(USUAL_COLUMNS)}, and [format] takes {', '.join(_FORMAT)}"
        )
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
        if not equals or not column or name not in USUAL_COLUMNS:
            raise SourceError(
                f"--map {assignment!r} is not of the form FIELD=COLUMN; the fields are {', '.join(USUAL_COLUMNS)}"
            )
        columns[name] = column
    return columns


def write_mapping(columns: Columns, facts: Mapping[str, str]) -> str:
    """A mapping file that states the columns and the facts of a table, with the other columns as comments."""
    lines = ["[columns]"]
    lines += [f"{name} = {_quoted(column)}" for name, column in columns.by_field.items()]
    others = [name for name in columns.names if not columns.fields_of(name)]
    lines += [f"# kept in metadata.extra: {_quoted(name)}" for name in others]
    if columns.classes:
        lines.append(f"# nice_classes: from the columns {', '.join(map(_quoted, columns.classes))}")
    lines += ["", "[format]", *(f"{name} = {_quoted(value)}" for name, value in facts.items() if name in _FORMAT)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
