"""Answers of KIPRIS Plus, the search service of the Korean office, saved as XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.catalog.sources.registers.elements import Root, read_elements
from logo_similarity.catalog.sources.registers.marks import (
    Mark,
    day_of,
    nice_classes_of,
    number_of,
    text_of,
    vienna_codes_of,
)
from logo_similarity.catalog.sources.registers.statuses import status_fields
from logo_similarity.domain import Reject

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

SEPARATORS = re.compile(r"[\s,;|]+")
GOODS = "trademarkDesignationGoodstInfo"


def is_kipris(root: Root) -> bool:
    """Whether a document has this format."""
    return root.name == "response" and not root.namespace


def read_kipris(document: Document) -> Iterator[Mark | Reject]:
    """The marks of an answer. An error that KIPRIS answered is a reject, and so are goods, which name no mark."""
    goods = 0
    for record in read_elements(document, "header", "TradeMarkInfo", GOODS):
        if isinstance(record, Reject):
            yield record
        elif record.element.tag == "header":
            code = text_of(record.element, "resultCode")
            if code is not None and code.strip("0"):
                yield Reject(record.where, f"the file is an error answer of KIPRIS with the code {code:.20}")
        elif record.element.tag == GOODS:
            goods += 1
            if goods == 1:
                yield Reject(record.where, "a list of goods names no application, so it belongs to no mark")
        else:
            yield _read_mark(record.where, record.element)


def _read_mark(where: str, mark: Element) -> Mark | Reject:
    number = text_of(mark, "ApplicationNumber")
    if number is None:
        return Reject(where, "the mark has no ApplicationNumber")
    return Mark(
        where=where,
        logo_id=f"KR-{number}",
        images=(number,),
        fields={
            "text": text_of(mark, "Title"),
            "company": text_of(mark, "RegistrationRightholderName"),
            "applicant": text_of(mark, "ApplicantName"),
            "vienna_codes": vienna_codes_of(_list(mark, "ViennaCode")),
            "nice_classes": nice_classes_of(_list(mark, "GoodClassificationCode")),
            **status_fields("KR", text_of(mark, "ApplicationStatus")),
            "office": "KR",
            "registration_number": number_of(text_of(mark, "RegistrationNumber")),
            "application_date": day_of(text_of(mark, "ApplicationDate")),
            "registration_date": day_of(text_of(mark, "RegistrationDate")),
        },
    )


def _list(mark: Element, path: str) -> list[str]:
    return [part for part in SEPARATORS.split(text_of(mark, path) or "") if part]
