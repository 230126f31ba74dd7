"""Excel workbooks (.xlsx), read row by row.

openpyxl's read-only mode is used although python-calamine is ten times as fast: calamine holds a whole sheet in memory,
with every cell up to the last one that is filled, so that a single stray cell can take many gigabytes.
"""

from __future__ import annotations

import contextlib
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from logo_similarity.catalog.sources.tables import Row, name_cells, name_columns
from logo_similarity.errors import SourceError

MOST_SHARED_BYTES = 1 << 29
"""Of the texts that the cells share, which are held in memory."""
MOST_PART_BYTES = 1 << 25
"""Of any other part except the sheets."""
MOST_INFLATION, INFLATED_BYTES = 200, 1 << 27
"""A sheet larger than this may be this many times as large as its compressed form. Sheets that Excel writes shrink to a
tenth to a thirtieth."""


_DAMAGED = (
    ValueError, LookupError, TypeError, AttributeError, SyntaxError, EOFError, ArithmeticError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""openpyxl does not check what it reads. SyntaxError: XML that cannot be parsed; RuntimeError: an encrypted part."""


class ExcelTable:
    """One sheet of a workbook; its first row with values is the header."""

    def __init__(self, path: Path, sheet: str | None = None) -> None:
        """Read the header.

        Raises:
            SourceError: the file is damaged or exceeds the limits, or the sheet does not exist or has no rows.
        """
        self._path = path
        _check_parts(path)
        with self._workbook() as workbook:
            names = [worksheet.title for worksheet in workbook.worksheets]
            if sheet is not None and sheet not in names:
                raise SourceError(f"{path}: has no sheet {sheet!r}; its sheets are {', '.join(map(repr, names))}")
            for name in names if sheet is None else [sheet]:
                header = next(_filled_rows(workbook[name]), None)
                if header is not None:
                    break
            else:
                raise SourceError(f"{path}: has no rows{'' if sheet is None else f' in the sheet {sheet!r}'}")
        self._sheet = name
        self._header_row = header[0]
        self.columns = name_columns(path, header[1])
        self.facts = {
            "sheet": name,
            **({"other sheets": ", ".join(other for other in names if other != name)} if len(names) > 1 else {}),
        }

    def rows(self) -> Iterator[Row]:
        """See `Table.rows`."""
        with self._workbook() as workbook:
            for number, cells in islice(_filled_rows(workbook[self._sheet]), 1, None):
                row = name_cells(self.columns, cells)
                if row is not None:
                    yield f"{self._path.name}:{number}", row

    @contextlib.contextmanager
    def _workbook(self) -> Iterator[Any]:
        from openpyxl import load_workbook

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of drawings, validations and styles, which are not read
                workbook = load_workbook(self._path, read_only=True, data_only=True, keep_links=False)
                try:
                    yield workbook
                finally:
                    workbook.close()
        except _DAMAGED as error:
            raise SourceError(f"{self._path}: cannot be read as an Excel workbook ({error})") from None


def _filled_rows(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:  # noqa: ANN401 - a sheet of openpyxl
    """The number and the values of each row that has one."""
    sheet.reset_dimensions()  # some programs state too few rows
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        if any(cell not in (None, "") for cell in cells):
            yield number, cells


def _check_parts(path: Path) -> None:
    """Raise SourceError if a part of the archive unpacks to more than a workbook needs."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except zipfile.BadZipFile:
        raise SourceError(
            f"{path}: is not an Excel workbook (.xlsx); if it is protected by a password or of an older kind, save it "
            "again as .xlsx"
        ) from None
    for part in parts:
        if part.filename.startswith("xl/worksheets/"):
            too_large = part.file_size > max(INFLATED_BYTES, MOST_INFLATION * part.compress_size)
        elif part.filename.endswith("sharedStrings.xml"):
            too_large = part.file_size > MOST_SHARED_BYTES
        else:
            too_large = part.filename.endswith((".xml", ".rels")) and part.file_size > MOST_PART_BYTES
        if too_large:
            raise SourceError(f"{path}: unpacks to too much data ({part.filename}); export the table as CSV")
