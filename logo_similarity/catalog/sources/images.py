"""The names of the images in a folder, looked up by names that may differ from them in case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.rows import RowError, abbreviate, checked_filename
from logo_similarity.image.folder import image_names
from logo_similarity.image.formats import EXTENSIONS

BESIDE = "./"
"""Start of a name that many images have: it tells which image it is only in the folder of the document."""
AMBIGUOUS = ""


class Names(Protocol):
    """Turns the name of an image in a source into its name on disk."""

    def resolve(self, name: str) -> str:
        """The name on disk. Raises RowError if the image does not exist."""
        ...

    def find(self, folder: str, candidates: Sequence[str]) -> str | None:
        """The name on disk of an image that a register names loosely; None: there is none.

        Extensions and case do not matter. A candidate is the path of the image below `folder` or below the image folder, or
        the name that only one image has, or that of the folder of only one image. If it starts with `BESIDE`, it is a path
        below `folder` only. The first candidate that fits counts.
        """
        ...


OpenNames = Callable[[Path], Names]


class NamesAsWritten:
    """For images that are not available: every name is used as it is written."""

    def __init__(self, _folder: Path) -> None:
        """The folder is not read."""

    def resolve(self, name: str) -> str:
        """The same name."""
        return name

    def find(self, _folder: str, candidates: Sequence[str]) -> str | None:
        """The first candidate. Raises RowError if it could lead outside the image folder."""
        return checked_filename(candidates[0].removeprefix(BESIDE)) if candidates else None


class ImageNames:
    """All files below a folder, read in one pass. About 180 bytes a file, 270 where its name has capitals."""

    def __init__(self, folder: Path) -> None:
        """Read the names. Raises SourceError if the folder cannot be read."""
        # The first name in order under its lower-case form; the others are rare and kept apart.
        self._first: dict[str, str] = {}
        self._others: set[str] = set()
        self._loose: dict[str, str] | None = None
        for name in image_names(folder):
            folded = name.casefold()
            # One string instead of two equal ones: most names are in lower case already.
            if self._first.setdefault(name if folded == name else folded, name) != name:
                self._others.add(name)

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def resolve(self, name: str) -> str:
        """The name as it is written, or else the first that differs in case only. Raises RowError if neither exists."""
        if name in self._others:
            return name
        # L3D writes .JPG where the file ends in .jpg, and the reverse.
        on_disk = self._first.get(name.casefold())
        if on_disk is None:
            raise RowError(f"no image {abbreviate(name)} in the image folder")
        return on_disk

    def find(self, folder: str, candidates: Sequence[str]) -> str | None:
        """See `Names.find`. The index for it takes another 160 bytes an image when it is first used."""
        if self._loose is None:
            self._loose = _index_loosely({*self._first.values(), *self._others})
        for candidate in candidates:
            key = _without_extension(candidate.removeprefix(BESIDE))
            paths = [f"{folder}/{key}".casefold()] if folder != "." else []
            if not candidate.startswith(BESIDE):
                paths.append(key)
            for path in paths:
                if name := self._loose.get(path):
                    return name
        return None


def _index_loosely(names: Iterable[str]) -> dict[str, str]:
    """Images by their path without the extension, by their last name, and by the name of their folder."""
    paths: dict[str, str] = {}
    for name in sorted(name for name in names if name.lower().endswith(EXTENSIONS)):
        with suppress(RowError):  # a name that no record may have
            paths.setdefault(_without_extension(name), checked_filename(name))
    short: dict[str, str] = {}
    for path, name in paths.items():
        parent, _, last = path.rpartition("/")
        if parent:
            for key in {last, parent.rpartition("/")[2]}:
                short[key] = AMBIGUOUS if key in short else name
    return {**short, **paths}


def _without_extension(name: str) -> str:
    """A name in lower case, without the extension of an image."""
    folded = name.casefold()
    return next((folded.removesuffix(extension) for extension in EXTENSIONS if folded.endswith(extension)), folded)
