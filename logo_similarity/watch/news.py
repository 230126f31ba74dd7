"""What is new in a register, found by comparing two of its states."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from logo_similarity.engine import SearchEngine
from logo_similarity.search.candidates import Ids
from logo_similarity.segment import Segment

KEY_BYTES = 8
_KEY = np.dtype("<u8")
_EMPTY = re.compile(rb'"\w+":(?:null|\[\]|\{\}),?')

Keys = NDArray[np.uint64]

_KNOWN: WeakKeyDictionary[Segment, tuple[Keys, Keys]] = WeakKeyDictionary()
"""The hashes of the segments that are open in this process."""


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
    hashes = [_hashes(segment) for segment in engine.logos.segments]
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


def _hashes(segment: Segment) -> tuple[Keys, Keys]:
    """The hashes of the ids and of the contents of all rows of a version or a live segment, which never changes.

    Its open files are read: those of a segment may have been deleted.
    """
    if segment not in _KNOWN:
        ids, contents = bytearray(), bytearray()
        for row, logo in enumerate(segment.metadata.logos()):
            ids += _hash(logo.logo_id.encode())
            image = logo.filename.encode() if segment.digests is None else segment.digests[row].tobytes()
            contents += _hash(image + _EMPTY.sub(b"", logo.metadata_json.encode()))
        _KNOWN[segment] = np.frombuffer(bytes(ids), _KEY), np.frombuffer(bytes(contents), _KEY)
    return _KNOWN[segment]


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
