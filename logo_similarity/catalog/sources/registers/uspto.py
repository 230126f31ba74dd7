"""The USPTO's daily and annual XML of trademark applications (TRTDXFAP, TRTYRAP).

Elements: the document type definition 2.0 and its element documentation, by the USPTO. The XML names no image: those of the
companion files are named after the serial number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.catalog.sources.registers.elements import Root, read_elements
from logo_similarity.catalog.sources.registers.marks import (
    DRAWING_CODES,
    WITHOUT_IMAGE,
    Mark,
    day_of,
    joined,
    nice_classes_of,
    number_of,
)
from logo_similarity.catalog.sources.registers.statuses import status_fields
from logo_similarity.catalog.sources.rows import abbreviate
from logo_similarity.domain import Reject

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SERIAL_NUMBER = re.compile(r"^\d{8}$", re.ASCII)
FIRST_OWNER = 20
"""Types of parties from this number on are owners, those below are applicants."""


def is_uspto(root: Root) -> bool:
    """Whether a document has this format."""
    return root.name == "trademark-applications-daily"


def read_uspto(document: Document) -> Iterator[Mark | Reject]:
    """The case files of a document; a mark without an image is a reject."""
    for record in read_elements(document, "case-file"):
        yield record if isinstance(record, Reject) else _read_case_file(record.where, record.element)


def _read_case_file(where: str, case_file: Element) -> Mark | Reject:
    serial = _text(case_file, "serial-number")
    if serial is None or not SERIAL_NUMBER.match(serial):
        return Reject(where, f"the serial number {abbreviate(serial)} does not have eight digits")
    logo_id = f"US-{serial}"
    drawing = _text(case_file, "case-file-header/mark-drawing-code")
    if drawing is not None and drawing.startswith(WITHOUT_IMAGE):
        return Reject(where, without_image(drawing), logo_id)
    owner, applicant = _parties(case_file)
    return Mark(
        where=where,
        logo_id=logo_id,
        images=(serial,),
        fields={
            "text": _text(case_file, "case-file-header/mark-identification"),
            "company": owner,
            "applicant": applicant,
            "us_design_codes": _texts(case_file, "design-searches/design-search/code"),
            "nice_classes": nice_classes_of(_texts(case_file, "classifications/classification/international-code")),
            "goods": joined(_statements(case_file, "GS")),
            "mark_feature": None if drawing is None else DRAWING_CODES.get(drawing[0]),
            **status_fields("US", _text(case_file, "case-file-header/status-code")),
            "office": "US",
            "registration_number": number_of(_text(case_file, "registration-number")),
            "application_date": day_of(_text(case_file, "case-file-header/filing-date")),
            "registration_date": day_of(_text(case_file, "case-file-header/registration-date")),
            "transaction_date": day_of(_text(case_file, "transaction-date")),
        },
    )


def without_image(drawing_code: str) -> str:
    """The reason of a reject: marks with this drawing code have no image."""
    return f"a mark with the drawing code {abbreviate(drawing_code)} has no image"


def _parties(case_file: Element) -> tuple[str | None, str | None]:
    """The latest owner and the latest applicant: those with the highest type and, among these, the highest entry number."""
    parties = [
        (_number(party, "party-type"), _number(party, "entry-number"), name)
        for party in case_file.iterfind("case-file-owners/case-file-owner")
        if (name := _text(party, "party-name")) is not None
    ]
    applicants = [party for party in parties if party[0] < FIRST_OWNER]
    # Of parties with equal numbers the first counts.
    owner, applicant = (max(some, key=lambda party: party[:2], default=None) for some in (parties, applicants))
    return owner and owner[2], applicant and applicant[2]


def _statements(case_file: Element, kind: str) -> Iterator[str | None]:
    for statement in case_file.iterfind("case-file-statements/case-file-statement"):
        if (_text(statement, "type-code") or "").startswith(kind):
            yield _text(statement, "text")


def _number(element: Element, path: str) -> int:
    text = _text(element, path) or ""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _text(element: Element, path: str) -> str | None:
    return (element.findtext(path) or "").strip() or None


def _texts(element: Element, path: str) -> list[str]:
    return [text for found in element.iterfind(path) if (text := (found.text or "").strip())]
