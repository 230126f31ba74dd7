"""WIPO Standard ST.96, as CIPO and the USPTO (TSDR, two generations) publish it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from logo_similarity.catalog.sources.images import BESIDE
from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.catalog.sources.registers.elements import Root, read_elements
from logo_similarity.catalog.sources.registers.marks import (
    DRAWING_CODES,
    WITHOUT_IMAGE,
    Mark,
    attribute_of,
    day_of,
    elements_of,
    feature_of,
    joined,
    nice_classes_of,
    number_of,
    text_of,
    texts_of,
)
from logo_similarity.catalog.sources.registers.statuses import status_fields
from logo_similarity.catalog.sources.registers.uspto import without_image
from logo_similarity.domain import Reject, Removal

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ST96_NAMESPACE = re.compile(r"/ST96/|/Trademark/\d+$")
CANADIAN_NUMBER = re.compile(r"^\d\d0*(\d+)(\d\d)$", re.ASCII)
"""ST.13 number of CIPO: two digits, the number with leading zeros, and its extension."""
USAGE_PICTURE = re.compile(r"-\d\d$", re.ASCII)
NO_IMAGE = "no image available"
IMAGE = "MarkRepresentation/MarkReproduction/MarkImageBag/MarkImage"
GOODS = "GoodsServicesBag/GoodsServices"
DESIGN_CODE = "NationalDesignSearchCodeBag/NationalDesignSearchCode/NationalDesignCode"
VIENNA = "MarkImageClassification/FigurativeElementClassificationBag/ViennaClassificationBag/ViennaClassification"


def is_st96(root: Root) -> bool:
    """Whether a document has this format."""
    return ST96_NAMESPACE.search(root.namespace) is not None


def read_st96(document: Document) -> Iterator[Mark | Removal | Reject]:
    """The marks of a document."""
    for record in read_elements(document, "Trademark"):
        yield record if isinstance(record, Reject) else _read_mark(record.where, record.element)


def _read_mark(where: str, mark: Element) -> Mark | Removal | Reject:
    office = text_of(mark, "RegistrationOfficeCode") or text_of(mark, "ApplicationNumber/IPOfficeCode")
    number = _number(mark, office)
    if office is None or number is None:
        return Reject(where, f"the mark has no {'RegistrationOfficeCode' if office is None else 'ApplicationNumber'}")
    logo_id = f"{office}-{number}"
    if (attribute_of(mark, "operationCategory") or "").lower() == "delete":
        return Removal(logo_id, where)
    drawing = text_of(mark, "MarkRepresentation/MarkDescriptionBag/NationalMarkDescription/MarkFeatureCode")
    if drawing is not None and drawing.startswith(WITHOUT_IMAGE):
        return Reject(where, without_image(drawing), logo_id)
    feature = feature_of(text_of(mark, "MarkRepresentation/MarkFeatureCategory"))
    images = elements_of(mark, IMAGE)
    return Mark(
        where=where,
        logo_id=logo_id,
        images=tuple(_image_names(number, images)),
        fields={
            "text": joined(
                texts_of(mark, "MarkRepresentation/MarkReproduction/WordMarkSpecification/MarkVerbalElementText")
            ),
            # The USPTO lists all owners and applicants of the past under this name, and the latest is the owner.
            "company" if office == "US" else "applicant": joined(
                map(_party_name, _latest(elements_of(mark, "ApplicantBag/Applicant")))
            ),
            "vienna_codes": list(_vienna_codes(images)),
            "us_design_codes": [code for image in images for code in texts_of(image, DESIGN_CODE)],
            "nice_classes": _nice_classes(mark),
            "goods": joined(
                texts_of(mark, f"{GOODS}/ClassDescriptionBag/ClassDescription/GoodsServicesDescriptionText")
            ),
            "mark_feature": feature if drawing is None else DRAWING_CODES.get(drawing[0]),
            **status_fields(office, text_of(mark, "MarkCurrentStatusCode")),
            "office": office,
            "registration_number": number_of(text_of(mark, "RegistrationNumber")),
            "application_date": day_of(text_of(mark, "ApplicationDate")),
            "registration_date": day_of(text_of(mark, "RegistrationDate")),
            "expiry_date": day_of(text_of(mark, "ExpiryDate")),
        },
    )


def _number(mark: Element, office: str | None) -> str | None:
    text = text_of(mark, "ApplicationNumber/ApplicationNumberText")
    if text is not None:
        return text
    text = text_of(mark, "ApplicationNumber/ST13ApplicationNumber")
    if text is not None and office == "CA" and (match := CANADIAN_NUMBER.match(text)) is not None:
        return match[1] if match[2] == "00" else f"{match[1]}-{match[2]}"
    return text


def _image_names(number: str, images: list[Element]) -> Iterator[str]:
    for image in images:
        name = text_of(image, "FileName") or text_of(image, "ImageFileName") or ""
        stem = PurePosixPath(name.replace("\\", "/")).stem
        # "2382009-01.png" shows the mark in use; but a mark's number may end in the same way.
        if stem and name.lower() != NO_IMAGE and (stem == number or not USAGE_PICTURE.search(stem)):
            yield PurePosixPath(name.replace("\\", "/")).name
    yield number
    yield BESIDE + "markImage"


def _vienna_codes(images: list[Element]) -> Iterator[str]:
    for image in images:
        for code in elements_of(image, VIENNA):
            levels = (text_of(code, f"Vienna{level}") for level in ("Category", "Division", "Section"))
            yield ".".join(filter(None, levels))


def _nice_classes(mark: Element) -> list[str]:
    numbers = []
    for goods in elements_of(mark, GOODS):
        if text_of(goods, "ClassificationKindCode") == "Nice":
            numbers += texts_of(goods, "ClassDescriptionBag/ClassDescription/ClassNumber")
        for item in elements_of(goods, "GoodsServicesClassificationBag/GoodsServicesClassification"):
            if text_of(item, "ClassificationKindCode") == "Nice":
                numbers += texts_of(item, "ClassNumber")
    return nice_classes_of(numbers)


def _latest(parties: list[Element]) -> list[Element]:
    """The parties with the highest sequence number: the USPTO numbers them by their type. All of them, if none has one."""
    numbers = [
        int(text) if (text := attribute_of(party, "sequenceNumber") or "").isdecimal() else 0 for party in parties
    ]
    return [party for party, number in zip(parties, numbers, strict=True) if number == max(numbers)]


def _party_name(party: Element) -> str | None:
    """The name in the first language that there is."""
    paths = ("EntityName", "OrganizationName/OrganizationStandardName", "PersonName/PersonFullName")
    return next((name for path in paths if (name := text_of(party, f"Contact/Name/{path}")) is not None), None)
