"""A source's records, read once into a file that a build can read again from any position."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.sources import Source
from logo_similarity.domain import Reject
from logo_similarity.fields import Record

REPORT_ROWS = 1_000


def write_records(
    source: Source, records: Path, rejects: Path, on_rows: Callable[[int], None] = lambda _: None
) -> None:
    """Write the source's good records and its rejects as JSON Lines, `records` last: if it exists, both are complete.

    A record whose logo_id occurred before is a reject: the first record keeps the id.
    """
    seen: set[str] = set()
    with replacing(records) as good, replacing(rejects) as bad:
        for number, row in enumerate(source.rows(), 1):
            if isinstance(row, Record) and row.logo_id not in seen:
                seen.add(row.logo_id)
                good.write(
                    _line({"where": row.where, "logo_id": row.logo_id, "filename": row.filename, **row.metadata()})
                )
            else:
                bad.write(reject_line(_repeated(row) if isinstance(row, Record) else row))
            if number % REPORT_ROWS == 0:
                on_rows(number)
        # The rejects are renamed into place when the inner block ends, before the records are.


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
