"""The digest of all inputs of a build: if a version with this digest exists, it need not be built again."""

from __future__ import annotations

import hashlib

from logo_similarity.catalog.files import sha256_file
from logo_similarity.catalog.sources import Source


def digest_inputs(source: Source, *parameters: object) -> str:
    """Hex sha256 of the source's metadata files, of how they are read, of its images and of `parameters`.

    Images count with their names, sizes and modification times, and ZIP files in place of the images in them. Their
    content is not read: for 770,000 images that would take as long as decoding them. A changed image has another
    modification time.
    """
    description = source.description()
    reading = (sorted(description.facts.items()), description.columns)
    digest = hashlib.sha256(repr((source.kind, *reading, *parameters)).encode())
    for path in source.files():
        digest.update(f"\n{path.name} {sha256_file(path)}".encode())
    for name, size, modified in source.images.states():
        digest.update(f"\n{name} {size} {modified}".encode("utf8", "surrogateescape"))
    return digest.hexdigest()
