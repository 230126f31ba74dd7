"""Labels of images, and the queries with relevant answers that follow from them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from logo_similarity.evaluation.ranking import Floats, LabelledQuery, Rows
from logo_similarity.image.preprocess import border_colour, content_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from logo_similarity.image.decode import Pixels

THUMBNAIL_SIDE = 32
ALIKE = 0.6
"""Two drawings whose thumbnails correlate by this or more, in absolute value, are copies or negatives of each other."""


@dataclass(frozen=True, slots=True)
class Label:
    """The labels of one image; None: not labelled."""

    brand: str | None = None
    kind: str | None = None
    icon_set: str | None = None
    split: str | None = None
    licence: str | None = None
    alone: bool = False
    """Whether it shows nothing that another drawing of its brand shows, but for copies and negatives."""


def brand_queries(labels: Sequence[Label], split: str) -> list[LabelledQuery]:
    """One query for each labelled image of a split that has a relevant answer.

    The other images of the same brand and kind are relevant, whatever their split; images of the same brand and another
    kind are ignored.
    """
    by_brand: Mapping[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        if label.brand:
            by_brand[label.brand].append(row)
    queries = []
    for row, label in enumerate(labels):
        if label.split != split or not label.brand:
            continue
        others = np.array([other for other in by_brand[label.brand] if other != row], np.int64)
        same_kind = np.array([labels[other].kind == label.kind for other in others], bool)
        if same_kind.any():
            queries.append(LabelledQuery(row, others[same_kind], others[~same_kind]))
    return queries


def hard_queries(queries: Sequence[LabelledQuery], thumbnails: Floats) -> list[LabelledQuery]:
    """The queries with easy answers ignored; queries with only easy answers are dropped.

    An answer is easy if its thumbnail and that of the query correlate by `ALIKE` or more, in absolute value.

    Args:
        queries: of one gallery.
        thumbnails: (n, 1024) float32, one row for each image of the gallery.
    """
    hard = []
    for query in queries:
        correlations = np.abs(thumbnails[query.relevant] @ thumbnails[query.row])
        easy = correlations >= ALIKE
        if not easy.all():
            ignored: Rows = np.concatenate((query.ignored, query.relevant[easy]))
            hard.append(LabelledQuery(query.row, query.relevant[~easy], ignored))
    return hard


def thumbnail(image: Pixels) -> Floats:
    """Thumbnail of the cropped content, (1024,) float32: grey, 32 x 32, zero mean, unit length; zeros if uniform."""
    box = content_box(image, border_colour(image))
    grey = cv2.cvtColor(image[box.top : box.bottom, box.left : box.right], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return (small / length if length > 0 else small).astype(np.float32)
