"""Ground truth from files: `labels.json`, or a CSV file of query and answer pairs."""

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
    """The files of a gallery in order, the label of each, and the queries of each split."""

    files: tuple[str, ...]
    labels: tuple[Label, ...]
    splits: dict[str, list[LabelledQuery]]


def read_truth(path: Path, files: list[str]) -> Truth:
    """Read the ground truth for a gallery.

    Args:
        path: a `.csv` file with the header `query,relevant` and one pair of files per line, which become the split
            `pairs`; any other file is JSON, `{file: {brand, kind, set, split}}`.
        files: the gallery, as paths relative to the image folder.

    Raises:
        SourceError: the file is not valid, has no pairs, or (CSV) names a file that is not in the gallery.
    """
    gallery = tuple(sorted(files))
    if path.suffix == ".csv":
        return _read_pairs(path, gallery)
    try:
        rows: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        labels_by_name = {
            name: Label(
                row.get("brand"),
                row.get("kind"),
                row.get("set"),
                row.get("split"),
                row.get("licence"),
                bool(row.get("alone")),
            )
            for name, row in rows.items()
        }
    except (ValueError, AttributeError) as error:
        raise SourceError(f"{path}: not a labels file, {{file: {{brand, kind, set, split}}}}: {error}") from None
    labels = tuple(labels_by_name.get(name, Label()) for name in gallery)
    names = sorted({label.split for label in labels if label.split and label.brand})
    splits = {split: queries for split in names if (queries := brand_queries(labels, split))}
    if not splits:
        raise SourceError(
            f"{path}: no two images have the same brand and kind; check that the labels belong to these images"
        )
    return Truth(gallery, labels, splits)


def _read_pairs(path: Path, gallery: tuple[str, ...]) -> Truth:
    row_of = {name: row for row, name in enumerate(gallery)}
    relevant: dict[int, set[int]] = defaultdict(set)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"query", "relevant"} <= set(reader.fieldnames or ()):
            raise SourceError(f"{path}: the first line must name the columns query and relevant")
        for pair in reader:
            try:
                query, answer = row_of[pair["query"]], row_of[pair["relevant"]]
            except KeyError as error:
                raise SourceError(f"{path}, line {reader.line_num}: {error} is not one of the images") from None
            if query == answer:
                raise SourceError(f"{path}, line {reader.line_num}: {pair['query']!r} is listed as its own answer")
            relevant[query].add(answer)
    if not relevant:
        raise SourceError(f"{path}: contains no pairs")
    ignored = np.empty(0, np.int64)
    queries = [
        LabelledQuery(row, np.array(sorted(answers), np.int64), ignored) for row, answers in sorted(relevant.items())
    ]
    return Truth(gallery, tuple(Label() for _ in gallery), {"pairs": queries})
