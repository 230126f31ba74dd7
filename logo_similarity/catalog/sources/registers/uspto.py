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
CASE = ("serial-number", "registration-number", "transaction-date")
HEADER = ("filing-date", "registration-date", "status-code", "mark-identification", "mark-drawing-code")
PARTY = ("entry-number", "party-type", "party-name")
STATEMENT = ("type-code", "text")
"""The children of each element that are read."""
FIRST_OWNER = 20
"""Types of parties from this number on are owners, those below are applicants."""
LONGEST_NUMBER = 10


def is_uspto(root: Root) -> bool:
    """Whether a document has this format."""
    return root.name == "trademark-applications-daily"


def read_uspto(document: Document) -> Iterator[Mark | Reject]:
    """The case files of a document; a mark without an image is a reject."""
    for record in read_elements(document, "case-file", skip="case-file-event-statements"):
        yield record if isinstance(record, Reject) else _read_case_file(record.where, record.element)


def _read_case_file(where: str, case_file: Element) -> Mark | Reject:
    case = _values(case_file, CASE)
    serial = case.get("serial-number", "")
    if not SERIAL_NUMBER.match(serial):
        return Reject(where, f"the serial number {abbreviate(serial)} does not have eight digits")
    logo_id = f"US-{serial}"
    header = _values(case_file.find("case-file-header"), HEADER)
    drawing = header.get("mark-drawing-code")
    if drawing is not None and drawing.startswith(WITHOUT_IMAGE):
        return Reject(where, without_image(drawing), logo_id)
    owner, applicant = _parties(case_file)
    return Mark(
        where=where,
        logo_id=logo_id,
        images=(serial,),
        fields={
            "text": header.get("mark-identification"),
            "company": owner,
            "applicant": applicant,
            "us_design_codes": _texts(case_file, "design-searches/design-search/code"),
            "nice_classes": nice_classes_of(_texts(case_file, "classifications/classification/international-code")),
            "goods": joined(_statements(case_file, "GS")),
            "mark_feature": None if drawing is None else DRAWING_CODES.get(drawing[0]),
            **status_fields("US", header.get("status-code")),
            "office": "US",
            "registration_number": number_of(case.get("registration-number")),
            "application_date": day_of(header.get("filing-date")),
            "registration_date": day_of(header.get("registration-date")),
            "transaction_date": day_of(case.get("transaction-date")),
        },
    )


def without_image(drawing_code: str) -> str:
    """The reason of a reject: marks with this drawing code have no image."""
    return f"a mark with the drawing code {abbreviate(drawing_code)} has no image"


def _parties(case_file: Element) -> tuple[str | None, str | None]:
    """The latest owner and the latest applicant: those with the highest type and, among these, the highest entry number."""
    parties = [
        (_as_number(party.get("party-type")), _as_number(party.get("entry-number")), name)
        for element in case_file.iterfind("case-file-owners/case-file-owner")
        if (name := (party := _values(element, PARTY)).get("party-name")) is not None
    ]
    applicants = [party for party in parties if party[0] < FIRST_OWNER]
    # Of parties with equal numbers the first counts.
    owner, applicant = (max(some, key=lambda party: party[:2], default=None) for some in (parties, applicants))
    return owner and owner[2], applicant and applicant[2]


def _statements(case_file: Element, kind: str) -> Iterator[str | None]:
    for element in case_file.iterfind("case-file-statements/case-file-statement"):
        statement = _values(element, STATEMENT)
        if statement.get("type-code", "").startswith(kind):
            yield statement.get("text")


def _as_number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < LONGEST_NUMBER else 0


def _values(element: Element | None, names: tuple[str, ...]) -> dict[str, str]:
    """The texts of these children of an element, without blank ones. One pass is faster than a search for each."""
    if element is None:
        return {}
    return {child.tag: text for child in element.iterchildren(*names) if (text := (child.text or "").strip())}


def _texts(element: Element, path: str) -> list[str]:
    return [text for found in element.iterfind(path) if (text := (found.text or "").strip())]
