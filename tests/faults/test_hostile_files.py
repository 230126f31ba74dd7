"""Files made to cost much, one after another against a service in a control group of the size that `plan` recommends."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from benchmarks.machine import write_result
from logo_similarity.catalog.manifest import read_manifest
from logo_similarity.catalog.versions import Catalog
from logo_similarity.config import load_settings
from logo_similarity.plan import plan_service
from tests.cgroup import Group, memory_group
from tests.hostile_images import BOMBS, Hostile, variants
from tests.service import command, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

    from tests.samples import SampleCatalog

VARIANTS = int(os.environ.get("LOGO_TEST_IMAGES", "60"))
PUBLISHED = 600
"""Variants of a run whose figures are a result: that of `make faults`."""
SEED = int(os.environ.get("LOGO_TEST_SEED", "1"))
SMALL = 100_000
REFUSALS = {"image_too_complex", "image_too_large", "image_too_small", "image_undecodable"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one upload took, of all processes of the service, and what came of it."""

    name: str
    size: int
    cpu_seconds: float
    outcome: str


def files() -> Iterator[Hostile]:
    for bomb in BOMBS:
        yield Hostile(bomb.__name__, bomb())
    yield from variants(SEED, VARIANTS)


def cost_of(client: httpx2.Client, group: Group, file: Hostile) -> Cost:
    before = group.cpu_seconds()
    answer = client.post("/v1/search", files={"file": file.data}, params={"top_k": 1})
    outcome = "found" if answer.status_code == 200 else answer.json()["code"]
    return Cost(file.name, len(file.data), group.cpu_seconds() - before, outcome)


def test_no_file_costs_more_than_it_may(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    manifest = read_manifest(Catalog(sample_catalog.root).current())
    plan = plan_service(manifest.size, manifest.model_size, 2, load_settings(workers=2, threads=1))
    with (
        memory_group(plan.limit) as group,
        running(group.enter(command("serve")), sample_catalog, tmp_path, {}) as server,
        server.client() as client,
    ):
        workers = server.workers()
        costs = [cost_of(client, group, file) for file in files()]
        assert server.workers() == workers
        assert group.kills() == 0
        peak = group.peak_memory()
    small = [cost for cost in costs if cost.size <= SMALL]
    large = [cost for cost in costs if cost.size > SMALL]
    dearest = {
        name: max(some, key=lambda cost: cost.cpu_seconds) for name, some in (("small", small), ("large", large))
    }
    if VARIANTS >= PUBLISHED:
        write_result(
            "hostile",
            {
                "files": len(costs),
                "seed": SEED,
                "most_cpu_seconds_up_to_100_kB": round(dearest["small"].cpu_seconds, 3),
                "which_up_to_100_kB": dearest["small"].name,
                "most_cpu_seconds_up_to_the_byte_limit": round(dearest["large"].cpu_seconds, 3),
                "which_up_to_the_byte_limit": dearest["large"].name,
                "peak_memory_mb": round(peak / 1e6, 1),
                "plan_limit_mb": round(plan.limit / 1e6, 1),
                "killed_for_memory": 0,
                "outcomes": dict(sorted(Counter(cost.outcome for cost in costs).items())),
                "cpu_seconds": {cost.name: round(cost.cpu_seconds, 3) for cost in costs[: len(BOMBS)]},
            },
        )
    assert {cost.outcome for cost in costs} <= REFUSALS | {"found"}
    assert peak <= plan.limit


def test_the_largest_files_at_once_fit_into_the_plan(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    """Every thread decodes what takes most memory, again and again, while plain searches go on."""
    largest = [
        cv2.imencode(".png", np.full((5000, 5000, 4), 200, np.uint8))[1].tobytes(),
        cv2.imencode(".jpg", np.full((5000, 5000, 3), 99, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        cv2.imencode(".tiff", np.full((3300, 3300, 4), 30_000, np.uint16))[1].tobytes(),
    ]
    plain = (sample_catalog.images / sample_catalog.files[0]).read_bytes()
    manifest = read_manifest(Catalog(sample_catalog.root).current())
    plan = plan_service(manifest.size, manifest.model_size, 2, load_settings(workers=2, threads=1))
    answers: list[tuple[bool, int]] = []
    with (
        memory_group(plan.limit) as group,
        running(group.enter(command("serve")), sample_catalog, tmp_path, {}) as server,
    ):
        workers = server.workers()

        def ask(file: bytes) -> None:
            with server.client() as client:
                for _ in range(6):
                    status = client.post("/v1/search", files={"file": file}).status_code
                    answers.append((file is plain, status))

        threads = [threading.Thread(target=ask, args=(file,)) for file in [*largest, *largest, plain]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.workers() == workers
        assert group.kills() == 0
    assert len(answers) == 42
    assert {status for is_plain, status in answers if is_plain} == {200}
    # 422 where the machine is so slow that a file takes more than its CPU time: its memory was taken all the same.
    assert {status for _, status in answers} <= {200, 422}
