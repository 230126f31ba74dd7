"""The hits of a search as a table on a terminal, as tab-separated values, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import typer
from rich.cells import cell_len
from rich.text import Text

from logo_similarity.fields import FIELDS, select_fields
from logo_similarity.terminal import err, out, print_lines, printable

if TYPE_CHECKING:
    from logo_similarity.domain import Hit, SearchedPicture, SearchResult
    from logo_similarity.field_kinds import JsonValue

WHOLE_COLUMNS = (
    "score", "expect", "band", "matched", "cosine", "image_score", "word_similarity", "word_field", "copies", "others",
    "id", "filename",
)  # fmt: skip
"""Columns that are never shortened."""
COLUMNS = (*WHOLE_COLUMNS, "damage", *(field.name for field in FIELDS))
"""Every column but the further ones of a source."""
IMPORTANCE = (
    "id", "score", "text", "band", "company", "others", "status", "expect", "image_score", "word_similarity",
    "nice_classes", "damage", "application_date", "office", "vienna_codes", "matched", "copies",
)  # fmt: skip
"""The columns that a narrow terminal keeps, the last to go first. All others go before these, from right to left."""
GAP = 2
"""Spaces between columns."""
SHORT_TEXT, READABLE_TEXT, SHORTENED_TEXT = 10, 14, 3
"""Texts up to the first width, such as dates, are not shortened on a terminal. Others are, to the second if columns can be
left out instead, and at most to the third."""


def default_columns(
    fields: Collection[str], *, has_words: bool, has_parts: bool, has_copies: bool, has_groups: bool, has_damage: bool
) -> list[str]:
    """The columns of the hits of a catalog with these fields."""
    evidence = ["image_score", "word_similarity"] if has_words else []
    columns = ["score", *evidence, "expect", "band", "id", *(field.name for field in select_fields(fields))]
    further = {"matched": has_parts, "copies": has_copies, "others": has_groups, "damage": has_damage}
    return [*columns, *(name for name, shown in further.items() if shown)]


def check_columns(names: Sequence[str], hits: Sequence[Hit], further: Callable[[], Iterable[str]] = tuple) -> None:
    """Raise BadParameter if a name is neither a field nor a further column of the source."""
    known = list(COLUMNS)
    if not set(names).difference(known, *(hit.logo.record.extra for hit in hits)):
        return
    known += further()  # only now, since it reads every row of the catalog
    for name in names:
        if name not in known:
            raise typer.BadParameter(
                f"unknown column {name!r}; the columns are {', '.join(known)}", param_hint="--columns"
            )


def print_hits(hits: Sequence[Hit], columns: Sequence[str], *, whole: bool = True, first: Sequence[str] = ()) -> None:
    """Print one line a hit: a table on a terminal, tab-separated values elsewhere.

    Args:
        hits: best first.
        columns: names of the columns.
        whole: whether a terminal shows all columns, however narrow it is.
        first: values before the others on each line of tab-separated values.
    """
    rows = [[values.get(column, "") for column in columns] for values in map(_values, hits)]
    if not rows:
        err.print("no hits")
    elif out.is_terminal:
        _print_table(rows, columns, whole=whole)
    else:
        print_lines([[*first, *row] for row in rows])


def answer_json(result: SearchResult, pictures: Sequence[SearchedPicture]) -> dict[str, object]:
    """A result as an object for JSON. `pictures`: those that were searched for."""
    return {
        "catalog": result.version,
        "reranked": result.reranked,
        "parts": result.parts,
        "words": result.words,
        "exact": result.exact,
        "passed": result.passed,
        "pictures": [one._asdict() for one in pictures],
        "results": [
            {
                **hit.evidence(),
                "id": hit.logo.record.logo_id,
                "filename": hit.logo.record.filename,
                "metadata": hit.logo.record.metadata(),
            }
            for hit in result.hits
        ],
        "timings_ms": {name: round(getattr(result.timings, name), 3) for name in result.timings.__slots__},
    }


def _print_table(rows: Sequence[Sequence[str]], columns: Sequence[str], *, whole: bool) -> None:
    filled = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    places = filled if whole else _fitting(rows, columns, filled, out.width)
    header, *body = ([printable(row[place]) for place in places] for row in (columns, *rows))
    widths = _column_widths(body, header, out.width)
    out.print(_line(header, widths), style="bold")
    for row in body:
        out.print(_line(row, widths))
    if missing := [columns[place] for place in filled if place not in places]:
        err.print(f"not shown for lack of room: {', '.join(missing)}; choose columns with --columns", style="dim")


def _fitting(rows: Sequence[Sequence[str]], columns: Sequence[str], places: Sequence[int], room: int) -> list[int]:
    """The places of the columns that fit into lines of `room` characters and stay readable."""
    needed = {
        place: min(content, READABLE_TEXT) if columns[place] not in WHOLE_COLUMNS else content
        for place in places
        for content in (max(cell_len(printable(row[place])) for row in rows),)
    }

    def rank(place: int) -> tuple[int, int]:
        name = columns[place]
        return (IMPORTANCE.index(name) if name in IMPORTANCE else len(IMPORTANCE), place)

    kept = sorted(places, key=rank)
    while len(kept) > 1 and sum(needed[place] + GAP for place in kept) - GAP > room:
        kept.pop()
    return sorted(kept)


def _column_widths(rows: Sequence[Sequence[str]], columns: Sequence[str], room: int) -> list[int]:
    """Widths of columns that fit into lines of `room` characters, if long texts and headers can be shortened so far."""
    widths, minima = [], []
    for name, cells in zip(columns, zip(*rows, strict=True), strict=True):
        content = max(map(cell_len, cells))
        widths.append(max(content, cell_len(name)))
        minima.append(content if name in WHOLE_COLUMNS or content <= SHORT_TEXT else SHORTENED_TEXT)
    while sum(widths) + GAP * (len(widths) - 1) > room:
        shrinkable = [column for column, width in enumerate(widths) if width > minima[column]]
        if not shrinkable:
            break
        widths[max(shrinkable, key=widths.__getitem__)] -= 1
    return widths


def _line(row: Sequence[str], widths: Sequence[int]) -> Text:
    cells = list(map(Text, row))
    for cell, width in zip(cells, widths, strict=True):
        cell.truncate(width, overflow="ellipsis", pad=True)
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    return line


def _values(hit: Hit) -> dict[str, str]:
    """Every column of a hit."""
    record = hit.logo.record
    return {
        **{name: _text(value) for name, value in record.extra.items()},
        "score": f"{hit.score:.4f}",
        "cosine": _number(hit.cosine),
        "image_score": _number(hit.image_score),
        "word_similarity": _number(hit.word_similarity),
        "word_field": hit.word_field or "",
        "copies": f"+{hit.copies}" if hit.copies else "",
        "others": f"+{hit.others.count}" if hit.others is not None and hit.others.count else "",
        "damage": hit.damage or "",
        "expect": "" if hit.expect is None else f"{hit.expect:.2g}",
        "band": hit.band or "",
        "matched": "" if hit.matched is None else "part",
        "id": record.logo_id,
        "filename": record.filename,
        **{field.name: field.to_text(getattr(record, field.name)) for field in FIELDS},
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _text(value: JsonValue) -> str:
    """The value of a further column: text as it is, null as an empty text, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
