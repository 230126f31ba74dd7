"""The usual implementation of the same plan, under the same load: what the search engine is compared with.

One coroutine does everything, as tutorials show it: `async def`, the model in an ONNX Runtime session with default options, the
index read into memory, a query of SQLite and a link by the MinIO client for each hit, and Pydantic models for the answer. It uses
the model, preprocessing, graph, search breadth and metadata of the catalog, but no parts and no re-ranking. One uvicorn process
serves it, on the core on which the service of `benchmarks.load` runs.

    python -m benchmarks.usual [LOGOS] [--seconds N]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, UploadFile
from pydantic import BaseModel

from benchmarks.load import LIKE_BARE, Load, run_load
from benchmarks.machine import ROOT, write_result
from benchmarks.make_register import register_catalog
from benchmarks.service import START_SECONDS, Service, running
from logo_similarity.catalog.manifest import INDEX, METADATA, MODEL_FOLDER, read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.embed.model import load_model
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import preprocess

CATALOGS = "CATALOGS"
LINK_LIFE = dt.timedelta(minutes=5)


class UsualHit(BaseModel):
    """A result."""

    id: str
    score: float
    image_url: str
    metadata: dict[str, Any]


class UsualAnswer(BaseModel):
    """The results of a search."""

    results: list[UsualHit]
    cached: bool = False


def create_app() -> FastAPI:
    """The application, for the catalogs in the environment."""
    import faiss
    import numpy as np
    import onnxruntime
    from minio import Minio

    folder = Catalog(Path(os.environ[CATALOGS])).current()
    ef_search = read_manifest(folder).index.ef_search
    model = load_model(folder / MODEL_FOLDER)
    session = onnxruntime.InferenceSession(folder / MODEL_FOLDER / model.file, providers=["CPUExecutionProvider"])
    index = faiss.read_index(str(folder / INDEX))
    faiss.downcast_index(index).hnsw.efSearch = ef_search
    metadata = sqlite3.connect(folder / METADATA, check_same_thread=False)
    images = Minio("127.0.0.1:9000", access_key="key", secret_key="secret", region="us-east-1", secure=False)
    app = FastAPI()

    @app.get("/readyz")
    async def ready() -> str:
        return "ready"

    @app.post("/v1/search")
    async def search(file: Annotated[UploadFile, File()]) -> UsualAnswer:
        batch = preprocess(decode(await file.read()), model.input_spec)[np.newaxis]
        (embedding,) = session.run([model.outputs.embedding], {model.input.name: batch})
        embedding /= np.linalg.norm(embedding)
        scores, rows = index.search(embedding, 100)
        hits = []
        for row, score in zip(rows[0], scores[0], strict=True):
            logo_id, filename, text = metadata.execute(
                "SELECT logo_id, filename, metadata FROM logos WHERE id = ?", (int(row),)
            ).fetchone()
            url = images.presigned_get_object("images", filename, expires=LINK_LIFE)
            hits.append(UsualHit(id=logo_id, score=float(score), image_url=url, metadata=json.loads(text)))
        return UsualAnswer(results=hits)

    return app


@contextmanager
def usual_running(catalogs: Path, core: int) -> Iterator[Service]:
    """The usual implementation on one core, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.usual:create_app", "--port", str(port)]
    environment = {**os.environ, CATALOGS: str(catalogs), "PYTHONPATH": str(ROOT)}
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})  # inherited by the child
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "--log-level", "warning"], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        os.sched_setaffinity(0, everywhere)
        service = Service(port, process, log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    service.get("/readyz")
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"it did not start: {log.read_text()[-1000:]}") from None
                    time.sleep(0.1)
            yield service
        finally:
            process.terminate()
            process.wait(60)


def measure(logos: int, seconds: float) -> dict[str, object]:
    """Run both under the load of 50 users, one after the other, twice."""
    catalogs = register_catalog(logos)
    served, clients = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    loads: dict[str, list[Load]] = {}
    for _ in range(2):
        with usual_running(catalogs, served) as service:
            loads.setdefault("usual", []).append(run_load(service, clients, rate=None, seconds=seconds))
        with running(catalogs, workers=1, threads=1, cores={served}) as service:
            for words, parameters in LIKE_BARE.items():
                load = run_load(service, clients, rate=None, seconds=seconds, parameters=parameters)
                loads.setdefault(words, []).append(load)
    goodput = {name: sum(load.goodput for load in each) / len(each) for name, each in loads.items()}
    return write_result(
        f"usual_{logos}",
        {
            "logos": logos,
            "seconds": seconds,
            "loads": {name: [asdict(load) for load in each] for name, each in loads.items()},
            "over_usual": {name: round(goodput[name] / goodput["usual"], 2) for name in LIKE_BARE},
        },
    )


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logos", nargs="?", type=int, default=770_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.logos, arguments.seconds), indent=2))


if __name__ == "__main__":
    main()
