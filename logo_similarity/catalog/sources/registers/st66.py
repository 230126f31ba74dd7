"""WIPO Standard ST.66, as EUIPO, INPI, the USPTO (TSDR), the Madrid system and offices with WIPO's IPAS publish it.

An office may name the applicants of its marks only by a key, and list them in documents of their own: they are read first
(`read_applicants`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from logo_similarity.catalog.sources.images import BESIDE
from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.catalog.sources.registers.elements import Root, has_element, read_elements, read_root
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
    vienna_codes_of,
)
from logo_similarity.catalog.sources.registers.statuses import status_fields
from logo_similarity.catalog.sources.registers.uspto import without_image
from logo_similarity.domain import Reject, Removal

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ST66_NAMESPACE = "http://www.wipo.int/standards/XMLSchema/trademarks"
OFFICES = {"euipo": "EM", "oami": "EM", "romarin": "WO", "madrid": "WO"}
"""Offices by a word in the namespace, for records that do not name theirs."""
ROOTS = ("Transaction", "TradeMark", "TradeMarks", "Applicants", "Representatives")
EM_DIGITS = 9
IPAS_IMAGE = "logo"
"""Offices with WIPO's IPAS call every image this."""
MOST_APPLICANTS = 1_000
"""Applicants behind a mark that are kept in memory."""
CLASSES = "GoodsServicesDetails/GoodsServices/ClassDescriptionDetails/ClassDescription"
NAME = "ApplicantAddressBook/FormattedNameAddress/Name"
WO_PART = re.compile(r"^(\d+)[A-Z]+$", re.ASCII)
"""A part of a divided international registration: its image is that of the number."""

NameOf = Callable[[str], str | None]
"""The name of an applicant by its key; None: there is none of this key."""


def is_st66(root: Root) -> bool:
    """Whether a document has this format."""
    return root.namespace == ST66_NAMESPACE or root.name in ROOTS


def read_applicants(document: Document) -> Iterator[tuple[str, str | None]]:
    """Keys and names of the applicants of a document without marks; the name of one that was deleted is None."""
    if has_element(document, "TradeMark") or not has_element(document, "Applicant"):
        return
    for record in read_elements(document, "Applicant"):
        if not isinstance(record, Reject) and (key := text_of(record.element, "ApplicantIdentifier")) is not None:
            yield key, None if _is_deleted(record.element) else _party_name(record.element)


def read_st66(document: Document, name_of: NameOf) -> Iterator[Mark | Removal | Reject]:
    """The marks of a document.

    TSDR writes the applicants of a mark behind it, so those of a document with one mark are its own.
    """
    root = read_root(document)
    namespace = "" if root is None else root.namespace
    first: Element | None = None
    where = ""
    applicants: list[Element] = []
    marks = 0
    for record in read_elements(document, "TradeMark", "Applicant"):
        if isinstance(record, Reject):
            yield record
        elif record.element.tag.endswith("Applicant"):
            if marks == 1 and len(applicants) < MOST_APPLICANTS:
                applicants.append(record.element)
        else:
            marks += 1
            if marks == 2 and first is not None:
                yield _read_mark(where, first, namespace, [], name_of)
            if marks == 1:
                where, first = record.where, record.element
            else:
                yield _read_mark(record.where, record.element, namespace, [], name_of)
    if marks == 1 and first is not None:
        yield _read_mark(where, first, namespace, applicants, name_of)


def _read_mark(
    where: str, mark: Element, namespace: str, applicants: list[Element], name_of: NameOf
) -> Mark | Removal | Reject:
    office = text_of(mark, "RegistrationOfficeCode") or _office_of(namespace)
    number = text_of(mark, "ApplicationNumber") or text_of(mark, "RegistrationNumber")
    if office is None or number is None:
        return Reject(where, f"the mark has no {'RegistrationOfficeCode' if office is None else 'ApplicationNumber'}")
    if office == "EM":
        number = number.zfill(EM_DIGITS)
    logo_id = f"{office}-{number}"
    if _is_deleted(mark):
        return Removal(logo_id, where)
    drawing = text_of(mark, "TradeMarkExt/MarkFeatureCode")
    if drawing is not None and drawing.startswith(WITHOUT_IMAGE):
        return Reject(where, without_image(drawing), logo_id)
    images = elements_of(mark, "MarkImageDetails/MarkImage")
    names = [
        _party_name(party) for party in _current_parties(applicants or elements_of(mark, "ApplicantDetails/Applicant"))
    ]
    names += [name_of(key) for key in texts_of(mark, "ApplicantDetails/ApplicantKey/Identifier")]
    return Mark(
        where=where,
        logo_id=logo_id,
        images=tuple(_image_names(number, images)),
        fields={
            "text": joined(texts_of(mark, "WordMarkSpecification/MarkVerbalElementText")),
            # The USPTO lists all owners and applicants of the past under this name, and the latest is the owner.
            "company" if office == "US" else "applicant": joined(names),
            "vienna_codes": vienna_codes_of(_category_codes(images)),
            "us_design_codes": [
                code
                for image in images
                for code in texts_of(
                    image, "MarkImageCategory/CategoryCodeDetailsExt/DesignSearchDetails/DesignSearchCode"
                )
            ],
            "nice_classes": nice_classes_of(texts_of(mark, f"{CLASSES}/ClassNumber")),
            "goods": _goods(mark),
            "mark_feature": feature_of(text_of(mark, "MarkFeature"))
            if drawing is None
            else DRAWING_CODES.get(drawing[0]),
            **status_fields(office, text_of(mark, "MarkCurrentStatusCode")),
            "office": office,
            "registration_number": number_of(text_of(mark, "RegistrationNumber")),
            "application_date": day_of(text_of(mark, "ApplicationDate")),
            "registration_date": day_of(text_of(mark, "RegistrationDate")),
            "expiry_date": day_of(text_of(mark, "ExpiryDate")),
        },
    )


def _office_of(namespace: str) -> str | None:
    return next((office for word, office in OFFICES.items() if word in namespace.lower()), None)


def _is_deleted(element: Element) -> bool:
    return (attribute_of(element, "operationCode") or "").lower() == "delete"


def _image_names(number: str, images: list[Element]) -> Iterator[str]:
    for image in images:
        for path in ("MarkImageFilename", "MarkImageURI"):
            if (text := text_of(image, path)) is not None:
                name = PurePosixPath(text.replace("\\", "/")).name
                yield BESIDE + name if PurePosixPath(name).stem.lower() == IPAS_IMAGE else name
    yield number
    if (part := WO_PART.match(number)) is not None:
        yield part[1]
    # TSDR names the image in its ZIP files like this, and not in the XML.
    yield BESIDE + "markImage"


def _category_codes(images: list[Element]) -> Iterator[str]:
    for image in images:
        yield from texts_of(image, "MarkImageCategory/CategoryCodeDetails/CategoryCode")
        yield from texts_of(image, "MarkImageCategoryDetails/MarkImageCategory/CategoryCodeDetails/CategoryCode")


def _goods(mark: Element) -> str | None:
    """The goods in the language of the application, or else in the first language that there is."""
    descriptions = [
        (attribute_of(text, "languageCode"), (text.text or "").strip())
        for text in elements_of(mark, f"{CLASSES}/GoodsServicesDescription")
    ]
    languages = [language for language, text in descriptions if text]
    wanted = text_of(mark, "ApplicationLanguageCode")
    chosen = wanted if wanted in languages else next(iter(languages), None)
    return joined(text for language, text in descriptions if language == chosen)


def _current_parties(parties: list[Element]) -> list[Element]:
    """The parties that were not deleted; of those with types, as the USPTO has them, the latest."""
    kept = [party for party in parties if not _is_deleted(party)]
    types = [
        int(kind) if (kind := text_of(party, "ApplicantExt/PartyTypeCode") or "").isdecimal() else 0 for party in kept
    ]
    return [party for party, kind in zip(kept, types, strict=True) if kind == max(types)]


def _party_name(party: Element) -> str | None:
    lines = texts_of(party, f"{NAME}/FreeFormatName/FreeFormatNameDetails/FreeFormatNameLine")
    if lines:
        return " ".join(lines)
    person = [text_of(party, f"{NAME}/FormattedName/{part}") for part in ("FirstName", "MiddleName", "LastName")]
    return text_of(party, f"{NAME}/FormattedName/OrganizationName") or " ".join(filter(None, person)) or None
