"""Files of registers, real ones and small ones of the same form."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten
from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record

REAL = Path(__file__).parent / "fixtures" / "registers"
Row = Record | Removal | Reject


def read(path: Path) -> list[Row]:
    """The rows of a register whose images are not looked for."""
    return list(open_source(path, kind="register", names=NamesAsWritten).rows())


def read_one(path: Path) -> Row:
    """The only row."""
    (row,) = read(path)
    return row


def read_text(folder: Path, text: str | bytes, name: str = "register.xml") -> list[Row]:
    """The rows of a file with this content."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read(folder / name)


def case_file(serial: str, inner: str = "", header: str = "", date: str = "20240101") -> str:
    """A record of the USPTO."""
    return (
        f"<case-file>\n<serial-number>{serial}</serial-number>\n<transaction-date>{date}</transaction-date>\n"
        f"<case-file-header>{header}</case-file-header>\n{inner}</case-file>"
    )


def uspto(*case_files: str) -> str:
    """A daily file of the USPTO, with a document type declaration as the real ones have."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE trademark-applications-daily [\n'
        "<!ELEMENT trademark-applications-daily (version, application-information)>\n]>\n"
        "<trademark-applications-daily><application-information><file-segments><action-keys>\n"
        + "\n".join(case_files)
        + "\n</action-keys></file-segments></application-information></trademark-applications-daily>\n"
    )


def st66(content: str, namespace: str = "http://www.euipo.europa.eu/EUTM/EUTM_Download") -> str:
    """A document of ST.66."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Transaction xmlns="{namespace}"><TradeMarkTransactionBody>'
        f"<TransactionContentDetails><TransactionData>{content}</TransactionData></TransactionContentDetails>"
        "</TradeMarkTransactionBody></Transaction>"
    )


def zip_of(**members: str | bytes) -> bytes:
    """A ZIP file; "__" in a name stands for ".", "___" for "/"."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("___", "/").replace("__", "."), text)
    return content.getvalue()
