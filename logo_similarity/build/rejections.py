"""Rejects grouped by their reasons: a register of many rows is rejected for few reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from logo_similarity.catalog.sources.images import NO_IMAGE
from logo_similarity.domain import Reject
from logo_similarity.image.files import ImageFiles
from logo_similarity.wording import counted

MOST_REASONS = 1_000
"""Kept apart. Further ones are counted together."""
SHOWN_REASONS = 5
_PARTICULARS = re.compile(r"'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|\d[\d,.]*")
"""Of a reason: quoted values and numbers."""


@dataclass(slots=True)
class Rejection:
    """The rejects that have one reason, apart from names and numbers in it."""

    example: Reject
    """The first."""
    count: int = 0

    def __str__(self) -> str:
        image = self.example.filename
        named = image in (None, self.example.where) or repr(image) in self.example.reason
        return f"{self.count:,}: {self.example.reason} ({self.example.where}{'' if named else f', {image}'})"


class Rejections:
    """Counts rejects by their reasons."""

    def __init__(self, rejects: Iterable[Reject] = ()) -> None:
        self.count = 0
        self._by_reason: dict[str, Rejection] = {}
        for reject in rejects:
            self.add(reject)

    def add(self, reject: Reject) -> None:
        """Count one."""
        self.count += 1
        reason = _PARTICULARS.sub("…", reject.reason)
        if reason not in self._by_reason and len(self._by_reason) == MOST_REASONS:
            reason = next(reversed(self._by_reason))
        self._by_reason.setdefault(reason, Rejection(reject)).count += 1

    def commonest(self, most: int = SHOWN_REASONS) -> list[Rejection]:
        """The reasons with the most rejects, the most frequent first."""
        return sorted(self._by_reason.values(), key=lambda rejection: -rejection.count)[:most]

    def lines(self) -> list[str]:
        """The commonest reasons with an example each, and the number of others."""
        shown = self.commonest()
        others = len(self._by_reason) - len(shown)
        return [*map(str, shown), *([f"{counted(others, 'other reason')}"] if others else [])]

    def remedy(self, images: ImageFiles) -> str | None:
        """What to do about the commonest reason; None: it depends on the row.

        Args:
            images: where the images were looked for.
        """
        if any(rejection.example.reason.startswith(NO_IMAGE) for rejection in self.commonest(1)):
            return f"the images were looked for in {images}; if they are elsewhere, name their folder or ZIP file with --images"
        return None


def read_rejects(path: Path) -> Iterator[Reject]:
    """The rejects of a `rejected.jsonl`."""
    with path.open(encoding="utf8") as lines:
        for line in lines:
            yield Reject(**json.loads(line))
