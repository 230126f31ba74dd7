"""The fonts of printed reports, and the characters that none of them has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import typst
from anyascii import anyascii
from fontTools.ttLib import TTFont, TTLibError

PREFERRED = ("Noto Sans", "Source Sans 3", "Open Sans", "Liberation Sans", "DejaVu Sans", "Libertinus Serif")
"""Fonts of the text, the best first; Typst contains the last one. Other fonts provide the characters that it lacks."""
_REGULAR = 400
_CONTAINED = ((0x20, 0x17F), (0x37A, 0x3CE), (0x400, 0x45F), (0x2010, 0x2027), (0x20AC, 0x20AC))
"""Characters of Libertinus Serif, which Typst contains: Latin, Greek, Cyrillic and punctuation."""
_UNPRINTED = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Unicode categories of characters that need no glyph."""


@dataclass(frozen=True, slots=True)
class Fonts:
    """The fonts of this machine, and of a folder."""

    family: str
    """The font of the text."""
    loaded: typst.Fonts
    covered: frozenset[int]
    """The code points that at least one font has."""

    def printable(self, text: str) -> str:
        """The text with a transliteration in brackets in place of each run of characters that no font has."""
        parts: list[str] = []
        missing = ""
        for character in text:
            if self._has(character):
                if missing:
                    parts.append(f"[{_transliterate(missing)}]")
                    missing = ""
                parts.append(character)
            else:
                missing += character
        if missing:
            parts.append(f"[{_transliterate(missing)}]")
        return "".join(parts)

    def missing_scripts(self, texts: Iterable[str]) -> list[str]:
        """The scripts of which some characters in the texts are in no font, in order, each with an example."""
        examples: dict[str, str] = {}
        for character in sorted(set().union(*texts)):
            if not self._has(character):
                examples.setdefault(_script(character), character)
        return [f"{script} (U+{ord(character):04X})" for script, character in sorted(examples.items())]

    def _has(self, character: str) -> bool:
        return ord(character) in self.covered or unicodedata.category(character) in _UNPRINTED


@lru_cache(4)
def load_fonts(folder: Path | None = None, *, with_system: bool = True) -> Fonts:
    """The fonts of the system and of a folder. Reads the tables of each family once.

    Args:
        folder: further fonts.
        with_system: whether to use the fonts of the system; False: only those of the folder, and those in Typst.
    """
    paths = [] if folder is None else [str(folder)]
    loaded = typst.Fonts(include_system_fonts=with_system, font_paths=paths)
    regular: dict[str, typst.FontInfo] = {}
    for font in loaded.fonts():
        best = regular.get(font.family)
        if best is None or _distance(font) < _distance(best):
            regular[font.family] = font
    covered = {code for first, last in _CONTAINED for code in range(first, last + 1)}
    for font in regular.values():
        if font.path is not None:
            covered |= _code_points(Path(font.path), font.index)
    family = next((name for name in PREFERRED if name in regular), PREFERRED[-1])
    return Fonts(family, loaded, frozenset(covered))


def _distance(font: typst.FontInfo) -> float:
    """How far a font is from the regular one of its family."""
    return abs(font.weight - _REGULAR) + (0 if font.style == "normal" else 1000) + abs(font.stretch - 1)


def _code_points(path: Path, index: int) -> set[int]:
    """The characters of a font; none if it cannot be read."""
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=index, lazy=True) as font:
            return set(font.getBestCmap() or ())
    except (OSError, TTLibError, KeyError, ValueError, AssertionError):
        return set()


def _transliterate(text: str) -> str:
    return anyascii(text).strip() or " ".join(f"U+{ord(character):04X}" for character in text[:8])


def _script(character: str) -> str:
    """A name for people: "Hangul", "Chinese characters", "Thai", "symbols"."""
    if not unicodedata.category(character).startswith("L"):
        return "symbols and marks"
    word = unicodedata.name(character, "other").split()[0]
    return "Chinese characters" if word == "CJK" else word.capitalize()
