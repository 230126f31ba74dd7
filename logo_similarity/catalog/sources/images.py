"""The names of the images of a source, looked up by the names that tables have for them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from logo_similarity.catalog.sources.rows import RowError, abbreviate, checked_filename
from logo_similarity.image.files import ImageFiles, file_names
from logo_similarity.image.formats import EXTENSIONS
from logo_similarity.wording import counted

BESIDE = "./"
"""Start of a name that many images have: it tells which image it is only in the folder of the document."""
AMBIGUOUS = ""
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
NO_IMAGE = "no image"
"""The reason of a missing image begins with these words."""
KEEP_ZEROS = "to keep the zeros of the ids too, format their column as text before you export the table"


class Names(Protocol):
    """Turns the name of an image in a source into its name on disk."""

    def resolve(self, name: object) -> str:
        """The name on disk. Raises RowError if it cannot be a name, or the image does not exist."""
        ...

    def notes(self) -> list[str]:
        """What a person should know about the names that were resolved."""
        ...

    def find(self, folder: str, candidates: Sequence[str]) -> str | None:
        """The name on disk of an image that a register names loosely; None: there is none.

        Extensions and case do not matter. A candidate is the path of the image below `folder` or below the image folder, or
        the name that only one image has, or that of the folder of only one image. If it starts with `BESIDE`, it is a path
        below `folder` only. The first candidate that fits counts.
        """
        ...


OpenNames = Callable[[ImageFiles], Names]


class NamesAsWritten:
    """For images that are not available: every name is used as it is written."""

    def __init__(self, _images: ImageFiles) -> None:
        """The images are not read."""

    def resolve(self, name: object) -> str:
        """The same name."""
        return checked_filename(name)

    def notes(self) -> list[str]:
        """None."""
        return []

    def find(self, _folder: str, candidates: Sequence[str]) -> str | None:
        """The first candidate. Raises RowError if it could lead outside the image folder."""
        return checked_filename(candidates[0].removeprefix(BESIDE)) if candidates else None


class ImageNames:
    """All files of an image folder or ZIP file, read in one pass. About 180 bytes a file, 270 where its name has capitals.

    Names without an extension, and numbers that lost their leading zeros, are looked up in further tables that are made
    when the first one is met.
    """

    def __init__(self, images: ImageFiles) -> None:
        """Read the names. Raises SourceError if they cannot be read."""
        self._folder = images.folder_name()
        # Of the ZIP files of a register, the last has the newest images.
        self._roots = images.roots()[::-1]
        # The first name in order under its folded form; the others are rare and kept apart.
        self._first: dict[str, str] = {}
        self._others: set[str] = set()
        self._loose: dict[str, str] | None = None
        self._undecodable: dict[str, str] = {}
        for name in file_names(images):
            if not name.isascii() and (plain := _without_utf8(name)) is not None:
                self._undecodable[_fold(plain)] = name
            folded = _fold(name)
            # One string instead of two equal ones: most names are in lower case already.
            if self._first.setdefault(name if folded == name else folded, name) != name:
                self._others.add(name)
        self._stems: dict[str, list[str]] | None = None
        self._zeros: dict[str, list[str]] | None = None
        self._padded = 0
        self._example = ""

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def resolve(self, name: object) -> str:
        """The name on disk: as it is written, or else the first one in order that differs in case or Unicode form only.

        If neither exists: with its %-escapes decoded, without the folders up to the image folder, in a ZIP file (the last
        one that has it), with the extension that it lacks, or with the leading zeros that a spreadsheet removed from it.

        Raises:
            RowError: it cannot be a name, no image has it, or several images could be meant.
        """
        written = checked_filename(name)
        if written in self._others:
            return written
        for variant in self._variants(written):
            # L3D writes .JPG where the file ends in .jpg, and the reverse.
            on_disk = self._first.get(_fold(variant)) or self._without_extension(variant)
            if on_disk is not None:
                return on_disk
        if _fold(written) in self._undecodable:
            raise RowError(f"the name of the image {abbreviate(name)} is not UTF-8 on disk; rename the file")
        padded = next(filter(None, map(self._with_zeros, self._variants(written))), None)
        if padded is None:
            raise RowError(f"{NO_IMAGE} {abbreviate(name)} in the image folder")
        self._padded += 1
        self._example = self._example or f"{written!r} is {padded!r}"
        return padded

    def notes(self) -> list[str]:
        """Whether names were found only by their leading zeros."""
        if not self._padded:
            return []
        images = counted(self._padded, "image")
        return [f"{images} found by leading zeros that were added or removed ({self._example}); {KEEP_ZEROS}"]

    def find(self, folder: str, candidates: Sequence[str]) -> str | None:
        """See `Names.find`. The index for it takes another 240 bytes an image when it is first used."""
        if self._loose is None:
            self._loose = _index_loosely(chain(self._first.values(), self._others), self._roots)
        for candidate in candidates:
            key = _bare(candidate.removeprefix(BESIDE))
            paths = []
            if folder != ".":
                paths.append(_fold(f"{folder}/{key}"))
                paths += map(_fold, self._below_image_folder(f"{folder}/{key}"))
            if not candidate.startswith(BESIDE):
                paths += [key, *(_fold(f"{root}/{key}") for root in self._roots)]
            for path in paths:
                if name := self._loose.get(path):
                    return name
        return None

    def _variants(self, written: str) -> Iterator[str]:
        decoded = unquote(written)
        names = [*dict.fromkeys((written, decoded)), *self._below_image_folder(decoded)]
        yield from names
        for root in self._roots:
            yield from (f"{root}/{name}" for name in names)

    def _below_image_folder(self, name: str) -> Iterator[str]:
        """The name without the folders up to the image folder, if it has this."""
        parts = name.split("/")
        if self._folder in parts[:-1]:
            last = len(parts) - 1 - parts[::-1].index(self._folder)
            yield "/".join(parts[last + 1 :])

    def _without_extension(self, name: str) -> str | None:
        if name.lower().endswith(EXTENSIONS):
            return None
        if self._stems is None:
            self._stems = {}
            for folded, on_disk in self._first.items():
                self._stems.setdefault(str(PurePosixPath(folded).with_suffix("")), []).append(on_disk)
        return _only(name, self._stems.get(_fold(name), []))

    def _with_zeros(self, name: str) -> str | None:
        """The image whose name differs in leading zeros only."""
        if self._zeros is None:
            self._zeros = {}
            for folded, on_disk in self._first.items():
                bare = _LEADING_ZEROS.sub("", folded)
                if bare != folded:
                    for key in (bare, str(PurePosixPath(bare).with_suffix(""))):
                        self._zeros.setdefault(key, []).append(on_disk)
        bare = _LEADING_ZEROS.sub("", _fold(name))
        found = self._first.get(bare) or self._without_extension(bare)
        return found or _only(name, self._zeros.get(bare, []))


def _index_loosely(names: Iterable[str], roots: Sequence[str]) -> dict[str, str]:
    """Images by their path without the extension, by their last name, and by the name of their folder.

    The last two count if only one image has the name, of those in the ZIP file that comes first in `roots`.
    """
    paths: dict[str, str] = {}
    for name in sorted(name for name in names if name.lower().endswith(EXTENSIONS)):
        with suppress(RowError):  # a name that no record may have
            checked = checked_filename(name)
            paths.setdefault(_bare(name), name if checked == name else checked)  # one string instead of two equal ones
    starts = [_fold(f"{root}/") for root in roots]
    groups: dict[int, list[str]] = {}
    for path in paths:
        if "/" in path:
            place = next((place for place, start in enumerate(starts) if path.startswith(start)), -1)
            groups.setdefault(place, []).append(path)
    for place in sorted(groups):
        once: dict[str, str] = {}
        for path in groups.pop(place):
            parent, _, last = path.rpartition("/")
            for key in {last, parent.rpartition("/")[2]}:
                once[key] = AMBIGUOUS if key in once else paths[path]
        for key, name in once.items():
            paths.setdefault(key, name)
    return paths


def _bare(name: str) -> str:
    """A name in lower case, without the extension of an image."""
    folded = _fold(name)
    return next((folded.removesuffix(extension) for extension in EXTENSIONS if folded.endswith(extension)), folded)


def _only(name: str, images: list[str]) -> str | None:
    if len(images) > 1:
        raise RowError(f"several images could be {abbreviate(name)}: {', '.join(map(abbreviate, images[:3]))}")
    return images[0] if images else None


def _without_utf8(name: str) -> str | None:
    """A name that is not UTF-8 on disk, as Windows-1252; None: it is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("cp1252", "replace")
    return None


def _fold(name: str) -> str:
    folded = name.casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFC", folded)
