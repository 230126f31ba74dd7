"""A folder of images without metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from logo_similarity.catalog.sources.rows import RowError, checked_filename, make_record, make_reject
from logo_similarity.domain import Reject
from logo_similarity.fields import Record
from logo_similarity.image.folder import image_names
from logo_similarity.image.formats import EXTENSIONS


class FolderSource:
    """Every image below a folder. A logo's id is its path without the extension ("cars/mark-1")."""

    kind = "folder"

    def __init__(self, folder: Path) -> None:
        self.images = folder

    def files(self) -> Iterator[Path]:
        """No files: there is no metadata."""
        return iter(())

    def rows(self) -> Iterator[Record | Reject]:
        """The images, in the order of their names."""
        names = sorted(name for name in image_names(self.images) if name.lower().endswith(EXTENSIONS))
        taken: set[str] = set()
        for name in names:
            stem = str(PurePosixPath(name).with_suffix(""))
            # "mark.png" beside "mark.jpg": the second keeps its extension, so that both have an id.
            logo_id = name if stem in taken else stem
            taken.add(logo_id)
            where = name.encode("utf8", "replace").decode()
            try:
                yield make_record(where=where, logo_id=logo_id, filename=checked_filename(name), fields={}, extra={})
            except RowError as error:
                yield make_reject(where, error, logo_id=logo_id, filename=where)
