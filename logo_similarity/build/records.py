"""A source's records, read once into a file that a build can read again from any position."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from logo_similarity.build.merging import MergedLogo, merge_logos, record_object, without_image
from logo_similarity.catalog.files import replacing
from logo_similarity.catalog.sources import UPDATED_KINDS, Source
from logo_similarity.catalog.updates import UPDATES, UpdateRow, write_updates
from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record

REPORT_ROWS = 1_000
MERGING = "merging.sqlite"
KEPT_ROWS = "kept-rows.jsonl"


def write_records(
    source: Source, records: Path, rejects: Path, on_rows: Callable[[int], None] = lambda _: None
) -> None:
    """Write the source's good records and its rejects as JSON Lines, `records` last: if it exists, both are complete.

    If rows of the source update each other, the records of a logo are merged, and `updates.sqlite` is written beside the
    records. Otherwise, a record whose logo_id occurred before is a reject: the first record keeps the id.
    """
    rows = _counted(source.rows(), on_rows)
    if source.kind not in UPDATED_KINDS:
        write_rows(_first_of_each(rows), records, rejects)
        return
    merged = merge_logos(rows, records.with_name(MERGING))
    write_merged(merged, records, rejects, ())


def write_merged(
    logos: Generator[MergedLogo | Reject], records: Path, rejects: Path, files: Iterable[tuple[str, str]]
) -> None:
    """Write the records and rejects of merged logos, and `updates.sqlite` beside the records.

    Args:
        logos: from `merge_logos`.
        records: as `write_records`.
        rejects: as `write_records`.
        files: sha256 and name of each imported file; read last.
    """
    kept = records.with_name(KEPT_ROWS)

    def rows() -> Generator[Record | Reject]:
        with kept.open("w", encoding="utf8") as file, closing(logos):
            for logo in logos:
                if isinstance(logo, Reject):
                    yield logo
                    continue
                file.writelines(json.dumps(row) + "\n" for row in logo.rows)
                if logo.record is not None:
                    yield logo.record if logo.record.filename else without_image(logo.record)
        with kept.open(encoding="utf8") as lines:
            write_updates(records.with_name(UPDATES), (UpdateRow(*json.loads(line)) for line in lines), files)
        kept.unlink()

    write_rows(rows(), records, rejects)


def write_rows(rows: Generator[Record | Reject], records: Path, rejects: Path) -> None:
    """Write records and rejects, as `write_records` does."""
    with replacing(records) as good, replacing(rejects) as bad, closing(rows):
        for row in rows:
            if isinstance(row, Record):
                good.write(record_line(row))
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


def record_line(record: Record) -> bytes:
    """One line of a file of records."""
    return _line(record_object(record))


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


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
