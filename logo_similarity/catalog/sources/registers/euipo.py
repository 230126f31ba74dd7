"""Answers of EUIPO's API "Trademark search" 1.1.0, saved as JSON: pages of results, and detailed records.

A page has neither images nor Vienna codes, a detailed record has both. Records of one mark complete each other.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.catalog.sources.registers.marks import Mark, feature_of, joined
from logo_similarity.catalog.sources.registers.statuses import status_fields
from logo_similarity.catalog.sources.rows import abbreviate
from logo_similarity.domain import Reject

LARGEST_JSON = 32 << 20
"""Bytes of a document. A page of 100 marks has less than 1 MB."""
NUMBER = re.compile(r"^(?:\d{9}|W\d{8}[A-Z]?)$", re.ASCII)
KEYS = ("trademarks", "applicationNumber")
"""Of a page and of a record."""


def is_euipo(document: Document) -> bool:
    """Whether a document has this format: a JSON object, or the first of an array, with one of the keys in its head."""
    import ijson

    try:
        for prefix, event, key in ijson.parse(io.BytesIO(document.head.removeprefix(codecs.BOM_UTF8)), use_float=True):
            if event == "map_key" and prefix in ("", "item") and key in KEYS:
                return True
    except (ijson.JSONError, ValueError, OverflowError):  # also because the head ends before the document does
        pass
    return False


def read_euipo(document: Document) -> Iterator[Mark | Reject]:
    """The marks of a page, of an array of records, or of one record; a document that is not valid JSON is a reject."""
    content = b""
    for piece in document.pieces():
        content += piece
        if len(content) > LARGEST_JSON:
            yield Reject(
                document.name, f"the file is larger than {LARGEST_JSON >> 20} MB; save the pages in files of their own"
            )
            return
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        yield Reject(document.name, "the file is not valid JSON")
        return
    items = value.get("trademarks", value) if isinstance(value, dict) else value
    for position, item in enumerate(items if isinstance(items, list) else [items]):
        where = f"{document.name}[{position}]"
        if isinstance(item, dict):
            yield _read_mark(where, item)
        else:
            yield Reject(where, f"{abbreviate(item)} is not an object")


def _read_mark(where: str, item: Mapping[str, Any]) -> Mark | Reject:
    number = item.get("applicationNumber")
    if not isinstance(number, str) or not NUMBER.match(number):
        return Reject(where, f"the applicationNumber {abbreviate(number)} is not one of EUIPO")
    image = _object(item.get("markImage"))
    goods = [_object(each) for each in _list(item.get("goodsAndServices"))]
    feature = item.get("markFeature")
    status = item.get("status")
    return Mark(
        where=where,
        logo_id=f"EM-{number}",
        images=(number,),
        fields={
            "text": _object(item.get("wordMarkSpecification")).get("verbalElement"),
            "applicant": joined(
                name for each in _list(item.get("applicants")) if isinstance(name := _object(each).get("name"), str)
            ),
            "vienna_codes": image.get("viennaClasses"),
            "nice_classes": item.get("niceClasses") or [each.get("classNumber") for each in goods],
            "goods": joined(_goods(goods)),
            "mark_feature": feature_of(feature) if isinstance(feature, str) else None,
            **status_fields("EM", status if isinstance(status, str) else None),
            "office": "EM",
            "application_date": item.get("applicationDate"),
            "registration_date": item.get("registrationDate"),
            "expiry_date": item.get("expiryDate"),
        },
    )


def _goods(goods: list[Mapping[str, Any]]) -> Iterator[str]:
    """The terms of each class in English, or else in the first language that there is."""
    for each in goods:
        texts = [_object(text) for text in _list(each.get("description"))]
        chosen = next((text for text in texts if text.get("language") == "en"), texts[0] if texts else {})
        yield from (term for term in _list(chosen.get("terms")) if isinstance(term, str))


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
