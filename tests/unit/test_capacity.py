from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from logo_similarity.capacity import (
    BUILD_HOURS,
    EMBED_MS,
    MILVUS_MEMORY,
    REQUEST_MS,
    Engine,
    Machine,
    estimate,
    file_bytes,
    index_ms,
    search_ms,
)
from logo_similarity.cli import app
from logo_similarity.config import load_settings
from logo_similarity.precision import Precision

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
MEASURED = sorted(RESULTS.glob("scale_*.json"))
CLOSE = 0.15
ALONE = 1.5
"""Load average of a machine over its cores, up to which it is not busy with other work."""


def measured(path: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(path.read_bytes())["figures"]
    return figures


QUIET = [path for path in MEASURED if measured(path)["load"] <= ALONE * measured(path)["cores"]]


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_disk_is_as_measured(path: Path) -> None:
    figures = measured(path)
    precision = Precision(figures["precision"])
    planned = file_bytes(figures["logos"], precision)
    planned["patches.npy"] = planned["patches.npy"] * figures.get("patch_bits", 8) // precision.patch_bits
    assert sum(planned.values()) == pytest.approx(sum(figures["disk_bytes"].values()), rel=CLOSE)
    for name, size in planned.items():
        if size > 0.02 * sum(planned.values()):
            assert size == pytest.approx(figures["disk_bytes"][name], rel=CLOSE), name


@pytest.mark.skipif(not QUIET, reason="all results are of a busy machine")
@pytest.mark.parametrize("path", QUIET, ids=lambda path: path.stem)
def test_searches_and_the_build_of_the_index_take_what_was_measured(path: Path) -> None:
    figures = measured(path)
    assert search_ms(figures["logos"]) == pytest.approx(figures["search_with_parts_ms"]["mean"], rel=CLOSE)
    cpu_seconds = sum(figures["build_cpu"][name] for name in ("index_s", "parts_index_s"))
    assert index_ms(figures["logos"], Precision(figures["precision"])) == pytest.approx(
        1000 * cpu_seconds / figures["logos"], rel=CLOSE
    )


def test_requests_take_what_was_measured() -> None:
    figures = measured(RESULTS / "load_770000.json")
    planned = search_ms(figures["logos"]) + REQUEST_MS
    assert planned == pytest.approx(1000 / figures["closed_50_users"]["goodput"], rel=CLOSE)


def test_images_are_embedded_as_fast_as_was_measured() -> None:
    figures = measured(RESULTS / "encode_rate.json")
    assert pytest.approx(1000 * figures["threads"] / figures["stage_images_per_second"], rel=CLOSE) == EMBED_MS


def test_a_milvus_server_takes_the_memory_that_was_measured() -> None:
    figures = measured(RESULTS / "milvus_search_770000.json")  # of images, without parts
    files = file_bytes(figures["logos"], Precision.FLOAT32)
    held = files["index.faiss"] + files["patches.npy"] * 4 / 3
    assert MILVUS_MEMORY * held / figures["logos"] == pytest.approx(figures["server_bytes_per_image"], rel=CLOSE)


@pytest.mark.parametrize(
    ("logos", "engine", "precision", "reason"),
    [
        (3_000_000, Engine.FILES, Precision.FLOAT32, "in full precision"),
        (12_000_000, Engine.FILES, Precision.FLOAT16, "as float16, but not as float32"),
        (30_000_000, Engine.FILES, Precision.INT8, "local SSD"),
        (100_000_000, Engine.MILVUS, Precision.FLOAT32, "divides the vectors among machines"),
    ],
)
def test_the_form_is_the_most_precise_one_that_fits(
    logos: int, engine: Engine, precision: Precision, reason: str
) -> None:
    plan = estimate(logos, 200, Machine(), load_settings())
    assert (plan.engine, plan.form.precision) == (engine, precision)
    assert reason in plan.reason
    assert (plan.form.limit <= plan.machine.memory) == (engine is Engine.FILES)
    assert (plan.shards > 1) == (engine is Engine.MILVUS)


def test_machines_follow_from_the_rate_and_from_the_images() -> None:
    slow, fast = (estimate(1_000_000, rate, Machine(cores=4), load_settings()) for rate in (1, 1_000))
    assert (slow.machines, slow.embed_machines) == (1, 1)
    assert fast.cores > 1_000 * fast.search_ms / 1_000
    assert 4 * (fast.machines - 1) < fast.cores <= 4 * fast.machines
    many = estimate(10**9, 1, Machine(), load_settings())
    assert many.embed_machines > 1
    with_one_fewer = many.embed_hours * many.embed_machines / (many.embed_machines - 1)
    assert many.embed_hours <= BUILD_HOURS < with_one_fewer
    assert many.embed_hours * many.embed_machines * 16 == pytest.approx(10**9 * EMBED_MS / 3.6e6)


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *words])
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_needs_no_catalog() -> None:
    status, text = run("--logos", "100000000", "--qps", "200", "--json")
    assert status == 0
    answer = json.loads(text)
    assert (answer["logos"], answer["rate"], answer["engine"], answer["form"]) == (10**8, 200, "milvus", "float32")
    assert [form["precision"] for form in answer["forms"]] == list(Precision)
    assert answer["forms"][0]["disk"] == sum(file_bytes(10**8, Precision.FLOAT32).values())
    status, text = run("--logos", "100000000", "--cores", "64", "--memory", "600")
    assert status == 0
    assert "64 cores and 600 GB" in text
    assert "build --precision float32" in text


def test_a_catalog_and_a_number_of_logos_exclude_each_other() -> None:
    status, text = run("catalogs", "--logos", "10")
    assert status == 2
    assert "cannot be combined" in text


@pytest.mark.parametrize(("memory", "status"), [("0.1", 1), ("12", 0)])
def test_a_machine_must_hold_the_processes_of_a_service(memory: str, status: int) -> None:
    answered, text = run("--logos", "1000", "--memory", memory)
    assert answered == status
    assert ("needs 8.6 GB of memory beside the catalog, and a machine has 0.1 GB" in text) == (status == 1)
    assert ("10.2 MB" in text) == (status == 0)


@pytest.mark.parametrize("words", [("--memory", "inf"), ("--qps", "inf"), ("--qps", "1e308"), ("--qps", "nan")])
def test_numbers_without_bounds_are_refused(words: tuple[str, str]) -> None:
    status, text = run("--logos", "1000", *words)
    assert status == 2
    assert words[0] in text


def test_a_rate_needs_a_number_of_logos() -> None:
    status, text = run("--qps", "5")
    assert status == 2
    assert "needs --logos" in text


def test_every_key_of_the_json_is_documented() -> None:
    _, text = run("--logos", "1000", "--json")
    section = (RESULTS.parents[1] / "docs" / "operate.md").read_text(encoding="utf8").partition("With `--json`")[2]
    answer = json.loads(text)
    documented = set(re.findall(r"`(\w+)`", section.partition("## ")[0]))
    assert answer.keys() | answer["machine"].keys() | answer["forms"][0].keys() <= documented
