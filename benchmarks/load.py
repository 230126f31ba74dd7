"""The service under load: 50 users in a closed loop, and rates from half of the service's capacity to ten times that.

The service has one core (one worker, one thread), the clients (locust) another; the share of its core that the client used is
reported, because a client at 1 would limit the figures. A bare loop of decoding, encoding and index search, without HTTP,
re-ranking, metadata or links, runs on the service's core before and after the load. Every answer is checked: the query's own
logo first (ties allowed), or a 503 with Retry-After. Before the load, the hits of some queries are compared with exact search.

    python -m benchmarks.load [LOGOS] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import faiss
import numpy as np

from benchmarks.answers import TIE
from benchmarks.machine import ROOT, write_result
from benchmarks.make_register import SAMPLES, register_catalog
from benchmarks.service import Client, Service, running
from logo_similarity.embed.describe import describe
from logo_similarity.engine import SearchEngine
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import preprocess
from logo_similarity.search.sources import all_rows

USERS = 50
PERIOD = 2.0
"""Seconds between two searches of one user of the open loop; longer than the longest queue of the service."""
RAMP_SECONDS = 3.0
QUERIES = 300
CROWDS = (1, 10, 25, 100)
RATES = (0.5, 0.8, 1.0, 1.5, 10.0)
LIKE_BARE = {"without parts": "parts=off", "without parts and re-ranking": "parts=off&rerank=false"}
"""Searches that are compared with the bare loop, beside those of the service's defaults: it encodes each image once."""
RECALL_QUERIES = 20
LEAST_RECALL = 0.97


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of one load."""

    offered: float | None
    """Planned requests per second; None for a closed loop."""
    sent: float
    """Requests per second."""
    goodput: float
    """Correct answers per second."""
    p50_ms: float
    """Of the correct answers."""
    p99_ms: float
    refused: int
    client_cpu_share: float


def bare_rate(catalogs: Path, core: int, seconds: float) -> float:
    """Searches per second of one thread on one core that only decodes, encodes and searches the index."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    try:
        with SearchEngine.open(catalogs) as engine:
            spec, ef_search = engine.encoder.model.input_spec, engine.base.ef_search
            images = [path.read_bytes() for path in sorted((SAMPLES / "images").glob("*.jpg"))[:QUERIES]]
            vectors = engine.base.index.vectors

            def search(image: bytes) -> None:
                (query,) = engine.encoder.infer(preprocess(decode(image), spec)[np.newaxis])
                rows, cosines = engine.base.index.search(query, 100, ef_search=ef_search)
                if cosines[0] < 0.999 or not np.isclose(vectors[rows[0]] @ query, cosines[0]):
                    raise ValueError(f"the bare loop: the best cosine is {cosines[0]}, and the query is in the index")

            for image in images:
                search(image)
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                search(images[done % len(images)])
                done += 1
            return done / (time.perf_counter() - started)
    finally:
        os.sched_setaffinity(0, everywhere)


def check_recall(service: Service, catalogs: Path) -> float:
    """recall@100 of the service's answers without re-ranking, against exact search.

    Raises:
        ValueError: it is below `LEAST_RECALL`.
    """
    client = Client(service)
    hits, neighbours = 0, 0
    with SearchEngine.open(catalogs) as engine:
        for path in sorted((SAMPLES / "images").glob("*.jpg"))[:RECALL_QUERIES]:
            query = describe(decode(path.read_bytes()), engine.encoder).embedding
            cosines = all_rows(engine.base.index.vectors) @ query
            floor = np.partition(cosines, -100)[-100] - TIE
            _, answer = client.search(path, rerank=False)
            hits += sum(hit["cosine"] >= floor for hit in answer["results"])
            neighbours += 100
    if hits < LEAST_RECALL * neighbours:
        raise ValueError(f"the service finds {hits} of {neighbours} exact neighbours")
    return hits / neighbours


def run_load(
    service: Service, core: int, *, rate: float | None, seconds: float, users: int = USERS, parameters: str = ""
) -> Load:
    """Run locust on one core against the service. The figures are those after the ramp.

    Args:
        service: the service.
        core: number of the core of the clients.
        rate: requests per second; None: a closed loop.
        seconds: after the ramp.
        users: of a closed loop.
        parameters: of each search, as a query string.

    Raises:
        ValueError: an answer is wrong.
    """
    users = users if rate is None else max(1, round(rate * PERIOD))
    period = 0.0 if rate is None else users / rate
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.json"
        environment = {
            **os.environ,
            "IMAGES": str(SAMPLES / "images"),
            "RECORD": str(record),
            "PERIOD": str(period),
            "SEARCH": f"/v1/search?{parameters}" if parameters else "/v1/search",
            "QUERIES": str(QUERIES),
        }
        command = [
            sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless",
            "--host", f"http://127.0.0.1:{service.port}", "-u", str(users), "-r", str(users),
            "-t", f"{math.ceil(RAMP_SECONDS + seconds)}s", "--stop-timeout", "15", "--only-summary", "--loglevel", "ERROR",
        ]  # fmt: skip
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        finally:
            os.sched_setaffinity(0, everywhere)
        if not record.exists():
            raise RuntimeError(f"locust failed: {done.stderr[-1000:]}")
        content = json.loads(record.read_bytes())
    begin = min(start for start, _, _ in content["answers"]) + RAMP_SECONDS
    end = begin + seconds
    # Rates count the answers that ended in the window, times those of the searches that began in it.
    ended = [verdict for start, took, verdict in content["answers"] if begin <= start + took / 1000 < end]
    begun = [(took, verdict) for start, took, verdict in content["answers"] if begin <= start < end]
    if wrong := [verdict for _, _, verdict in content["answers"] if verdict not in ("ok", "refused")]:
        raise ValueError(f"{len(wrong)} wrong answers, the first: {wrong[0]}")
    times = [took for took, verdict in begun if verdict == "ok"]
    return Load(
        offered=None if rate is None else round(rate, 1),
        sent=round(len(begun) / seconds, 1),
        goodput=round(ended.count("ok") / seconds, 1),
        p50_ms=round(float(np.percentile(times, 50)), 1),
        p99_ms=round(float(np.percentile(times, 99)), 1),
        refused=sum(verdict == "refused" for _, verdict in begun),
        client_cpu_share=content["client_cpu_share"],
    )


def recovery_seconds(service: Service) -> float:
    """Seconds until the service answers three times in a row within twice the time that it takes when idle."""
    client, images = Client(service), sorted((SAMPLES / "images").glob("*.jpg"))
    started, good = time.perf_counter(), 0
    while good < 3:
        try:
            took, answer = client.search(images[good])
            good = good + 1 if took < 2 * sum(answer["timings_ms"].values()) + 20 else 0
        except ValueError:
            good = 0
        if time.perf_counter() - started > 30:
            raise ValueError("the service still answers slowly 30 s after the load")
    return time.perf_counter() - started


def measure(
    logos: int = 770_000, seconds: float = 10.0, rates: tuple[float, ...] = RATES, crowds: tuple[int, ...] = CROWDS
) -> dict[str, object]:
    """Run the bare loop and all loads."""
    catalogs = register_catalog(logos)
    served, clients = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    bare = bare_rate(catalogs, served, seconds / 2)
    # Each user keeps a connection, and at ten times the capacity there are more than a worker has by default.
    settings = {"LOGO_MAX_CONNECTIONS": "10000"}
    with running(catalogs, workers=1, threads=1, cores={served}, settings=settings) as service:
        recall = check_recall(service, catalogs)
        closed = run_load(service, clients, rate=None, seconds=seconds)
        others = {
            words: run_load(service, clients, rate=None, seconds=seconds, parameters=parameters)
            for words, parameters in LIKE_BARE.items()
        }
        curve = {users: run_load(service, clients, rate=None, seconds=seconds / 2, users=users) for users in crowds}
        open_loop = {}
        for share in rates:
            load = run_load(service, clients, rate=share * closed.goodput, seconds=seconds)
            open_loop[f"{share:.0%}"] = {**_figures(load), "seconds_to_recover": round(recovery_seconds(service), 2)}
        again = bare_rate(catalogs, served, seconds / 2)
    peak = max([closed.goodput, *(float(str(load["goodput"])) for load in open_loop.values())])
    past = [float(str(load["goodput"])) for share, load in zip(rates, open_loop.values(), strict=True) if share > 1]
    bare = (bare + again) / 2
    return write_result(
        f"load_{logos}",
        {
            "logos": logos,
            "seconds": seconds,
            "recall_at_100": round(recall, 4),
            "bare_loop_per_second": round(bare, 1),
            "closed_50_users": _figures(closed),
            "closed_other_users": {str(users): _figures(load) for users, load in curve.items()},
            "throughput_over_bare_loop": {
                "all": round(closed.goodput / bare, 3),
                **{words: round(load.goodput / bare, 3) for words, load in others.items()},
            },
            "p99_over_50_by_throughput": round(closed.p99_ms / (1000 * USERS / closed.goodput), 3),
            "refused_at_50_users": closed.refused,
            "open_loop": open_loop,
            "goodput_past_capacity_over_peak": round(min(past) / peak, 3) if past else None,
        },
    )


def _figures(load: Load) -> dict[str, object]:
    return {name: getattr(load, name) for name in Load.__slots__}


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logos", nargs="?", type=int, default=770_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.logos, arguments.seconds), indent=2))


if __name__ == "__main__":
    main()
