"""What is written beside every figure: the machine, the versions, the commit; and where results go."""

from __future__ import annotations

import datetime as dt
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from logo_similarity.cpu import usable_cores

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
DATA = ROOT / "data" / "benchmarks"
# Those that ONNX Runtime has int8 kernels for; the kernels may round differently, and with them the scores.
INT8_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp")
LIBRARIES = ("faiss-cpu", "onnxruntime", "opencv-python-headless", "numpy", "fastapi", "uvicorn", "gunicorn")


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, versions, commit and date."""
    facts = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    model = next((value.strip() for key, value in facts.items() if key.strip() == "model name"), platform.machine())
    features = next((value.split() for key, value in facts.items() if key.strip() in {"flags", "Features"}), [])
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "processor": model,
        "int8_instructions": [name for name in INT8_INSTRUCTIONS if name in features],
        "usable_cores": usable_cores(),
        "memory_gb": round(int(memory.split()[1]) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "commit": commit.stdout.strip(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def write_result(name: str, figures: dict[str, object]) -> dict[str, object]:
    """Keep the figures of a benchmark in `results/<name>.json`, with the machine. Returns the figures."""
    RESULTS.mkdir(exist_ok=True)
    content = {"figures": figures, "machine": describe_machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    return figures
