"""The live changes of a catalog version, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LiveFiles:
    """What has changed since a version was built: segments with new logos, and rows that are no longer valid."""

    generation: int
    """Changes with every change; 0: nothing has changed."""
    segments: tuple[Path, ...]
    """The folders of the segments, oldest first; see `build.segment.write_segment`."""
    hidden: tuple[NDArray[np.int64], ...]
    """For the version and for each segment: the rows of deleted and of replaced logos, int64, ascending."""
