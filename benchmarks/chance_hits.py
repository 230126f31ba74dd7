"""What an expected number is worth in catalogs of several sizes: hits of searches that have no right answer.

The queries are drawings of brands that the encoder was not trained on; all drawings of a query's brand are left out of the
gallery, so every hit is there by chance. Ideally as many hits have an expected number of at most 1 as it says: one. The
smaller galleries are random samples of the benchmark's. `benchmarks.part_cost` counts the same in a large register.

    python -m benchmarks.make_benchmark --out data/benchmark      # once
    python -m benchmarks.chance_hits [FOLDER]                     # some ten minutes on two cores
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.machine import ROOT, write_result
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.evaluation.evaluate import CHANCE_QUERIES, EXPECTS, brand_rows, spread
from logo_similarity.evaluation.features import Features, GalleryParts
from logo_similarity.evaluation.gallery import describe_by, describe_gallery, image_files
from logo_similarity.evaluation.ranking import LabelledQuery
from logo_similarity.evaluation.truth import read_truth
from logo_similarity.search.candidates import Ids
from logo_similarity.terminal import progress

SIZES = (500, 2_000, 10_000)
"""Besides the whole gallery."""
SEED = 1


def measure(folder: Path) -> dict[str, object]:
    """Mean numbers of chance hits, for each size of gallery and each expected number."""
    encoder = Encoder.open(default_model_folder(), device="cpu", threads=1)
    files = image_files(folder / "images")
    with progress(Console(stderr=True)) as report:
        gallery = describe_gallery(
            encoder.model.id,
            describe_by(encoder),
            encoder.model.rerank_weight,
            folder / "images",
            files,
            threads=usable_cores(),
            report=report,
        )
    queries = spread(read_truth(folder / "labels.json", files).splits["public"], CHANCE_QUERIES)
    random = np.random.default_rng(SEED)
    samples = [np.sort(random.permutation(len(files))[:size]) for size in SIZES]
    return write_result(
        "chance_hits",
        {
            "encoder": encoder.model.id,
            "queries": len(queries),
            "galleries": {
                str(len(rows)): count_hits(queries, gallery.features, rows)
                for rows in [*samples, np.arange(len(files))]
            },
        },
    )


def count_hits(queries: Sequence[LabelledQuery], features: Features, rows: Ids) -> dict[str, float]:
    """The mean number of chance hits at each of `EXPECTS`, in the gallery of these rows."""
    gallery = _sample(features, rows)

    def count(query: LabelledQuery) -> list[int]:
        excluded = np.flatnonzero(np.isin(rows, brand_rows(query)))
        _, _, expects = gallery.hits(features.description(query.row), excluded)
        return [int(np.count_nonzero(expects <= expect)) for expect in EXPECTS]

    with ThreadPoolExecutor(usable_cores()) as pool:
        hits = np.mean(list(pool.map(count, queries)), axis=0)
    return {str(expect): round(float(mean), 4) for expect, mean in zip(EXPECTS, hits, strict=True)}


def _sample(features: Features, rows: Ids) -> Features:
    parts = None if features.parts is None else GalleryParts.of([features.parts[row] for row in rows])
    patches = None if features.patches is None else features.patches[rows]
    return Features(features.embeddings[rows], patches, features.weight, parts)


def main() -> None:
    """Run from the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data" / "benchmark"
    print(measure(folder))


if __name__ == "__main__":
    main()
