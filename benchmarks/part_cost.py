"""What the parts of images cost: time of a search and memory of a catalog, with and without them.

    python -m benchmarks.part_cost 770000

Searches for the sample images in a synthetic register (`benchmarks.make_register`) on one thread, in turn without parts
and with them, and checks each time that the image finds itself first. Times are CPU time of that thread. The memory is
that of the files that a service maps. `hits_at` is the mean number of hits at or below an expected number; the sample
itself is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time

import faiss
import numpy as np

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog
from logo_similarity.catalog.manifest import PARTS_FOLDER
from logo_similarity.domain import PartsMode, Query
from logo_similarity.engine import SearchEngine

QUERIES = 300
WARM = 30
EXPECTS = (0.01, 0.1, 1.0, 10.0)


def measure(count: int) -> dict[str, object]:
    """Ratios of times and of memory, and the times themselves."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    chosen = [images[place] for place in np.linspace(0, len(images) - 1, QUERIES).astype(int)]
    milliseconds: dict[PartsMode, list[float]] = {PartsMode.OFF: [], PartsMode.AUTO: []}
    chance: list[list[int]] = []
    faiss.omp_set_num_threads(1)
    with SearchEngine.open(register_catalog(count), device="cpu") as engine:
        manifest = engine.manifest
        if manifest.parts is None:
            raise ValueError("the register has no parts")
        for path in chosen[:WARM]:
            engine.search(Query(image=path.read_bytes()))
        for path in chosen:
            content = path.read_bytes()
            for mode, times in milliseconds.items():
                start = time.thread_time()
                result = engine.search(Query(image=content, parts=mode))
                times.append(1000 * (time.thread_time() - start))
                if result.hits[0].logo.logo_id != path.stem:
                    raise ValueError(f"{path.name} does not find itself first with parts={mode}")
            others = [hit.expect for hit in result.hits if hit.expect is not None and hit.logo.logo_id != path.stem]
            chance.append([sum(expect <= limit for expect in others) for limit in EXPECTS])
        mapped = {name: entry.size for name, entry in manifest.files.items() if not name.endswith(".jsonl")}
    parts_bytes = sum(size for name, size in mapped.items() if name.startswith(f"{PARTS_FOLDER}/"))
    off, auto = (statistics.median(times) for times in milliseconds.values())
    return write_result(
        f"part_cost_{count}",
        {
            "logos": count,
            "parts_per_image": round(manifest.parts.count / manifest.distinct_images, 2),
            "p50_ratio": round(auto / off, 3),
            "p50_ms_without": round(off, 2),
            "p50_ms_with": round(auto, 2),
            "p95_ms_without": round(float(np.quantile(milliseconds[PartsMode.OFF], 0.95)), 2),
            "p95_ms_with": round(float(np.quantile(milliseconds[PartsMode.AUTO], 0.95)), 2),
            "mapped_bytes_ratio": round(sum(mapped.values()) / (sum(mapped.values()) - parts_bytes), 3),
            "hits_at": {
                str(limit): round(statistics.mean(hits[place] for hits in chance), 3)
                for place, limit in enumerate(EXPECTS)
            },
        },
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "count", type=int, nargs="?", default=770_000, help="logos of the register (default: %(default)s)"
    )
    print(measure(parser.parse_args().count))


if __name__ == "__main__":
    main()
