"""The fonts of printed reports, and the characters that none of them has."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import typst
from anyascii import anyascii
from fontTools.ttLib import TTFont, TTLibError
from numpy.typing import NDArray

CodePoints = NDArray[np.uint32]
"""Sorted, none twice."""

PREFERRED = ("Noto Sans", "Source Sans 3", "Open Sans", "Liberation Sans", "DejaVu Sans")
"""Fonts of the text, the best first. Other fonts provide the characters that it lacks."""
CONTAINED = "Libertinus Serif"
"""The font of the text if none of these is installed: Typst contains it."""
MOST_FAMILIES = 12
"""Families in one report: the time that Typst needs grows with them."""
_REGULAR = 400
_CONTAINED_RANGES = ((0x20, 0x7E), (0xA1, 0x17F), (0x391, 0x3A1), (0x3A3, 0x3CE), (0x400, 0x45F), (0x2010, 0x2026))
"""Characters of `CONTAINED`: Latin, Greek, Cyrillic and punctuation."""
_BASIC_RANGES = ((0x20, 0x7E), (0xC0, 0xFF))
_PRIVATE, _PRIVATE_PLANES = (0xE000, 0xF8FF), 0xF0000
"""Code points for private use."""
_SPACES, _INVISIBLE = ("Zs", "Zl", "Zp"), ("Cc", "Cf")
"""Unicode categories of characters that become a space, or are left out: among the latter are those that change the
direction of the text around them."""
_JOINERS = frozenset("\u200c\u200d\u200e\u200f")
"""Invisible characters that names in some scripts need; they affect their neighbours only, and need no glyph."""


@dataclass(frozen=True, slots=True)
class Fonts:
    """Families of fonts, and their characters."""

    text: str
    """The family of the text."""
    covered: Mapping[str, CodePoints]
    """The characters of each family, that of the text first. Private characters are left out, since they mean nothing."""
    files: Mapping[str, frozenset[Path]]
    """The files of each family; none for `CONTAINED`."""

    def basic(self) -> Fonts:
        """Only the font of the text, with letters that every font of a text has."""
        return Fonts(self.text, {self.text: _ranges(_BASIC_RANGES)}, self.files)

    def choose(self, texts: Iterable[str]) -> tuple[list[str], frozenset[str]]:
        """At most `MOST_FAMILIES` families that texts need, that of the text first; and what is missing.

        The latter are the characters, each with the combining marks after it, that none of these families has together.
        """
        clusters = sorted({cluster for text in texts for cluster in _clusters(_visible(text))})
        names = list(self.covered)
        has = self._table(clusters)
        chosen, rest = [0], ~has[0]
        while len(chosen) < MOST_FAMILIES and rest.any():
            gains = np.count_nonzero(has & rest, axis=1)
            best = int(np.argmax(gains))
            if gains[best] == 0:
                break
            chosen.append(best)
            rest &= ~has[best]
        return [names[place] for place in chosen], frozenset(itertools.compress(clusters, rest))

    def _table(self, clusters: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each family has all characters of each cluster, (families, clusters)."""
        characters = sorted(set().union(*clusters) - _JOINERS)
        points = np.array([ord(character) for character in characters], np.uint32)
        known = np.stack([np.isin(points, family, assume_unique=True) for family in self.covered.values()])
        place = {character: number for number, character in enumerate(characters)}
        table = np.empty((len(known), len(clusters)), np.bool_)
        for number, cluster in enumerate(clusters):
            columns = [place[character] for character in cluster if character not in _JOINERS]
            table[:, number] = known[:, columns].all(axis=1)
        return table


def printable(text: str, missing: Collection[str]) -> str:
    """The text without control characters, and with a transliteration in brackets in place of each run of missing ones."""
    parts = []
    for is_missing, run in itertools.groupby(_clusters(_visible(text)), missing.__contains__):
        characters = "".join(run)
        parts.append(f"[{_transliterate(characters)}]" if is_missing else characters)
    return "".join(parts)


def scripts_of(clusters: Iterable[str]) -> list[str]:
    """The scripts of some characters, in order, each with an example: "Hangul (U+AE00)"."""
    examples: dict[str, str] = {}
    for cluster in sorted(clusters):
        examples.setdefault(_script(cluster[0]), cluster[0])
    return [f"{script} (U+{ord(character):04X})" for script, character in sorted(examples.items())]


@lru_cache(4)
def load_fonts(folder: Path | None = None, *, with_system: bool = True) -> Fonts:
    """The fonts of the system and of a folder. Reads the tables of each family once.

    Args:
        folder: further fonts.
        with_system: whether to use the fonts of the system; False: only those of the folder, and the one in Typst.
    """
    paths = [] if folder is None else [str(folder)]
    loaded = typst.Fonts(include_system_fonts=with_system, include_embedded_fonts=False, font_paths=paths)
    regular: dict[str, typst.FontInfo] = {}
    files: dict[str, set[Path]] = {}
    for font in loaded.fonts():
        if font.path is not None:
            files.setdefault(font.family, set()).add(Path(font.path))
            best = regular.get(font.family)
            if best is None or _distance(font) < _distance(best):
                regular[font.family] = font
    covered = {family: _code_points(Path(str(font.path)), font.index) for family, font in sorted(regular.items())}
    covered[CONTAINED] = _ranges(_CONTAINED_RANGES)
    text = next((name for name in PREFERRED if len(covered.get(name, ()))), CONTAINED)
    frozen = {family: frozenset(paths) for family, paths in files.items() if family != CONTAINED}
    return Fonts(text, {text: covered.pop(text), **covered}, frozen)


def _distance(font: typst.FontInfo) -> float:
    """How far a font is from the regular one of its family."""
    return abs(font.weight - _REGULAR) + (0 if font.style == "normal" else 1000) + abs(font.stretch - 1)


def _code_points(path: Path, index: int) -> CodePoints:
    """The characters of a font; none if it cannot be read."""
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=index, lazy=True) as font:
            codes = np.array(sorted(font.getBestCmap() or ()), np.uint32)
    except (OSError, TTLibError, KeyError, ValueError, AssertionError):
        return np.empty(0, np.uint32)
    return codes[((codes < _PRIVATE[0]) | (codes > _PRIVATE[1])) & (codes < _PRIVATE_PLANES)]


def _ranges(ranges: Iterable[tuple[int, int]]) -> CodePoints:
    return np.concatenate([np.arange(first, last + 1, dtype=np.uint32) for first, last in ranges])


def _visible(text: str) -> str:
    """The text with plain spaces, and without control characters."""
    characters = []
    for character in text:
        category = unicodedata.category(character)
        if category in _SPACES:
            characters.append(" ")
        elif category not in _INVISIBLE or character in _JOINERS:
            characters.append(character)
    return "".join(characters)


def _clusters(text: str) -> Iterator[str]:
    """Each character with the combining marks after it."""
    cluster = ""
    for character in text:
        if cluster and not unicodedata.category(character).startswith("M"):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _transliterate(text: str) -> str:
    return "".join(filter(str.isprintable, anyascii(text))).strip() or " ".join(
        f"U+{ord(character):04X}" for character in text[:8]
    )


def _script(character: str) -> str:
    """A name for people: "Hangul", "Chinese characters", "Thai", "symbols and marks"."""
    if not unicodedata.category(character).startswith("L"):
        return "symbols and marks"
    word = unicodedata.name(character, "other").split()[0]
    return "Chinese characters" if word == "CJK" else word.capitalize()
