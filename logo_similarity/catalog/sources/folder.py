"""A folder or ZIP file of images without metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from logo_similarity.catalog.sources.description import SourceDescription
from logo_similarity.catalog.sources.rows import RowError, checked_filename, make_record, make_reject
from logo_similarity.domain import Reject
from logo_similarity.errors import BadImageError, UnsupportedFormatError
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, file_names, open_images, readable_entries
from logo_similarity.image.formats import EXTENSIONS, recognise
from logo_similarity.wording import counted

START_BYTES = 4_096
"""Of a file whose name does not say that it is an image."""
PICTURES = (
    ".heic",
    ".heif",
    ".svg",
    ".svgz",
    ".pdf",
    ".psd",
    ".ai",
    ".eps",
    ".ps",
    ".wmf",
    ".emf",
    ".cdr",
    ".ico",
    ".jp2",
    ".jxl",
)
"""Extensions of pictures that are not read: such a file is a reject even if its content is not known."""
EXAMPLES = 3


class FolderSource:
    """Every image below a folder or in a ZIP file. A logo's id is its path without the extension ("cars/mark-1").

    A file is an image if its name ends like one, or else if its content begins like one.
    """

    kind = "folder"

    def __init__(self, folder: Path, images: ImageFiles | None = None) -> None:
        self.images: ImageFiles = images or open_images(folder)
        self._others: list[str] = []

    def files(self) -> Iterator[Path]:
        """No files: there is no metadata."""
        return iter(())

    def description(self) -> SourceDescription:
        """See `Source.description`."""
        return SourceDescription(kind=self.kind, notes=tuple(self._others))

    def rows(self) -> Iterator[Record | Reject]:
        """The images in the order of their names, then the pictures and links that are not read."""
        images, rejects, others = self._sort_out()
        taken: set[str] = set()
        for name in sorted(images):
            stem = str(PurePosixPath(name).with_suffix(""))
            # "mark.png" beside "mark.jpg": the second keeps its extension, so that both have an id.
            logo_id = name if stem in taken else stem
            taken.add(logo_id)
            try:
                if checked_filename(name) != name:
                    raise RowError("the name contains backslashes, or blanks at its ends; rename the file")  # noqa: TRY301
                yield make_record(where=_printable(name), logo_id=logo_id, filename=name, fields={}, extra={})
            except RowError as error:
                yield make_reject(_printable(name), error, logo_id=logo_id, filename=_printable(name))
        for name, reason in sorted(rejects):
            yield Reject(_printable(name), reason, None, _printable(name))
        if others:
            shown = ", ".join(map(_printable, others[:EXAMPLES])) + (", ..." if len(others) > EXAMPLES else "")
            self._others = [f"{counted(len(others), 'other file')} in the folder: {shown}"]

    def _sort_out(self) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        """The names of the images, those of pictures and links that are not read with the reasons, and all other names."""
        images: list[str] = []
        rejects: list[tuple[str, str]] = []
        others: list[str] = []
        for entry in readable_entries(self.images):
            if entry.problem is not None:
                if not PurePosixPath(entry.name).name.startswith("."):
                    rejects.append((entry.name, entry.problem))
            elif entry.name.lower().endswith(EXTENSIONS) or (problem := _problem(self.images, entry.name)) is None:
                images.append(entry.name)
            elif problem:
                rejects.append((entry.name, problem))
            else:
                others.append(entry.name)
        return images, rejects, others


def has_images(images: ImageFiles) -> bool:
    """Whether a file is an image, by its name or, if no name says so, by its content.

    Raises:
        SourceError: a part of the folder cannot be read.
    """
    names = list(file_names(images))
    return any(name.lower().endswith(EXTENSIONS) for name in names) or any(
        _problem(images, name) is None for name in names
    )


def _problem(images: ImageFiles, name: str) -> str | None:
    """Why the file is not an image that can be read; empty: it is not a picture at all; None: it can."""
    try:
        start = images.start(name, START_BYTES)
    except BadImageError as error:
        return str(error)
    try:
        recognise(start)
    except UnsupportedFormatError as error:
        return str(error)
    except BadImageError as error:
        return str(error) if PurePosixPath(name).suffix.lower() in PICTURES else ""
    return None


def _printable(name: str) -> str:
    return name.encode("utf8", "replace").decode()
