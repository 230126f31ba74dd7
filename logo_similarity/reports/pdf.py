"""A report as a PDF file, set by Typst. Needs the extra `reports`.

Texts of the case reach the template as data, never as its source, so nothing in them is taken for markup. Typst reads
only the files in a temporary folder, and has no network access.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from logo_similarity.classification import Classifications
from logo_similarity.errors import CaseError, OverloadedError, ReportError, ReportsUnavailableError
from logo_similarity.reports.document import document, picture_name, thumbnail_name
from logo_similarity.reports.exchange import CPU_SECONDS, DATA, MEMORY_BYTES, OUTPUT, PDF, PNG, TEMPLATE
from logo_similarity.reports.report import Report

if TYPE_CHECKING:
    from logo_similarity.reports.fonts import Fonts

_WALL_PER_CPU = 3
"""Seconds to wait for each second of CPU time that the typesetter may use: the machine is shared."""

log = structlog.get_logger(__name__)


def to_pdf(
    report: Report, classifications: Classifications, *, fonts_folder: Path | None = None
) -> tuple[bytes, list[str]]:
    """The PDF file, and the scripts of which some characters are in no font of this machine.

    The report says which scripts these are, and shows a transliteration in brackets instead of their characters.

    Args:
        report: its content.
        classifications: names of Vienna codes and Nice classes.
        fonts_folder: further fonts.

    Raises:
        CaseError: setting the report takes more time or memory than the limits of `reports.typesetter`.
        OverloadedError: the machine is too busy to set it.
        ReportsUnavailableError: the extra `reports` is not installed.
        ReportError: Typst fails.
    """
    data = _prepare(report, classifications, fonts_folder)
    (pdf,) = _set(report, data, fonts_folder, PDF)
    return pdf, data["missing"]


def to_pages(report: Report, classifications: Classifications, *, fonts_folder: Path | None = None) -> list[bytes]:
    """The pages of the PDF file as PNG files, to look at. Raises as `to_pdf`."""
    return _set(report, _prepare(report, classifications, fonts_folder), fonts_folder, PNG)


def _prepare(report: Report, classifications: Classifications, folder: Path | None) -> dict[str, Any]:
    """The data of the template, in which every character can be printed."""
    fonts = _load_fonts(folder)
    data: dict[str, Any] = document(report, classifications)
    missing = fonts.missing_scripts(_texts(data))
    return {**_printable(data, fonts), "missing": missing, "family": fonts.family}


def _load_fonts(folder: Path | None) -> Fonts:
    try:
        from logo_similarity.reports.fonts import load_fonts
    except ImportError:
        raise ReportsUnavailableError(
            "PDF reports need Typst: run pip install '.[reports]' in the source folder, or make a CSV or JSON report"
        ) from None
    return load_fonts(folder)


def _set(report: Report, data: dict[str, Any], fonts_folder: Path | None, form: str) -> list[bytes]:
    """The files that Typst writes."""
    with tempfile.TemporaryDirectory(prefix="logo-similarity-report-") as name:
        folder = Path(name)
        (folder / TEMPLATE).write_bytes((files(__package__) / TEMPLATE).read_bytes())
        (folder / DATA).write_text(json.dumps(data, ensure_ascii=False), "utf-8")
        for place, picture in enumerate(report.pictures):
            (folder / picture_name(place)).write_bytes(picture)
        for place, row in enumerate(report.rows):
            if (thumbnail := report.thumbnails.get(row.hit.id)) is not None:
                (folder / thumbnail_name(place)).write_bytes(thumbnail)
        _run(folder, form, [] if fonts_folder is None else [str(fonts_folder.absolute())])
        pattern = OUTPUT[form].replace("{p}", "*")
        return [
            path.read_bytes() for path in sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
        ]


def _run(folder: Path, form: str, fonts: list[str]) -> None:
    """Run the typesetter. Raises CaseError if it exceeds its limits, and ReportError if it fails."""
    words = [str(folder), form, *map(str, (os.getpid(), CPU_SECONDS, MEMORY_BYTES)), *fonts]
    try:
        outcome = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "logo_similarity.reports.typesetter", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={
                "RAYON_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path)),
            },  # no secrets
            timeout=_WALL_PER_CPU * CPU_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OverloadedError("the report was not set in time, because the machine is busy", retry_after=10) from None
    if outcome.returncode < 0:  # killed by the kernel, or aborted for want of memory
        log.warning("report_too_large", status=outcome.returncode)
        raise CaseError("setting the report takes too much time or memory; keep fewer hits, or shorten the notes")
    if outcome.returncode != 0:
        reason = outcome.stderr.decode(errors="replace")[-2000:]
        raise ReportError(f"the report cannot be set: {reason}")


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _printable(value: Any, fonts: Fonts) -> Any:  # noqa: ANN401 - a JSON value
    """The value with texts of which every character is in a font."""
    if isinstance(value, str):
        return fonts.printable(value)
    if isinstance(value, dict):
        return {key: _printable(item, fonts) for key, item in value.items()}
    return [_printable(item, fonts) for item in value] if isinstance(value, list) else value
