from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logo_similarity.cpu import ThreadPlan, cgroup_quota, thread_plan, usable_cores


def cgroup(tmp_path: Path, self_cgroup: str, files: dict[str, str]) -> dict[str, Path]:
    membership = tmp_path / "self"
    membership.write_text(self_cgroup)
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {"cgroup_root": root, "self_cgroup": membership}


def test_v2_quota_of_the_own_group(tmp_path: Path) -> None:
    paths = cgroup(tmp_path, "0::/pod/app\n", {"pod/app/cpu.max": "150000 100000\n"})
    assert cgroup_quota(**paths) == 1.5


def test_v2_quota_of_a_parent_is_the_tighter_one(tmp_path: Path) -> None:
    paths = cgroup(tmp_path, "0::/pod/app\n", {"pod/app/cpu.max": "max 100000\n", "pod/cpu.max": "50000 100000\n"})
    assert cgroup_quota(**paths) == 0.5


def test_v1_quota(tmp_path: Path) -> None:
    files = {"cpu/docker/x/cpu.cfs_quota_us": "300000", "cpu/docker/x/cpu.cfs_period_us": "100000"}
    paths = cgroup(tmp_path, "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n", files)
    assert cgroup_quota(**paths) == 3.0


def test_no_quota(tmp_path: Path) -> None:
    files = {"cpu.max": "max 100000", "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert cgroup_quota(**cgroup(tmp_path, "4:cpu:/\n0::/\n", files)) is None


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert cgroup_quota(cgroup_root=tmp_path, self_cgroup=tmp_path / "missing") is None


def test_quota_limits_the_cores(tmp_path: Path) -> None:
    assert usable_cores(**cgroup(tmp_path, "0::/\n", {"cpu.max": "10000 100000"})) == 1


def test_affinity_limits_the_cores(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}}); from logo_similarity.cpu import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("cores", "plan"),
    [(1, (1, 1)), (2, (2, 1)), (3, (1, 3)), (4, (2, 2)), (8, (2, 4)), (16, (4, 4)), (7, (1, 7)), (32, (8, 4))],
)
def test_plan_uses_every_core_once(cores: int, plan: tuple[int, int]) -> None:
    assert thread_plan(cores) == ThreadPlan(*plan)
    assert plan[0] * plan[1] == cores


def test_a_fixed_number_decides_the_other() -> None:
    assert thread_plan(8, workers=4) == ThreadPlan(4, 2)
    assert thread_plan(8, threads=8) == ThreadPlan(1, 8)
    assert thread_plan(2, workers=4) == ThreadPlan(4, 1)
