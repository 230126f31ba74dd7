"""Where results are written, and what stands beside every figure: the machine, the versions, the commit."""

from __future__ import annotations

import datetime as dt
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from logo_similarity.cpu import usable_cores

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
DATA = ROOT / "data" / "benchmarks"
# ONNX Runtime has int8 kernels for these. Each may round differently, and the scores follow.
INT8_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp")
LIBRARIES = ("faiss-cpu", "onnxruntime", "opencv-python-headless", "numpy", "fastapi", "uvicorn", "gunicorn")


def write_result(name: str, figures: dict[str, object]) -> dict[str, object]:
    """Write the figures of a benchmark to `results/<name>.json`, with the machine and the commit. Returns the figures.

    Figures of uncommitted code belong to no commit. They are not written; a line on stderr says so.
    """
    commit = clean_commit()
    if commit is None:
        print(
            f"{name}.json is not written: the work tree differs from its commit; commit the changes and run again",
            file=sys.stderr,
        )
        return figures
    content = {"figures": figures, "machine": {**describe_machine(), "commit": commit}}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    return figures


def describe_machine() -> dict[str, object]:
    """Processor, its int8 instructions, cores, memory, versions and date."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    model = next((value.strip() for key, value in facts.items() if key.strip() == "model name"), platform.machine())
    features = next((value.split() for key, value in facts.items() if key.strip() in {"flags", "Features"}), [])
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": model,
        "int8_instructions": [name for name in INT8_INSTRUCTIONS if name in features],
        "usable_cores": usable_cores(),
        "memory_gb": round(int(memory.split()[1]) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def proportional_memory(processes: Sequence[psutil.Process]) -> dict[str, int]:
    """Proportional memory (PSS) of processes: `anonymous_bytes`, and `mapped_bytes` of files and shared memory."""
    kilobytes: dict[str, int] = {}
    for process in processes:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value, *_ = line.split()
            kilobytes[name] = kilobytes.get(name, 0) + int(value)
    return {
        "anonymous_bytes": 1024 * kilobytes["Pss_Anon:"],
        "mapped_bytes": 1024 * (kilobytes["Pss_File:"] + kilobytes["Pss_Shmem:"]),
    }


def clean_commit() -> str | None:
    """The commit of the work tree; None if a file other than the results differs from it, or there is no repository."""
    changes = _git("status", "--porcelain", "--", ".", f":(exclude){RESULTS.relative_to(ROOT)}")
    return _git("describe", "--always") if changes == "" else None


def _git(*words: str) -> str | None:
    """The output of a git command in the repository; None if it failed."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
