"""What is new in a register: a function of two states of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logo_similarity.engine import SearchEngine
from logo_similarity.search.candidates import Ids

KEY_BYTES = 8
_KEY = np.dtype("<u8")
_EMPTY = re.compile(rb'"\w+":(?:null|\[\]|\{\}),?')

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class RegisterState:
    """Which logos a catalog has, and the content of each, as hashes of 64 bits: 16 bytes for each logo.

    It outlives the version that it describes, which may be deleted before the next run.
    """

    version: str
    ids: Keys
    """(rows,) uint64: of the id of each row."""
    contents: Keys
    """(rows,) uint64: of the register data and the image of each row."""


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """The rows of the later state that the earlier one does not have."""

    new: Ids
    """(m,) int64, ascending: rows of logos with new ids."""
    changed: Ids
    """(m,) int64, ascending: rows whose register data or image differ."""


def state_of(engine: SearchEngine) -> RegisterState:
    """The state of an open catalog. Reads all register data: seconds for a million logos."""
    ids, contents = bytearray(), bytearray()
    digests = engine.image_digests
    for row, logo in enumerate(engine.metadata.logos()):
        ids += _hash(logo.logo_id.encode())
        image = logo.filename.encode() if digests is None else digests[row].tobytes()
        contents += _hash(image + _EMPTY.sub(b"", logo.metadata_json.encode()))
    return RegisterState(engine.version, *(np.frombuffer(bytes(part), _KEY) for part in (ids, contents)))


def compare(before: RegisterState, after: RegisterState) -> News:
    """What `after` has that `before` does not have."""
    order = np.argsort(before.ids)
    ids, contents = before.ids[order], before.contents[order]
    places = np.minimum(np.searchsorted(ids, after.ids), max(len(ids) - 1, 0))
    known = ids[places] == after.ids if len(ids) else np.zeros(len(after.ids), np.bool_)
    changed = known & (contents[places] != after.contents) if len(ids) else known
    return News(np.flatnonzero(~known), np.flatnonzero(changed))


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()
