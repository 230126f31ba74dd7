"""What a training learns from: files, and which of them show the same thing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from logo_similarity.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures and their labels, row by row."""

    files: tuple[Path, ...]
    groups: Ints
    """(n,): pictures of one group show one mark; positives of each other."""
    families: Ints
    """(n,): pictures of one family may look alike, and are never told apart."""
    trusted: NDArray[np.bool_]
    """(n,): its group is known to look alike, and not only named alike."""

    def __len__(self) -> int:
        return len(self.files)

    def members(self) -> list[Ints]:
        """Rows of each group."""
        order = np.argsort(self.groups, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.groups[order])) + 1)


def read_training_set(folder: Path, splits: Iterable[str], licences: Iterable[str] | None = None) -> TrainingSet:
    """The pictures in `folder/images` that may be learned from.

    With a `labels.json`, `{file: {group, family, ...}}`; see docs/models.md. Where a row names no group, brand and kind are its
    group and the brand its family; without these it is a group of its own. Without the file, each picture is.

    Raises:
        SourceError: there is nothing to learn from.
    """
    images = folder / "images"
    labels = _read_labels(folder / "labels.json")
    if labels is None:
        names = sorted(path.name for path in images.glob("*") if path.is_file())
        labels = {name: {} for name in names}
    allowed, wanted = None if licences is None else set(licences), set(splits)
    names = [
        name
        for name, row in sorted(labels.items())
        if (allowed is None or row.get("licence") in allowed) and ("split" not in row or row["split"] in wanted)
    ]
    if not names:
        raise SourceError(f"{folder}: no picture to learn from; there must be images/, and labels.json decides which")
    groups = [_group(name, labels[name]) for name in names]
    return TrainingSet(
        files=tuple(images / name for name in names),
        groups=_numbered([group for group, _ in groups]),
        families=_numbered([family for _, family in groups]),
        trusted=np.array(["group" not in labels[name] for name in names]),
    )


def _read_labels(path: Path) -> dict[str, dict[str, Any]] | None:
    try:
        labels: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SourceError(f"{path}: not JSON: {error}") from None
    return labels


def _group(name: str, row: dict[str, Any]) -> tuple[str, str]:
    if row.get("group"):
        return f"group {row['group']}", f"family {row.get('family') or row['group']}"
    if row.get("brand"):
        return f"brand {row['brand']} {row.get('kind')}", f"brand {row['brand']}"
    return f"file {name}", f"file {name}"


def _numbered(names: Sequence[str]) -> Ints:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
