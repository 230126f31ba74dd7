"""A catalog that files are imported into."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.importing import ImportResult, import_source
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import METADATA, MODEL_FOLDER
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.sources.description import ColumnReading, SourceDescription
from logo_similarity.catalog.versions import Catalog
from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record
from logo_similarity.image.files import ImageFiles, open_images
from logo_similarity.storage import LocalStore
from tests.samples import SAMPLES

CELLS = Catalog(Path(__file__).parent / "fixtures" / "catalog-4").current() / MODEL_FOLDER
"""An encoder that takes no time."""
FILES = sorted((SAMPLES / "images").iterdir())
OPTIONS = BuildOptions(model=CELLS, trial=lambda _version: None)
Row = Record | Removal | Reject


def day(number: int) -> dt.date:
    return dt.date(2024, 1, number)


@dataclass
class Register:
    """A source of some rows."""

    images: ImageFiles
    content: list[Row]
    facets: tuple[str, ...] = ()
    kind: str = field(default="register", init=False)

    def files(self) -> Iterator[Path]:
        return iter(())

    def description(self) -> SourceDescription:
        columns = (ColumnReading(name=name, fields=(f"extra.{name}",), reason="mapped") for name in self.facets)
        return SourceDescription(kind=self.kind, columns=tuple(columns))

    def rows(self) -> Iterator[Row]:
        return iter(self.content)


class Desk:
    """A catalog with its image store, and folders of images to import."""

    options = OPTIONS

    def __init__(self, folder: Path) -> None:
        self.root, self.store, self.images = folder / "catalogs", folder / "store", folder / "images"
        self.images.mkdir(exist_ok=True)

    def image(self, name: str, number: int) -> str:
        shutil.copy(FILES[number], self.images / name)
        return name

    def record(self, logo_id: str, date: int | None = 1, image: int | None = None, **values: Any) -> Record:
        filename = "" if image is None else self.image(f"{logo_id}-{image}.jpg", image)
        transaction = None if date is None else day(date)
        return Record(logo_id=logo_id, filename=filename, where="here", transaction_date=transaction, **values)

    def build(self, *rows: Row, facets: tuple[str, ...] = ()) -> None:
        result = build_catalog(Register(open_images(self.images), list(rows), facets), self.root, self.options)
        for logo in self.logos(result.folder):
            self.store.mkdir(exist_ok=True)
            shutil.copy(self.images / logo.filename, self.store / logo.filename)

    def add(self, *rows: Row, facets: tuple[str, ...] = (), **options: Any) -> ImportResult:
        store = LocalStore(self.store, secret="secret", link_seconds=60)
        source = Register(open_images(self.images), list(rows), facets)
        return import_source(source, self.root, self.options, store.write, **options)

    def logos(self, version: Path | None = None) -> list[Record]:
        metadata = Metadata((version or Catalog(self.root).current()) / METADATA)
        records = [logo.record for logo in metadata.fetch(list(range(metadata.count())))]
        metadata.close()
        return records

    def texts(self) -> dict[str, str | None]:
        return {record.logo_id: record.text for record in self.logos()}
