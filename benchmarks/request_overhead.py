"""The time of a request beyond the encoder's own run: a 256 x 256 JPEG against a register, warm, one client, without parts.

The service has one worker with one thread on one core, the client another core. The mean by `/metrics`, read before and
after, is compared with the client's mean; the difference is the time in the network stack and in the client. Afterwards the same
images are decoded, prepared and searched for in this process, on the core of the service: what these three take alone.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import cv2
import faiss
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.machine import write_result
from benchmarks.make_register import SAMPLES, register_catalog
from benchmarks.service import Client, Service, running
from logo_similarity.engine import SearchEngine
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import preprocess

STAGES = ("queue", "decode", "preprocess", "embed", "search", "rerank", "metadata", "links")


def measure(requests: int = 400, logos: int = 770_000) -> dict[str, object]:
    """Send the requests one after another."""
    catalogs = register_catalog(logos)
    images = sorted((SAMPLES / "images").glob("*.jpg"))[:requests]
    everywhere = os.sched_getaffinity(0)
    cores = sorted(everywhere)
    with running(catalogs, workers=1, threads=1, cores={cores[0]}) as service:
        os.sched_setaffinity(0, {cores[-1]})
        try:
            client = Client(service)
            for image in images[:100]:
                client.search(image, parts="off")
            before = totals(service)
            answers = [client.search(image, parts="off") for image in images]
            after = totals(service)
        finally:
            os.sched_setaffinity(0, everywhere)
    beyond = [wall - answer["timings_ms"]["embed"] for wall, answer in answers]
    outside = [wall - sum(answer["timings_ms"].values()) for wall, answer in answers]
    bare = bare_stages(catalogs, images, cores[0])
    count = after["count"] - before["count"]
    if count != len(images):
        raise ValueError(f"the metrics count {count} requests, {len(images)} were sent")
    by_metrics = 1000 * ((after["request"] - before["request"]) - (after["embed"] - before["embed"])) / count
    return write_result(
        "request_overhead",
        {
            "logos": logos,
            "requests": len(images),
            "median_ms_beyond_encoder": round(statistics.median(beyond), 3),
            "mean_ms_beyond_encoder": round(statistics.mean(beyond), 3),
            "mean_ms_beyond_encoder_by_metrics": round(by_metrics, 3),
            "metrics_over_client": round(by_metrics / statistics.mean(beyond), 3),
            "median_ms_encoder": round(statistics.median(answer["timings_ms"]["embed"] for _, answer in answers), 3),
            "median_ms_by_stage": {
                stage: round(statistics.median(answer["timings_ms"][stage] for _, answer in answers), 3)
                for stage in STAGES
            },
            "median_ms_of_bare_stages": bare,
            "median_beyond_encoder_over_bare_stages": round(statistics.median(beyond) / sum(bare.values()), 3),
            "median_ms_outside_the_stages": round(statistics.median(outside), 3),
        },
    )


def bare_stages(catalogs: Path, images: list[Path], core: int) -> dict[str, float]:
    """Median ms of decoding, preprocessing and the search of the index, each alone, on one core."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    times: dict[str, list[float]] = {"decode": [], "preprocess": [], "search": []}
    try:
        with SearchEngine.open(catalogs, device="cpu") as engine:
            spec, index = engine.encoder.model.input_spec, engine.base.index
            for image in images:
                content = image.read_bytes()
                started = time.perf_counter()
                pixels = decode(content)
                decoded = time.perf_counter()
                prepared = preprocess(pixels, spec)
                preprocessed = time.perf_counter()
                (query,) = engine.encoder.infer(prepared[np.newaxis])
                embedded = time.perf_counter()
                index.search(query, 100, ef_search=engine.base.ef_search)
                ends = (decoded - started, preprocessed - decoded, time.perf_counter() - embedded)
                for name, seconds in zip(times, ends, strict=True):
                    times[name].append(1000 * seconds)
    finally:
        os.sched_setaffinity(0, everywhere)
    return {name: round(statistics.median(each), 3) for name, each in times.items()}


def totals(service: Service) -> dict[str, float]:
    """Seconds and number of the searches answered so far, and the seconds of their encoding, by `/metrics`."""
    sums = {"request": 0.0, "count": 0.0, "embed": 0.0}
    for family in text_string_to_metric_families(service.get("/metrics").decode()):
        for sample in family.samples:
            if sample.labels.get("route") == "/v1/search" and sample.name == "logo_request_seconds_sum":
                sums["request"] = sample.value
            if sample.labels.get("route") == "/v1/search" and sample.name == "logo_request_seconds_count":
                sums["count"] = sample.value
            if sample.labels.get("stage") == "embed" and sample.name == "logo_stage_seconds_sum":
                sums["embed"] = sample.value
    return sums


if __name__ == "__main__":
    print(measure())
