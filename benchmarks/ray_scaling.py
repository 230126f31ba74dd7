"""The embedding rate of a Ray cluster of one and of two workers over one process with one thread, in the same run.

    python -m benchmarks.ray_scaling [--s3 s3://bucket/prefix] [--images 512] [--rounds 3]

Each worker is a node of its own with one CPU; all nodes run on this machine, so it needs a core for each worker, and the
driver takes a part of them. The images are read from a folder and, with `--s3`, from a bucket (`LOGO_S3_*`), to which they are
uploaded first. The shards must be the same in all cases.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES
from benchmarks.ray_nodes import run_ray
from logo_similarity.build.embeddings import Embedder, LocalEmbedder, embed_records
from logo_similarity.build.ray_cluster import RayCluster, RayEmbedder, connected
from logo_similarity.build.records import count_lines, write_records
from logo_similarity.catalog.sources import open_source
from logo_similarity.config import load_settings
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.image.decode import ImageLimits
from logo_similarity.image.files import ImageFiles, open_images
from logo_similarity.storage.images import BucketImages
from logo_similarity.storage.s3 import S3Service
from logo_similarity.storage.upload import upload_images

MODEL = default_model_folder()
LIMITS = ImageLimits()
WORKERS = (1, 2)


@dataclass(frozen=True, slots=True)
class Stage:
    """The embed stage of a build of the samples."""

    folder: Path
    total: int
    encoder: Encoder

    def rate(self, embedder: Embedder) -> float:
        """Images per second. The shards must be those of the runs before."""
        with tempfile.TemporaryDirectory(dir=self.folder) as run:
            shards = Path(run) / "shards"
            started = time.perf_counter()
            embed_records(self.folder / "records", self.total, shards, self.encoder.dimension, embedder)
            seconds = time.perf_counter() - started
            made = {path.name: path.read_bytes() for path in shards.iterdir()}
        first = self.folder / "first"
        if not first.exists():
            first.mkdir()
            for name, content in made.items():
                (first / name).write_bytes(content)
        if made != {path.name: path.read_bytes() for path in first.iterdir()}:
            raise ValueError("the shards of two runs differ")
        return self.total / seconds

    def here(self, images: ImageFiles) -> float:
        """The rate of one thread of this process."""
        with LocalEmbedder(images, self.encoder, threads=1, limits=LIMITS) as embedder:
            return self.rate(embedder)

    def there(self, images: ImageFiles, cluster: RayCluster, rounds: int) -> Iterator[float]:
        """The rates of a cluster whose workers have started, each over that of this process just before."""
        embedder = RayEmbedder(cluster, images, MODEL, limits=LIMITS)
        self.rate(embedder)
        for _ in range(rounds):
            alone = self.here(images)
            yield self.rate(embedder) / alone


def measure(bucket: str | None, count: int, rounds: int) -> dict[str, object]:
    """Run the comparison."""
    cv2.setNumThreads(1)
    images: dict[str, ImageFiles] = {"disk": open_images(SAMPLES / "images")}
    if bucket is not None:
        images["s3"] = BucketImages(bucket, load_settings())
        _upload(images["disk"], bucket)
    with tempfile.TemporaryDirectory() as folder, run_ray(0) as nodes:
        work = Path(folder)
        write_records(open_source(SAMPLES), work / "records", work / "rejects")
        stage = Stage(work, min(count, count_lines(work / "records")), Encoder.open(MODEL, device="cpu"))
        alone = {place: stage.here(files) for place, files in images.items()}
        ratios: dict[str, float] = {}
        for workers in WORKERS:
            nodes.add(1)
            with connected(nodes.address, "cpu") as cluster:
                if cluster is None or cluster.tasks != workers:
                    raise ValueError(f"the cluster does not have {workers} workers")
                for place, files in images.items():
                    rates = list(stage.there(files, cluster, rounds))
                    ratios[f"{place}_{workers}_workers_over_alone"] = round(statistics.median(rates), 3)
    return write_result(
        "ray_scaling",
        {
            "images": stage.total,
            "rounds": rounds,
            **{f"{place}_images_per_second_alone": round(rate, 1) for place, rate in alone.items()},
            **ratios,
        },
    )


def _upload(images: ImageFiles, bucket: str) -> None:
    name, _, prefix = bucket.removeprefix("s3://").partition("/")
    service = S3Service(load_settings(s3_bucket=name, s3_prefix=prefix))
    asyncio.run(upload_images(service, images, concurrency=8, on_progress=lambda _: None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--s3", metavar="URL")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(measure(arguments.s3, arguments.images, arguments.rounds))
