"""The names of the images in a folder, found by names that may differ from them in case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.fields import RowError, shown
from logo_similarity.errors import SourceError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


class Names(Protocol):
    """How the name of an image that a source tells becomes the name that it has."""

    def resolve(self, name: str) -> str:
        """The name. Raises RowError where there is no such image."""
        ...


OpenNames = Callable[[Path], Names]


class NamesAsWritten:
    """For images that are not at hand: every name is taken as it stands."""

    def __init__(self, _folder: Path) -> None:
        """The folder is not looked at."""

    def resolve(self, name: str) -> str:
        """The same name."""
        return name


class ImageNames:
    """All files below a folder, read in one pass. About 180 bytes a file, 270 where its name has capitals."""

    def __init__(self, folder: Path) -> None:
        """Read the names. Raises SourceError where the folder can't be read."""
        # Under each name in small letters the first one in order; the others are seldom, and kept apart.
        self._first: dict[str, str] = {}
        self._others: set[str] = set()
        for name in walk_files(folder):
            folded = name.casefold()
            # One text instead of two equal ones: most names are small already.
            if self._first.setdefault(name if folded == name else folded, name) != name:
                self._others.add(name)

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def resolve(self, name: str) -> str:
        """The name on disk: as it is written, else the first that differs in case. Raises RowError where there is none."""
        if name in self._others:
            return name
        # L3D writes .JPG and has .jpg, or the other way round.
        found = self._first.get(name.casefold())
        if found is None:
            raise RowError(f"no image {shown(name)} in the image folder")
        return found


def walk_files(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, relative to it, "/" between parts; hidden ones and links out of it left out."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of images")
    pending = [""]
    while pending:
        parent = pending.pop()
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(folder / parent) as entries:
                for entry in entries:
                    name = f"{parent}{entry.name}"
                    if entry.name.startswith(".") or (entry.is_symlink() and not _stays_inside(folder, name)):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name + "/")
                    elif entry.is_file():
                        files.append(name)
        except OSError as error:
            raise SourceError(f"{folder / parent}: cannot be read ({error.strerror})") from None
        yield from sorted(files)
        pending += sorted(folders)


def _stays_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False
