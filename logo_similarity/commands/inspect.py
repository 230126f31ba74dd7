"""`logo-similarity inspect`: how a source would be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from logo_similarity.commands.options import AsJson, SourceOptions, with_source
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import FIELDS, Record
from logo_similarity.terminal import err, out, print_json, print_table, printable, progress
from logo_similarity.wording import counted

if TYPE_CHECKING:
    from logo_similarity.build.rejections import Rejections
    from logo_similarity.catalog.sources import Source
    from logo_similarity.catalog.sources.description import SourceDescription
    from logo_similarity.image.files import ImageFiles

EXAMPLES = 3
REPORT_ROWS = 1_000
SHOWN_COLUMNS = 40


@with_source
def inspect(
    source: SourceOptions,
    write_mapping: Annotated[
        Path | None, typer.Option(help="New file for the mapping of a table, to edit and pass to build with --mapping.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how a register would be read, without building a catalog.

    Shows the kind and the format of the source, the field that each column is read as, three rows as they would be
    indexed, and how many rows would be rejected for which reasons.
    """
    from logo_similarity.build.merging import without_image
    from logo_similarity.build.rejections import Rejections

    opened = source.open()
    if write_mapping is not None:
        _write_mapping(source.path, opened.description(), write_mapping)
    examples: list[Record] = []
    records, removals, rejections = 0, 0, Rejections()
    with progress(err) as report:
        for number, row in enumerate(opened.rows(), 1):
            if isinstance(row, Reject):
                rejections.add(row)
            elif isinstance(row, Removal):
                removals += 1
            elif not row.filename:
                rejections.add(without_image(row))
            else:
                records += 1
                if len(examples) < EXAMPLES:
                    examples.append(row)
            if number % REPORT_ROWS == 0:
                report("rows read", number, None)
    reading = describe_reading(opened)
    if as_json:
        print_json(
            {
                **asdict(reading),
                "images": str(opened.images),
                "records": records,
                "removals": removals,
                "rejected": rejections.count,
                "rejections": [asdict(rejection) for rejection in rejections.commonest()],
                "examples": [
                    {"logo_id": record.logo_id, "filename": record.filename, **record.metadata()} for record in examples
                ],
            }
        )
        return
    _print(reading, opened.images, examples, records, removals, rejections)


def describe_reading(source: Source) -> SourceDescription:
    """How a source and its images are read."""
    from logo_similarity.image.files import image_notes, unread_notes

    reading = source.description()
    return replace(reading, notes=(*reading.notes, *image_notes(source.images), *unread_notes(source.images)))


def reading_lines(reading: SourceDescription) -> list[str]:
    """How a source is read, in a few lines: for the summary of a build."""
    facts = ", ".join(f"{name} {value}" for name, value in reading.facts.items())
    fields = ", ".join(
        f"{field} from {column.name!r}{'' if column.name == field else f' ({column.reason})'}"
        for column in reading.columns
        for field in column.fields
    )
    kept = [repr(column.name) for column in reading.columns if not column.fields]
    others = ", ".join(kept[:SHOWN_COLUMNS]) + (", ..." if len(kept) > SHOWN_COLUMNS else "")
    lines = [f"read as {reading.kind}{f': {facts}' if facts else ''}"]
    lines += [f"columns: {fields}"] if fields else []
    lines += [f"columns kept in metadata.extra: {others}"] if others else []
    return [*lines, *(f"note: {note}" for note in reading.notes)]


def _write_mapping(source: Path, reading: SourceDescription, path: Path) -> None:
    if reading.mapping is None:
        raise SourceError(f"{source}: read as {reading.kind}, which has no mapping; leave out --write-mapping")
    with path.open("x", encoding="utf8") as file:  # a mapping that was edited must not be lost
        file.write(reading.mapping)


def _remarks(reading: SourceDescription) -> Iterator[str]:
    if reading.possible_facets:
        names = ", ".join(map(printable, reading.possible_facets))
        yield f"few different values: {names}; --map extra.NAME=COLUMN makes a column a facet, to filter and count by"
    for note in reading.notes:
        yield f"note: {note}"


def _print(
    reading: SourceDescription,
    images: ImageFiles,
    examples: list[Record],
    records: int,
    removals: int,
    rejections: Rejections,
) -> None:
    facts = {"kind": reading.kind, **reading.facts, "images": str(images)}
    for name, value in facts.items():
        out.print(f"{name}: {printable(value)}")
    if reading.columns:
        columns = Table("column", "read as", "why")
        for column in reading.columns:
            columns.add_row(printable(column.name), ", ".join(column.fields), column.reason)
        print_table(columns)
    if examples:
        rows = Table("field", *(printable(record.where) for record in examples))
        shown = {
            "logo_id": [record.logo_id for record in examples],
            "filename": [record.filename for record in examples],
        }
        shown |= {field.name: [field.to_text(getattr(record, field.name)) for record in examples] for field in FIELDS}
        for name, texts in shown.items():
            if any(texts):
                rows.add_row(name, *map(printable, texts))
        print_table(rows)
    for remark in _remarks(reading):
        out.print(remark)
    removed = f", {removals:,} deleted by the source" if removals else ""
    out.print(f"{counted(records, 'record')} to index{removed}, {rejections.count:,} rejected")
    for line in rejections.lines():
        out.print(f"  {line}")
    if (remedy := rejections.remedy(images)) is not None:
        out.print(remedy)
