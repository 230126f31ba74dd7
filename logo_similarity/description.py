"""What a search compares of one picture. Plain data: `embed.describe` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a region, as shares of the picture's width and height, 0 to 1."""
TURNS = (0, 90, 180, 270)
"""By how many degrees clockwise a picture may be turned before it is described."""
WHOLE_BOX: Box = (0.0, 0.0, 1.0, 1.0)
DIGEST_BYTES = 32
"""Size of the sha256 of an image file."""


class Place(NamedTuple):
    """The content of a picture."""

    left: float
    """Shares of the picture's width and height, 0 to 1."""
    top: float
    right: float
    bottom: float
    aspect: float
    """Width over height of the content, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The described parts of one picture."""

    embeddings: NDArray[np.float32]
    """(p, d) float32, unit length."""
    boxes: NDArray[np.float32]
    """(p, 4) float32: a `Box` for each."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """What a search compares of one picture, or of a crop of it."""

    embedding: NDArray[np.float32]
    """(d,) float32, unit length."""
    patches: NDArray[np.int8] | None
    """(cells, channels) int8, a vector for each cell of a square grid; None if the encoder has none."""
    parts: Parts | None = None
    """None: the parts were not described."""
    place: Place | None = None
    """Where in the picture the encoder looked; None: not known."""
    box: Box = WHOLE_BOX
    """The crop. All boxes refer to the whole picture."""
    turned: int = 0
    """By how many degrees clockwise the picture was turned before it was described, one of `TURNS`."""
    completed: bool = False
    """Whether it is the picture of a part of a mark, with paper where the rest is: logos are compared by what they repeat of
    it, not by what they show besides."""
    damage: str | None = None
    """What is wrong with the file of the picture, of which only a part was readable; None: nothing is known to be."""
