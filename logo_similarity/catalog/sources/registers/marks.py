"""`Mark`, what a register says about one logo, and how its values are read from elements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

WITHOUT_IMAGE = ("1", "4", "6")
"""First characters of the USPTO's drawing codes of marks without an image: typed, standard characters, no drawing."""
DRAWING_CODES = {"1": "word", "2": "figurative", "3": "combined", "4": "word", "5": "combined", "6": "other"}
"""Kinds of mark by the first character of the USPTO's drawing code; 5 is stylized words."""
FEATURES = {
    "word": "word",
    "standard characters": "word",
    "figurative": "figurative",
    "combined": "combined",
    "design": "combined",
    "stylized characters": "combined",
}
"""Kinds of mark by the words of offices, in lower case; all others are `other`."""
CODE_DIGITS = re.compile(r"^(\d\d)(\d\d)(\d\d)?$", re.ASCII)
DAY_DIGITS = re.compile(r"^(\d{4})(\d\d)(\d\d)$", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one record of a register says about one logo; a sparse record leaves fields out."""

    where: str
    logo_id: str
    images: tuple[str, ...]
    """Names by which its image may be found, the most specific first: see `ImageNames.find`."""
    fields: Mapping[str, object]
    """Values of the register's fields by name."""


def text_of(element: Element, path: str) -> str | None:
    """The text of the first element at a path ("A/B") below an element, in any namespace; None: it is missing or blank."""
    return (element.findtext(_any_namespace(path)) or "").strip() or None


def texts_of(element: Element, path: str) -> list[str]:
    """The texts of all elements at a path, without blank ones."""
    return [text for found in elements_of(element, path) if (text := (found.text or "").strip())]


def elements_of(element: Element, path: str) -> list[Element]:
    """All elements at a path, in any namespace."""
    return element.findall(_any_namespace(path))


def attribute_of(element: Element, name: str) -> str | None:
    """An attribute in any namespace."""
    return next((str(value) for key, value in element.attrib.items() if str(key).rpartition("}")[2] == name), None)


@cache
def _any_namespace(path: str) -> str:
    return "/".join(f"{{*}}{name}" for name in path.split("/"))


def day_of(text: str | None) -> str | None:
    """A date in ISO 8601 without its time and offset: "20080519" and "2008-05-19-04:00" become "2008-05-19".

    None: it is missing or all zeros. Any other text stays as it is.
    """
    if text is None or not text.strip("0- "):
        return None
    if text[4:5] == "-":
        return text[:10]
    return DAY_DIGITS.sub(r"\1-\2-\3", text[:8])


def number_of(text: str | None) -> str | None:
    """A number without leading zeros; None: it is missing or zero."""
    return (text or "").strip().lstrip("0") or None


def nice_classes_of(texts: Iterable[str]) -> list[str]:
    """Numbers of classes, without those that stand for "not classified" (0)."""
    return [text for text in texts if text.strip("0")]


def vienna_codes_of(texts: Iterable[str]) -> list[str]:
    """Codes with dots: "260501" becomes "26.05.01". A section 00 stands for the division: "18.01.00" becomes "18.01"."""
    codes = []
    for text in texts:
        match = CODE_DIGITS.match(text)
        code = ".".join(filter(None, match.groups())) if match else text
        codes.append(code.removesuffix(".00"))
    return codes


def feature_of(text: str | None) -> str | None:
    """The kind of mark in our words."""
    return None if text is None else FEATURES.get(text.lower(), "other")


def joined(texts: Iterable[str | None]) -> str | None:
    """Texts in one, without repetitions; None: there are none."""
    return "; ".join(dict.fromkeys(filter(None, texts))) or None
