"""The names of the images in a folder, looked up by names that may differ from them in case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.rows import RowError, abbreviate
from logo_similarity.image.folder import image_names


class Names(Protocol):
    """Turns the name of an image in a source into its name on disk."""

    def resolve(self, name: str) -> str:
        """The name on disk. Raises RowError if the image does not exist."""
        ...


OpenNames = Callable[[Path], Names]


class NamesAsWritten:
    """For images that are not available: every name is used as it is written."""

    def __init__(self, _folder: Path) -> None:
        """The folder is not read."""

    def resolve(self, name: str) -> str:
        """The same name."""
        return name


class ImageNames:
    """All files below a folder, read in one pass. About 180 bytes a file, 270 where its name has capitals."""

    def __init__(self, folder: Path) -> None:
        """Read the names. Raises SourceError if the folder cannot be read."""
        # The first name in order under its lower-case form; the others are rare and kept apart.
        self._first: dict[str, str] = {}
        self._others: set[str] = set()
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
