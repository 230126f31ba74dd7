"""The training set: image files, and the groups that show the same mark."""

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
    """Images and their labels, row by row."""

    files: tuple[Path, ...]
    groups: Ints
    """(n,) int64: images of one group show the same mark and are positives of each other."""
    families: Ints
    """(n,) int64: images of one family may look alike and are never negatives of each other."""
    subjects: Ints
    """(n,) int64: images of one subject show the same mark for certain; other images of a group may only share a name."""

    def __len__(self) -> int:
        return len(self.files)

    def members(self) -> list[Ints]:
        """The rows of each group, in the order of the group numbers."""
        order = np.argsort(self.groups, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.groups[order])) + 1)


def read_training_set(folder: Path, splits: Iterable[str], licences: Iterable[str] | None = None) -> TrainingSet:
    """Read the images in `folder/images`, labelled by `folder/labels.json`: `{file: {group, family, subject, ...}}`.

    docs/models.md describes the labels. If a row has no group, its brand and kind form the group and its brand the
    family; if it has no brand either, the image is a group by itself. Without `labels.json`, each image is a group by
    itself.

    Args:
        folder: the folder of the training set.
        splits: splits to learn from; a row without a split is always included.
        licences: licences to learn from; None: any.

    Raises:
        SourceError: `labels.json` is not JSON, or no images are left.
    """
    images = folder / "images"
    labels = _read_labels(folder / "labels.json")
    if labels is None:
        names = sorted(path.name for path in images.glob("*") if path.is_file())
        labels = {name: {} for name in names}
    licence_set, split_set = None if licences is None else set(licences), set(splits)
    names = [
        name
        for name, row in sorted(labels.items())
        if (licence_set is None or row.get("licence") in licence_set)
        and ("split" not in row or row["split"] in split_set)
    ]
    if not names:
        raise SourceError(
            f"{folder}: no images to learn from; check images/, and the splits and licences in labels.json"
        )
    groups = [_group_and_family(name, labels[name]) for name in names]
    return TrainingSet(
        files=tuple(images / name for name in names),
        groups=_number([group for group, _ in groups]),
        families=_number([family for _, family in groups]),
        subjects=_number([_subject(name, labels[name]) for name in names]),
    )


def _read_labels(path: Path) -> dict[str, dict[str, Any]] | None:
    try:
        labels: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SourceError(f"{path}: not valid JSON: {error}") from None
    return labels


def _group_and_family(name: str, row: dict[str, Any]) -> tuple[str, str]:
    if row.get("group"):
        return f"group {row['group']}", f"family {row.get('family') or row['group']}"
    if row.get("brand"):
        return f"brand {row['brand']} {row.get('kind')}", f"brand {row['brand']}"
    return f"file {name}", f"file {name}"


def _subject(name: str, row: dict[str, Any]) -> str:
    if not row.get("group"):
        return _group_and_family(name, row)[0]
    return f"subject {row['subject']}" if row.get("subject") else f"file {name}"


def _number(names: Sequence[str]) -> Ints:
    """The index of each name in the sorted list of distinct names."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
