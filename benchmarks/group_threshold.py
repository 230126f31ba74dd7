"""The cosine from which `group=picture` takes two pictures for the same one, measured on the samples.

It must be above the cosine of any two marks with different words, and below that of most copies of a picture.

    logo-similarity build samples/marks.jsonl --images samples --out CATALOGS
    python -m benchmarks.group_threshold CATALOGS                 # two minutes on two cores
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import ROOT, write_result
from logo_similarity.embed.describe import describe
from logo_similarity.engine import SearchEngine
from logo_similarity.image.decode import Pixels
from logo_similarity.search.grouping import SAME_PICTURE

COPIED = 400
"""Number of pictures that are copied with each change."""


def save(pixels: Pixels, quality: int) -> Pixels:
    """The picture saved as a JPEG file once more."""
    _, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


def scale(pixels: Pixels, factor: float) -> Pixels:
    """The picture in another size."""
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=method), np.uint8)


def pad(pixels: Pixels) -> Pixels:
    """The picture with a wider margin on two sides."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.copyMakeBorder(pixels, height // 10, 0, width // 10, 0, cv2.BORDER_REPLICATE), np.uint8)


def brighten(pixels: Pixels) -> Pixels:
    """The picture a little brighter."""
    return np.asarray(np.minimum(pixels.astype(np.int16) + 8, 255), np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "wider margin": pad,
    "JPEG 90": lambda pixels: save(pixels, 90),
    "brighter": brighten,
    "twice the size": lambda pixels: scale(pixels, 2),
    "half the size": lambda pixels: scale(pixels, 0.5),
    "JPEG 75": lambda pixels: save(pixels, 75),
    "JPEG 50, half the size": lambda pixels: save(scale(pixels, 0.5), 50),
}


def measure(catalogs: Path) -> dict[str, object]:
    """The largest cosine of two marks with different words, and the share of copies above the threshold."""
    with SearchEngine.open(catalogs, device="cpu") as engine:
        embeddings = np.asarray(engine.base.index.vectors)[
            engine.base.row_map.vector_of(np.arange(engine.manifest.count))
        ]
        logos = engine.metadata.fetch(list(range(len(embeddings))))
        words = np.unique([(logo.record.text or "").casefold() for logo in logos], return_inverse=True)[1]
        cosines = embeddings @ embeddings.T
        copies = np.random.default_rng(0).choice(len(logos), min(COPIED, len(logos)), replace=False)
        shares = dict.fromkeys(CHANGES, 0.0)
        for row in copies.tolist():
            pixels = engine.decoder.decode((ROOT / "samples" / logos[row].filename).read_bytes())
            for name, change in CHANGES.items():
                embedding = describe(change(pixels), engine.encoder).embedding
                shares[name] += float(embedding @ embeddings[row] >= SAME_PICTURE) / len(copies)
    pairs = np.triu(cosines, 1)
    different = pairs * (words[:, np.newaxis] != words)
    figures = {
        "threshold": SAME_PICTURE,
        "logos": len(logos),
        "pairs_above": int(np.count_nonzero(pairs >= SAME_PICTURE)),
        "largest_cosine_with_different_words": round(float(different.max()), 4),
        "copies_above": {name: round(share, 3) for name, share in shares.items()},
    }
    return write_result("group_threshold", figures)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1])), indent=2))
