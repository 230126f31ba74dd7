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
import time
from collections.abc import Callable, Collection, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from logo_similarity.classification import Classifications
from logo_similarity.errors import CaseError, OverloadedError, ReportError, ReportsUnavailableError
from logo_similarity.reports.document import document, picture_name, thumbnail_name
from logo_similarity.reports.exchange import CPU_SECONDS, DATA, FONTS, MEMORY_BYTES, OUTPUT, PDF, PNG, TEMPLATE
from logo_similarity.reports.report import Report

if TYPE_CHECKING:
    from logo_similarity.reports.fonts import Fonts

WALL_SECONDS = 60.0
"""Time limit for setting a report where nobody waits for it: longer than `CPU_SECONDS`, since the machine is shared."""

log = structlog.get_logger(__name__)


def to_pdf(
    report: Report,
    classifications: Classifications,
    *,
    fonts_folder: Path | None = None,
    seconds: float = WALL_SECONDS,
) -> tuple[bytes, list[str]]:
    """The PDF file, and the scripts of which some characters are in no font of this machine.

    The report says which scripts these are, and shows a transliteration in brackets instead of their characters.

    Args:
        report: its content.
        classifications: names of Vienna codes and Nice classes.
        fonts_folder: further fonts.
        seconds: time limit for setting it.

    Raises:
        CaseError: setting the report takes more time or memory than the limits of `reports.typesetter`.
        OverloadedError: it is not set in time.
        ReportsUnavailableError: the extra `reports` is not installed.
        ReportError: Typst fails.
    """
    (pdf,), missing = _set(report, classifications, fonts_folder, PDF, seconds)
    return pdf, missing


def to_pages(report: Report, classifications: Classifications, *, fonts_folder: Path | None = None) -> list[bytes]:
    """The pages of the PDF file as PNG files, to look at. Raises as `to_pdf`."""
    return _set(report, classifications, fonts_folder, PNG, WALL_SECONDS)[0]


def _set(
    report: Report, classifications: Classifications, fonts_folder: Path | None, form: str, seconds: float
) -> tuple[list[bytes], list[str]]:
    """The files that Typst writes, and the scripts that are missing."""
    deadline = time.monotonic() + seconds
    fonts = _load_fonts(fonts_folder)
    texts = document(report, classifications)
    try:
        return _set_with(fonts, report, texts, form, deadline)
    except ReportError as error:
        # Typst refuses a file with a character that it cannot display. That depends on more than the characters of a
        # font: marks on letters that they do not belong to, for example.
        log.warning("report_without_fonts", error=str(error)[:200])
        return _set_with(fonts.basic(), report, texts, form, deadline)


def _set_with(
    fonts: Fonts, report: Report, texts: dict[str, Any], form: str, deadline: float
) -> tuple[list[bytes], list[str]]:
    from logo_similarity.reports.fonts import printable, scripts_of

    families, missing = fonts.choose(_texts(texts))
    data = _changed(texts, lambda text: printable(text, missing))
    scripts = scripts_of(missing)
    data |= {"missing": scripts, "families": families}
    paths = frozenset[Path]().union(*(fonts.files.get(family, ()) for family in families))
    return _write_and_run(report, data, paths, form, deadline), scripts


def _load_fonts(folder: Path | None) -> Fonts:
    try:
        from logo_similarity.reports.fonts import load_fonts
    except ImportError:
        raise ReportsUnavailableError(
            "PDF reports need Typst: run pip install '.[reports]' in the source folder, or make a CSV or JSON report"
        ) from None
    return load_fonts(folder)


def _write_and_run(
    report: Report, data: dict[str, Any], fonts: Collection[Path], form: str, deadline: float
) -> list[bytes]:
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
        (folder / FONTS).mkdir()
        for number, path in enumerate(sorted(fonts)):
            (folder / FONTS / f"{number}{path.suffix}").symlink_to(path.absolute())
        _run(folder, form, deadline)
        pattern = OUTPUT[form].replace("{p}", "*")
        return [
            path.read_bytes() for path in sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
        ]


def _run(folder: Path, form: str, deadline: float) -> None:
    """Run the typesetter. Raises CaseError if it exceeds its limits, and ReportError if it fails."""
    words = [str(folder), form, *map(str, (os.getpid(), CPU_SECONDS, MEMORY_BYTES))]
    try:
        outcome = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-P", "-m", "logo_similarity.reports.typesetter", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # No secrets. Without a home, libraries would ask the system for one.
            env={
                "HOME": str(folder),
                "RAYON_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path)),
            },
            timeout=max(0.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OverloadedError(
            "the report was not made in time, because the machine is busy; try again shortly", retry_after=10
        ) from None
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


def _changed(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - a JSON value
    """The value with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(item, change) for key, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, list) else value
