"""Ground truth from files: labels.json of the benchmark, or pairs of one's own."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from logo_similarity.errors import SourceError
from logo_similarity.evaluation.labels import Label, brand_queries
from logo_similarity.evaluation.ranking import LabelledQuery

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Truth:
    """The gallery's files, what is known of each, and the queries of each split."""

    files: tuple[str, ...]
    labels: tuple[Label, ...]
    splits: dict[str, list[LabelledQuery]]


def read_truth(path: Path, files: list[str]) -> Truth:
    """Ground truth for a gallery.

    Args:
        path: `.json`: `{file: {brand, kind, set, split}}`; `.csv`: a header `query,relevant` and one pair of files a line.
        files: the gallery, paths below the images' folder.

    Raises:
        SourceError: it can't be read, names no pair, or names a file that is not in the gallery.
    """
    gallery = tuple(sorted(files))
    if path.suffix == ".csv":
        return _from_pairs(path, gallery)
    try:
        rows: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        known = {
            name: Label(row.get("brand"), row.get("kind"), row.get("set"), row.get("split"), row.get("licence"))
            for name, row in rows.items()
        }
    except (ValueError, AttributeError) as error:
        raise SourceError(f"{path}: not a list of labels ({{file: {{brand, kind, set, split}}}}): {error}") from None
    labels = tuple(known.get(name, Label()) for name in gallery)
    names = sorted({label.split for label in labels if label.split and label.brand})
    splits = {split: queries for split in names if (queries := brand_queries(labels, split))}
    if not splits:
        raise SourceError(
            f"{path}: no two files of the gallery have the same brand and kind; are these the right images?"
        )
    return Truth(gallery, labels, splits)


def _from_pairs(path: Path, gallery: tuple[str, ...]) -> Truth:
    row_of = {name: row for row, name in enumerate(gallery)}
    relevant: dict[int, set[int]] = defaultdict(set)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"query", "relevant"} <= set(reader.fieldnames or ()):
            raise SourceError(f"{path}: its first line must name the columns query and relevant")
        for pair in reader:
            try:
                query, answer = row_of[pair["query"]], row_of[pair["relevant"]]
            except KeyError as error:
                raise SourceError(f"{path}, line {reader.line_num}: {error} is not among the images") from None
            if query == answer:
                raise SourceError(f"{path}, line {reader.line_num}: {pair['query']!r} is its own answer")
            relevant[query].add(answer)
    if not relevant:
        raise SourceError(f"{path}: no pairs")
    none = np.empty(0, np.int64)
    queries = [
        LabelledQuery(row, np.array(sorted(answers), np.int64), none) for row, answers in sorted(relevant.items())
    ]
    return Truth(gallery, tuple(Label() for _ in gallery), {"pairs": queries})
