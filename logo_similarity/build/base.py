"""A version as the base of changes: its rows, and what it stores of their images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from logo_similarity.build.reuse import VersionImages
from logo_similarity.catalog.manifest import METADATA, WORDS, Manifest, read_manifest
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.catalog.updates import UPDATES, UpdateRow, logo_row, read_logo
from logo_similarity.domain import Logo
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import NotWritableError
from logo_similarity.milvus.connection import IndexServer
from logo_similarity.search.word_file import WordArrays


@dataclass(frozen=True, slots=True, eq=False)
class BaseVersion:
    """An opened version. Its files are those of the version alone, without any change."""

    folder: Path
    manifest: Manifest
    encoder: Encoder
    metadata: Metadata
    images: VersionImages
    words: WordArrays | None
    reads_words: bool
    """Whether the words in its images were read."""

    @classmethod
    def open(cls, folder: Path, encoder: Encoder, server: IndexServer | None = None) -> Self:
        """Open a version; `encoder` is its own, and `server` has its vectors, if they are not in files.

        Raises:
            CatalogError: a file is damaged.
            NotWritableError: the version was built without images, so logos cannot be added to it.
        """
        manifest = read_manifest(folder)
        images = VersionImages.open(folder, manifest, encoder, server)
        if images is None:
            raise NotWritableError(
                "the catalog was built from embeddings alone, and cannot be changed; build it from its images"
            )
        words = WordArrays.open(folder / WORDS, manifest.count) if WORDS in manifest.files else None
        reads_words = words is not None and words.has("image")
        return cls(folder, manifest, encoder, Metadata(folder / METADATA), images, words, reads_words)

    @property
    def name(self) -> str:
        """Name of the version."""
        return self.folder.name

    def find(self, logo_id: str) -> Logo | None:
        """The logo with this public id, or None."""
        return self.metadata.find(logo_id)

    def rows(self, logo_id: str) -> list[UpdateRow]:
        """The rows on which the outcome of a further row of a logo may depend, oldest first."""
        rows = read_logo(self.folder / UPDATES, logo_id) if UPDATES in self.manifest.files else []
        logo = None if rows else self.find(logo_id)
        return rows if logo is None else [logo_row(logo)]

    def text(self, row: int) -> str | None:
        """The words that were read in the image of a row."""
        return None if self.words is None else self.words.text(row, "image")
