"""The formats of a report."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from logo_similarity.reports.encode import to_json
from logo_similarity.reports.pdf import WALL_SECONDS, to_pdf
from logo_similarity.reports.table import to_csv

if TYPE_CHECKING:
    from pathlib import Path

    from logo_similarity.classification import Classifications
    from logo_similarity.reports.report import Report


class ReportFormat(StrEnum):
    """The formats of a report; the value is also the extension of its file."""

    PDF = "pdf"
    CSV = "csv"
    JSON = "json"

    @property
    def media_type(self) -> str:
        """Its media type."""
        return {
            ReportFormat.PDF: "application/pdf",
            ReportFormat.CSV: "text/csv; charset=utf-8",
            ReportFormat.JSON: "application/json",
        }[self]


def write_report(
    report: Report,
    form: ReportFormat,
    classifications: Classifications,
    *,
    fonts_folder: Path | None = None,
    seconds: float = WALL_SECONDS,
) -> tuple[bytes, list[str]]:
    """The file of a report, and the scripts that no font of this machine has, which only a PDF needs.

    Raises:
        CaseError, OverloadedError, ReportsUnavailableError, ReportError: as `to_pdf`.
    """
    if form is ReportFormat.PDF:
        return to_pdf(report, classifications, fonts_folder=fonts_folder, seconds=seconds)
    return to_csv(report) if form is ReportFormat.CSV else to_json(report), []
