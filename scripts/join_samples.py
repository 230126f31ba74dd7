"""Make `samples/marks.jsonl`: one table of the real logos and of the synthetic register, for `make demo`.

    python -m scripts.join_samples

Both are read by the readers that `logo-similarity build` uses: run it after a change to `samples/results.json` or
`samples/synthetic/marks.csv`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Reject
from logo_similarity.fields import Record

SAMPLES = Path(__file__).parent.parent / "samples"
TABLE = SAMPLES / "marks.jsonl"


def main() -> None:
    """Write the table."""
    TABLE.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows()), encoding="utf8")
    print(f"{TABLE}: {len(TABLE.read_text(encoding='utf8').splitlines()):,} marks")


def rows() -> Iterator[dict[str, object]]:
    """The rows; `filename` is relative to `samples/`, and empty fields are left out.

    Raises:
        ValueError: a row of one of the two cannot be indexed.
    """
    for source in (open_source(SAMPLES), open_source(SAMPLES / "synthetic" / "marks.csv")):
        for record in source.rows():
            if isinstance(record, Reject):
                raise ValueError(f"{record.where}: {record.reason}")  # noqa: TRY004 - the value is at fault
            assert isinstance(record, Record)  # a table removes nothing
            metadata = record.metadata()
            extra = metadata.pop("extra")
            assert isinstance(extra, dict)
            if "synthetic" in extra:
                extra["synthetic"] = True  # a CSV file has only texts
            filename = Path(str(source.images)).relative_to(SAMPLES) / record.filename
            row = {"logo_id": record.logo_id, "filename": filename.as_posix(), **metadata, **extra}
            yield {name: value for name, value in row.items() if value not in (None, [])}


if __name__ == "__main__":
    main()
