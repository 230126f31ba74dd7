from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logo_similarity.cli import app
from logo_similarity.config import load_settings
from logo_similarity.plan import (
    DECODER_BYTES,
    DECODER_SLACK_BYTES,
    DEFAULT_MODEL_BYTES,
    LIBRARY_BYTES,
    PICTURE_BYTES,
    WORKER_BYTES,
    decoder_limit,
    memory_limit,
    plan_service,
)
from tests.samples import SampleCatalog


def test_the_catalog_counts_once_and_the_workers_each() -> None:
    one, four = (
        plan_service(2_000_000_000, 6_000_000, 8, load_settings(workers=workers, threads=2)) for workers in (1, 4)
    )
    assert one.shared == four.shared > 2_000_000_000
    assert four.total - one.total == 3 * one.private
    assert four.limit > four.total + 4 * four.burst
    assert (four.threads.workers, four.threads.threads) == (4, 2)


def test_a_larger_encoder_takes_its_size_in_each_worker() -> None:
    small, large = (plan_service(10, size, 4, load_settings(workers=4)) for size in (6_000_000, 106_000_000))
    assert large.total - small.total == 4 * 100_000_000
    assert plan_service(10, 1_000_000, 4, load_settings(workers=4)).total == small.total  # a smaller one saves nothing


def test_the_parts_of_a_plan() -> None:
    settings = load_settings(
        workers=3, threads=2, max_inflight_bytes=50_000_000, max_upload_bytes=10_000_000,
        max_connections=100, max_head_bytes=20_000, decode_memory=300_000_000,
    )  # fmt: skip
    plan = plan_service(2_000_000_000, DEFAULT_MODEL_BYTES + 1_000_000, 8, settings)
    assert decoder_limit(300_000_000, 10_000_000) == 320_000_000 + DECODER_SLACK_BYTES
    assert plan.shared == 2_000_000_000 + LIBRARY_BYTES
    assert plan.trial == WORKER_BYTES + 1_000_000
    assert plan.private == plan.trial + 2 * DECODER_BYTES
    assert plan.burst == 50_000_000 + 100 * 20_000 + 2 * (decoder_limit(300_000_000, 10_000_000) + PICTURE_BYTES)
    assert plan.total == plan.shared + 3 * plan.private
    assert plan.limit == round(1.25 * plan.total) + 3 * plan.burst + plan.trial
    assert plan.figures() == {"workers": 3, "threads": 2} | {
        f"{name}_mb": getattr(plan, name) // 1_000_000
        for name in ("shared", "private", "burst", "trial", "total", "limit")
    }


def group(root: Path, **files: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text + "\n")


def test_the_tightest_limit_of_the_cgroup_and_its_parents_holds(tmp_path: Path) -> None:
    group(tmp_path, memory__max="max")
    group(tmp_path / "pod", memory__max="3000000000")
    group(tmp_path / "pod" / "container", memory__max="4000000000")
    (tmp_path / "self").write_text("0::/pod/container\n")
    assert memory_limit(cgroup_root=tmp_path, self_cgroup=tmp_path / "self") == 3_000_000_000


def test_limits_of_the_older_cgroups(tmp_path: Path) -> None:
    group(tmp_path / "memory" / "docker", memory__limit_in_bytes="512000000")
    group(tmp_path / "memory", memory__limit_in_bytes="9223372036854771712")  # none
    (tmp_path / "self").write_text("5:memory:/docker\n3:cpu:/docker\n")
    assert memory_limit(cgroup_root=tmp_path, self_cgroup=tmp_path / "self") == 512_000_000
    (tmp_path / "self").write_text("5:memory:/\n")
    assert memory_limit(cgroup_root=tmp_path, self_cgroup=tmp_path / "self") is None
    group(tmp_path / "memory", memory__limit_in_bytes=str(2**60))
    assert memory_limit(cgroup_root=tmp_path, self_cgroup=tmp_path / "self") is None
    group(tmp_path / "memory", memory__limit_in_bytes=str(2**60 - 1))
    assert memory_limit(cgroup_root=tmp_path, self_cgroup=tmp_path / "self") == 2**60 - 1


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *words])
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_tells_figures_and_whether_they_fit(sample_catalog: SampleCatalog) -> None:
    catalogs = str(sample_catalog.root)
    status, text = run(catalogs, "--cores", "8", "--json")
    answer = json.loads(text)
    assert status == 0
    assert (answer["logos"], answer["fits"], answer["workers"], answer["threads"]) == (200, True, 2, 4)
    assert answer["total_mb"] == pytest.approx(answer["shared_mb"] + 2 * answer["private_mb"], abs=2)
    status, text = run(catalogs, "--cores", "8")
    assert status == 0
    assert f"{answer['limit_mb']:,}" in text


@pytest.mark.parametrize(("memory", "advice"), [("2", "--workers 2"), ("0.05", "does not fit")])
def test_it_says_what_to_do_where_they_do_not_fit(sample_catalog: SampleCatalog, memory: str, advice: str) -> None:
    status, text = run(str(sample_catalog.root), "--cores", "8", "--workers", "8", "--memory", memory)
    assert status == 1
    assert advice in text
