"""The names of the images in a folder, looked up by names that may differ from them in case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from logo_similarity.catalog.sources.rows import RowError, abbreviate
from logo_similarity.errors import SourceError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


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
        for name in walk_files(folder):
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


def walk_files(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, relative to it, "/" between parts; without hidden files and links that lead outside."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: the image folder does not exist")
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
