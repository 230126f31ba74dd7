"""A report as a table in CSV, one row a hit, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from io import StringIO

from logo_similarity.fields import FIELDS
from logo_similarity.reports.report import Report, Row

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes a cell that begins with one of these for a formula, or skips the character and then does."""
_NUMBERS = ("score", "expect", "cosine", "image_score", "word_similarity", "copies")
COLUMNS = (
    "rank", "rank_now", "verdict", "id", *_NUMBERS[:2], "band", "matched", *_NUMBERS[2:5], "word_field", "copies",
    *(field.name for field in FIELDS), "note",
)  # fmt: skip


def to_csv(report: Report) -> bytes:
    """The hits of the case, then the new ones of the repetition, in UTF-8 with a byte order mark, as spreadsheets need it.

    A text that a spreadsheet could take for a formula begins with an apostrophe.
    """
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in report.rows:
        cells = _cells(row)
        writer.writerow([cells[name] for name in COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def _cells(row: Row) -> dict[str, str]:
    hit = row.hit
    numbers = {name: getattr(hit, name) for name in _NUMBERS}
    texts = {
        "verdict": "" if hit.verdict is None else hit.verdict.value,
        "id": hit.id,
        "band": "" if hit.band is None else hit.band.value,
        "matched": "" if hit.matched is None else "part",
        "word_field": hit.word_field or "",
        "note": hit.note,
        **{field.name: field.to_text(getattr(hit.metadata, field.name)) for field in FIELDS},
    }
    return {
        "rank": "" if row.rank is None else str(row.rank),
        "rank_now": "" if row.rank_now is None else str(row.rank_now),
        **{name: "" if number is None else f"{number:.6g}" for name, number in numbers.items()},
        **{name: _safe(value) for name, value in texts.items()},
    }


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
