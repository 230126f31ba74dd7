"""Reader of the official Vienna list, an XML file that WIPO publishes and an operator fetches.

Its form: `<category id text>`, in it `<division id text>`, in it `<section id>name</section>` and `<auxiliary id>`, with
notes, cross references and pictures in all of them. The file is not trusted: entities are refused, and sizes are bounded.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from logo_similarity.errors import ConfigError
from logo_similarity.field_kinds import canonical_vienna_code

MOST_BYTES = 20_000_000
MOST_CODES = 20_000
DEEPEST = 50
LONGEST_NAME = 1_000
_LEVELS = ("category", "division", "section")
_SECTIONS = ("section", "auxiliary")
_INLINE = ("ref",)
"""Elements whose text is part of a name. That of all others, such as notes, is not."""


def read_official(path: Path) -> dict[str, str]:
    """The name of each Vienna code in the file, by its canonical form, in the order of the codes.

    Names in capitals are written in lower case with a capital initial.

    Raises:
        ConfigError: the file cannot be read, has no codes, declares entities, or is not of this form.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"LOGO_VIENNA_NAMES: {path}: {error.strerror}") from None
    try:
        names = _Reader().read(content)
    except expat.ExpatError as error:
        raise ConfigError(f"LOGO_VIENNA_NAMES: {path}: is not well-formed XML: {error}") from None
    except _RefusedError as error:
        raise ConfigError(
            f"LOGO_VIENNA_NAMES: {path}: {error}; use the XML file of the Vienna Classification as WIPO publishes it"
        ) from None
    return dict(sorted(names.items()))


class _RefusedError(Exception):
    """The file is not of the expected form."""


class _Reader:
    """One pass over the file. It keeps the open elements, and the ids and depths of those that are codes."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._open: list[str] = []
        self._ids: list[str] = []
        self._depths: list[int] = []
        self._text: list[str] = []

    def read(self, content: bytes) -> dict[str, str]:
        """The names in the file. Raises ExpatError or _RefusedError."""
        if len(content) > MOST_BYTES:
            raise _RefusedError(f"has more than {MOST_BYTES:,} bytes")
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.EntityDeclHandler = self._refuse_entity
        parser.ExternalEntityRefHandler = self._refuse_entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(content, True)  # noqa: FBT003 - positional only
        if not self._names:
            raise _RefusedError("has no Vienna codes")
        return self._names

    def _refuse_entity(self, *_: object) -> NoReturn:
        raise _RefusedError("declares an entity")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append(tag)
        if len(self._open) > DEEPEST:
            raise _RefusedError(f"is nested more than {DEEPEST} levels deep")
        if _level(tag) != len(self._ids):
            return
        self._ids.append(attributes.get("id", "").strip())
        self._depths.append(len(self._open))
        self._text = []
        if tag not in _SECTIONS:
            self._add(attributes.get("text", ""))

    def _end(self, tag: str) -> None:
        if self._depths and self._depths[-1] == len(self._open):
            if tag in _SECTIONS:
                self._add("".join(self._text))
            self._ids.pop()
            self._depths.pop()
        self._open.pop()

    def _characters(self, text: str) -> None:
        place = len(self._open) - 1
        while place >= 0 and self._open[place] in _INLINE:
            place -= 1
        if place >= 0 and self._open[place] in _SECTIONS:
            self._text.append(text)

    def _add(self, name: str) -> None:
        code = canonical_vienna_code(".".join(self._ids))
        cleaned = " ".join(name.split())[:LONGEST_NAME]
        if code is None or not cleaned:
            return  # an element of a later edition, or without a name: its codes fall back to the code above
        self._names[code] = cleaned.capitalize() if cleaned.isupper() else cleaned
        if len(self._names) > MOST_CODES:
            raise _RefusedError(f"has more than {MOST_CODES:,} codes")


def _level(tag: str) -> int | None:
    """The level of a code's element, from 0; None: it has none."""
    if tag in _SECTIONS:
        return 2
    return _LEVELS.index(tag) if tag in _LEVELS else None
