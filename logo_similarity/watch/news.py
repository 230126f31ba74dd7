"""What is new in a register: a function of two states of it."""

from __future__ import annotations

import functools
import hashlib
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from logo_similarity.catalog.manifest import IMAGE_DIGESTS, METADATA
from logo_similarity.catalog.metadata import Metadata
from logo_similarity.engine import SearchEngine
from logo_similarity.search.candidates import Ids
from logo_similarity.search.rows import open_array

KEY_BYTES = 8
MOST_FOLDERS = 16
_KEY = np.dtype("<u8")
_EMPTY = re.compile(rb'"\w+":(?:null|\[\]|\{\}),?')

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class RegisterState:
    """Which logos a catalog has, and the content of each, as hashes of 64 bits: 16 bytes for each logo.

    It outlives the version that it describes, which may be deleted before the next run.
    """

    version: str
    """`SearchEngine.edition`."""
    ids: Keys
    """(logos,) uint64: of the id of each logo."""
    contents: Keys
    """(logos,) uint64: of its register data and image."""


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """The logos of the later state that the earlier one does not have, as positions in it."""

    new: Ids
    """(m,) int64, ascending: logos with new ids."""
    changed: Ids
    """(m,) int64, ascending: logos whose register data or image differ."""


def state_of(engine: SearchEngine) -> tuple[RegisterState, Ids]:
    """The state of an open catalog, and the row of each logo in it, (logos,) int64.

    Reads all register data, seconds for a million logos, but that of each version or segment only once in a process.
    """
    hashes = [_hashes(segment.folder) for segment in engine.logos.segments]
    ids, contents = (np.concatenate(each) for each in zip(*hashes, strict=True))
    visible = engine.logos.everything.rows
    rows = np.arange(len(ids)) if visible is None else np.flatnonzero(visible)
    return RegisterState(engine.edition, ids[rows], contents[rows]), rows


def compare(before: RegisterState, after: RegisterState) -> News:
    """What `after` has that `before` does not have."""
    order = np.argsort(before.ids)
    ids, contents = before.ids[order], before.contents[order]
    places = np.minimum(np.searchsorted(ids, after.ids), max(len(ids) - 1, 0))
    known = ids[places] == after.ids if len(ids) else np.zeros(len(after.ids), np.bool_)
    changed = known & (contents[places] != after.contents) if len(ids) else known
    return News(np.flatnonzero(~known), np.flatnonzero(changed))


@functools.lru_cache(maxsize=MOST_FOLDERS)
def _hashes(folder: Path) -> tuple[Keys, Keys]:
    """The hashes of the ids and of the contents of all rows of a version or a segment, whose files never change."""
    ids, contents = bytearray(), bytearray()
    digests = open_array(folder / IMAGE_DIGESTS) if (folder / IMAGE_DIGESTS).exists() else None
    with closing(Metadata(folder / METADATA)) as metadata:
        for row, logo in enumerate(metadata.logos()):
            ids += _hash(logo.logo_id.encode())
            image = logo.filename.encode() if digests is None else digests[row].tobytes()
            contents += _hash(image + _EMPTY.sub(b"", logo.metadata_json.encode()))
    return np.frombuffer(bytes(ids), _KEY), np.frombuffer(bytes(contents), _KEY)


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
