"""The names of a classification's codes, and the name of a code that is not listed: that of the nearest code above it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from logo_similarity.classification.official import read_official
from logo_similarity.field_kinds import canonical_vienna_code

BUILT_IN, FILE = "built-in", "file"
_NICE_CLASSES = 45


class Language(StrEnum):
    """The languages of the built-in names."""

    EN = "en"
    DE = "de"


@dataclass(frozen=True, slots=True)
class Classification:
    """The names of one classification in one language."""

    scheme: str
    """"vienna" or "nice"."""
    source: str
    """`BUILT_IN`, or `FILE` if the names come from the official list."""
    names: Mapping[str, str]
    """The name of each listed code, in the order of the codes."""

    def name(self, code: str) -> str | None:
        """The name of a code; that of the nearest listed code above it if it is not listed; None: there is none."""
        nearest = self.nearest(code)
        return None if nearest is None else self.names[nearest]

    def nearest(self, code: str) -> str | None:
        """The code itself if it is listed, or the nearest listed code above it; None: there is none, or it is no code."""
        canonical = self.canonical(code)
        while canonical is not None and canonical not in self.names:
            above, dot, _ = canonical.rpartition(".")
            canonical = above if dot else None
        return canonical

    def below(self, code: str | None = None) -> Iterator[tuple[str, str]]:
        """Every listed code at or below a code, with its name; None: all codes."""
        for listed, name in self.names.items():
            if code is None or listed == code or listed.startswith(f"{code}."):
                yield listed, name

    def canonical(self, code: str) -> str | None:
        """The form in which a code is listed: "27.5.1" is "27.05.01", "09" is class "9". None: the text is no code."""
        if self.scheme == "vienna":
            return canonical_vienna_code(code)
        digits = code.strip()
        is_class = digits.isascii() and digits.isdigit() and len(digits) <= 2 and 1 <= int(digits) <= _NICE_CLASSES
        return str(int(digits)) if is_class else None


@dataclass(frozen=True, slots=True)
class Classifications:
    """Both classifications in every language."""

    vienna: Mapping[Language, Classification]
    nice: Mapping[Language, Classification]


def load_classifications(vienna_names: Path | None = None) -> Classifications:
    """The built-in names, and those of an official Vienna list.

    Args:
        vienna_names: an XML file as WIPO publishes it, see `read_official`. Its names are used in every language, except
            that the categories have the built-in names in languages other than English.

    Raises:
        ConfigError: the file cannot be read.
    """
    official = None if vienna_names is None else read_official(vienna_names)
    built_in = {language: _read("vienna", language) for language in Language}
    vienna = {
        language: Classification("vienna", BUILT_IN, names)
        if official is None
        else Classification("vienna", FILE, _merge(names, official, language))
        for language, names in built_in.items()
    }
    nice = {language: Classification("nice", BUILT_IN, _read("nice", language)) for language in Language}
    return Classifications(vienna, nice)


def _merge(built_in: Mapping[str, str], official: Mapping[str, str], language: Language) -> dict[str, str]:
    names = {**built_in, **official} if language is Language.EN else {**official, **built_in}
    return dict(sorted(names.items()))


def _read(scheme: str, language: Language) -> dict[str, str]:
    """The built-in names, as a data file of this package lists them."""
    text = (files(__package__) / f"{scheme}.csv").read_text("utf-8")
    return {row["code"]: row[language.value] for row in csv.DictReader(text.splitlines())}
