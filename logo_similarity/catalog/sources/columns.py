"""Which column of a table is which field."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logo_similarity.field_kinds import is_missing, words
from logo_similarity.fields import FIELDS

USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "logo_id": (
        "id", "application number", "application no", "serial number", "serial no", "trademark number", "mark number", "number",
        "no", "reference", "st13", "aktenzeichen", "anmeldenummer", "markennummer", "nummer", "nr", "numéro de dépôt",
        "numéro de demande", "numéro de marque", "numéro", "número de solicitud", "número de expediente", "número de marca",
        "expediente", "núm",
    ),
    "filename": (
        "file", "image", "image file", "image file name", "image name", "image path", "picture", "picture file",
        "picture name", "logo", "logo file", "path", "file path", "photo", "image id", "bild", "bilddatei", "bildname", "datei",
        "dateiname", "bildpfad", "abbildung", "fichier", "fichier image", "nom de fichier", "nom du fichier",
        "image de la marque", "imagen", "archivo", "fichero", "nombre de archivo", "nombre del archivo", "archivo de imagen",
        "fichero de imagen", "logotipo",
    ),
    **{field.name: field.spellings for field in FIELDS},
}  # fmt: skip
"""Usual names of the columns of the id, of the filename and of every field, besides their own; the likeliest first."""
CLASS_COLUMN = re.compile(r"^(?:nice|niza|nizza|international|int)?(?:class|classe|klasse|clase|cl|kl|ic)0*([1-9]\d?)$")
"""One of the columns Class1 to Class45."""
MOST_CLASSES = 45
_NOT_MARKED = frozenset({"", "0", "no", "n", "false", "f", "nein", "non", "none", "null", "-"})


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table, and what each is read as."""

    names: tuple[str, ...]
    by_field: Mapping[str, str]
    """The column of each field that has one."""
    reasons: Mapping[str, str]
    """Why, by field."""
    classes: Mapping[str, int]
    """The columns that mark one Nice class each, and the class."""

    def fields_of(self, column: str) -> list[str]:
        """The fields that are read from a column."""
        marked = ["nice_classes"] if column in self.classes else []
        return marked + [field for field, name in self.by_field.items() if name == column]


def choose_columns(names: Sequence[str], mapped: Mapping[str, str]) -> Columns:
    """The column of each field: the mapped one, the one with its name, or the first of the usual names.

    Case, blanks, punctuation and diacritics of names do not matter. If no column names the image, the id does.

    Args:
        names: of the columns.
        mapped: columns by field, from a mapping; one that does not exist is left out.
    """
    by_letters: dict[str, str] = {}
    for name in names:
        by_letters.setdefault(_letters(name), name)
    chosen: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for field, wanted in mapped.items():
        column = wanted if wanted in names else by_letters.get(_letters(wanted))
        if column is not None:
            chosen[field], reasons[field] = column, "mapped"
    taken = set(chosen.values())
    for own_name in (True, False):
        for field, spellings in USUAL_COLUMNS.items():
            if field in mapped or field in chosen:
                continue
            candidates = (field,) if own_name else spellings
            found = (by_letters[letters] for name in candidates if (letters := _letters(name)) in by_letters)
            column = next((name for name in found if name not in taken), None)
            if column is not None:
                chosen[field], reasons[field] = column, "its name" if own_name else "a usual name"
                taken.add(column)
    if "logo_id" not in chosen and "logo_id" not in mapped and "registration_number" in chosen:
        chosen["logo_id"], reasons["logo_id"] = chosen["registration_number"], "no other number"
    if "filename" not in chosen and "filename" not in mapped and "logo_id" in chosen:
        chosen["filename"], reasons["filename"] = chosen["logo_id"], "the id names the image"
    classes = {} if "nice_classes" in chosen else _class_columns([name for name in names if name not in taken])
    return Columns(tuple(names), chosen, reasons, classes)


def can_be_field(name: str, mapped: Mapping[str, str]) -> bool:
    """Whether `choose_columns` may choose a column of this name; every other one is kept as it is."""
    letters = _letters(name)
    usual = letters in _usual_letters() or CLASS_COLUMN.match(letters) is not None
    return usual or letters in map(_letters, mapped.values())


def is_marked(value: Any) -> bool:  # noqa: ANN401 - a cell
    """Whether a cell of the column of a class says that the logo has it: "x", 1, "yes", or its goods."""
    return _plain(value) not in _NOT_MARKED


def names_other_class(value: Any, number: int) -> bool:  # noqa: ANN401 - a cell
    """Whether a cell of the column Class1 holds another class: the columns then are the first class, the second, ..."""
    text = _plain(value)
    return text.isascii() and text.isdigit() and 1 < int(text[:3]) <= MOST_CLASSES and int(text[:3]) != number


def _plain(value: Any) -> str:  # noqa: ANN401 - a cell
    return "" if is_missing(value) else str(value).strip().removesuffix(".0").casefold()


def _class_columns(names: Sequence[str]) -> dict[str, int]:
    numbers = {name: int(match[1]) for name in names if (match := CLASS_COLUMN.match(_letters(name)))}
    numbers = {name: number for name, number in numbers.items() if number <= MOST_CLASSES}
    return numbers if len(numbers) > 1 else {}


@functools.cache
def _usual_letters() -> frozenset[str]:
    return frozenset(_letters(name) for field, spellings in USUAL_COLUMNS.items() for name in (field, *spellings))


@functools.lru_cache(maxsize=4_096)  # the columns of JSON are chosen again whenever a row has a new one
def _letters(text: str) -> str:
    return "".join(words(text))
