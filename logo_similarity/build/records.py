"""A source's records, read once into a file that a build can read again from any position."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from logo_similarity.build.merging import merge_rows, record_object
from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.sources import UPDATED_KINDS, Source
from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record

REPORT_ROWS = 1_000
UPDATES = "updates.sqlite"


def write_records(
    source: Source, records: Path, rejects: Path, on_rows: Callable[[int], None] = lambda _: None
) -> None:
    """Write the source's good records and its rejects as JSON Lines, `records` last: if it exists, both are complete.

    If rows of the source update each other, the records of a logo are merged. Otherwise, a record whose logo_id occurred
    before is a reject: the first record keeps the id.
    """
    rows = _counted(source.rows(), on_rows)
    merged = merge_rows(rows, records.with_name(UPDATES)) if source.kind in UPDATED_KINDS else _first_of_each(rows)
    with replacing(records) as good, replacing(rejects) as bad, closing(merged):
        for row in merged:
            if isinstance(row, Record):
                good.write(_line(record_object(row)))
            else:
                bad.write(reject_line(row))
        # The rejects are renamed into place when the inner block ends, before the records are.


def _counted(
    rows: Iterator[Record | Removal | Reject], on_rows: Callable[[int], None]
) -> Iterator[Record | Removal | Reject]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % REPORT_ROWS == 0:
            on_rows(number)


def _first_of_each(rows: Iterator[Record | Removal | Reject]) -> Generator[Record | Reject]:
    seen: set[str] = set()
    for row in rows:
        if isinstance(row, Reject):
            yield row
        elif isinstance(row, Removal):
            yield Reject(row.where, "only registers can delete logos; remove the row", row.logo_id)
        elif row.logo_id in seen:
            yield _repeated(row)
        else:
            seen.add(row.logo_id)
            yield row


def read_records(path: Path, start: int = 0) -> Iterator[Record]:
    """The records of a `write_records` file from position `start` on."""
    with path.open(encoding="utf8") as lines:
        for line in islice(lines, start, None):
            yield Record.from_json(json.loads(line))


def count_lines(path: Path) -> int:
    """Number of lines of a JSON Lines file."""
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def reject_line(reject: Reject) -> bytes:
    """One line of `rejected.jsonl`."""
    return _line(asdict(reject))


def reject_of(record: Record, reason: str) -> Reject:
    """The reject of a record that was read, but cannot be indexed."""
    return Reject(record.where, reason, record.logo_id, record.filename)


def _repeated(record: Record) -> Reject:
    return reject_of(record, f"logo_id {record.logo_id!r} occurs more than once; the first one is kept")


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
