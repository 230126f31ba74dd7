"""A catalog whose logos are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from logo_similarity.build.base import BaseVersion
from logo_similarity.build.changing import Applied, Changer, LogoChange, RepeatableRequest, read_record
from logo_similarity.catalog.manifest import MODEL_FOLDER
from logo_similarity.catalog.overlay import Operation, Overlay
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.encoder import Encoder
from logo_similarity.image.contained import Decoder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.storage import LocalStore
from tests.importing import FILES, Desk, day


class Office:
    """Changes the logos of a desk's catalog."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.catalog = Catalog(desk.root)
        self.overlay = Overlay(desk.root)
        self.store = LocalStore(desk.store, secret="secret", link_seconds=60)
        self.base = self.open_base()

    def open_base(self) -> BaseVersion:
        """The live version."""
        folder = self.catalog.current()
        self.base = BaseVersion.open(folder, Encoder.open(folder / MODEL_FOLDER, device="cpu", threads=1))
        return self.base

    def change(
        self,
        operation: Operation,
        logo_id: str,
        image: int | bytes | None = None,
        date: int | None = None,
        request: RepeatableRequest | None = None,
        **values: Any,
    ) -> Applied:
        if date is not None:
            values["transaction_date"] = day(date).isoformat()
        record = None if operation == "delete" else read_record(values, logo_id, sparse=operation == "update")
        change = LogoChange(
            operation=operation,
            logo_id=logo_id,
            record=record,
            image=FILES[image].read_bytes() if isinstance(image, int) else image,
            day=None if date is None else day(date),
        )
        changer = Changer(self.catalog, self.overlay, self.base, Decoder(ImageLimits()), self.store.write)
        return changer.apply(change, request)

    def stored_images(self) -> set[str]:
        root: Path = self.desk.store
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
