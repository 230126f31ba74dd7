"""Ways to divide the cores: threads within a run or runs in parallel, one image at a time or several, spinning or not.

Images per second of the default encoder on all usable cores, and the median time of one run, in alternating rounds. Each figure
is a ratio to the plan of the service: one thread per run, as many callers as cores, one image at a time, no spinning.

    python -m benchmarks.thread_plan
"""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime

from benchmarks.machine import write_result
from logo_similarity.cpu import usable_cores
from logo_similarity.embed.model import default_model_folder, load_model

ROUNDS, SECONDS = 5, 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run the encoder."""

    intra: int
    callers: int
    batch: int
    spinning: bool = False

    def __str__(self) -> str:
        spinning = ", spinning" if self.spinning else ""
        return f"{self.callers} callers x {self.intra} threads, {self.batch} at a time{spinning}"


def plans(cores: int) -> list[Plan]:
    """All plans, the service's own first."""
    return [
        Plan(1, cores, 1),
        Plan(1, 1, 1),
        Plan(1, 4 * cores, 1),
        Plan(1, cores, 4),
        Plan(1, cores, 16),
        Plan(cores, 1, 1),
        Plan(cores, 1, 1, spinning=True),
        Plan(cores, 1, 8),
        Plan(cores, cores, 1, spinning=True),
    ]


def measure() -> dict[str, object]:
    """Run the comparison."""
    folder = default_model_folder()
    model = load_model(folder)
    spec = model.input
    image = np.random.default_rng(0).normal(size=(1, 3, spec.height, spec.width)).astype(np.float32)
    sessions = {}
    for plan in plans(usable_cores()):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = plan.intra, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(plan.spinning)))
        sessions[plan] = onnxruntime.InferenceSession(folder / model.file, options, providers=["CPUExecutionProvider"])
    rates: dict[Plan, list[float]] = {plan: [] for plan in sessions}
    runs: dict[Plan, list[float]] = {plan: [] for plan in sessions}

    def call(plan: Plan) -> int:
        batch, done, ends = np.repeat(image, plan.batch, axis=0), 0, time.perf_counter() + SECONDS
        while (started := time.perf_counter()) < ends:
            (embeddings,) = sessions[plan].run([model.outputs.embedding], {spec.name: batch})
            if embeddings.shape != (plan.batch, model.dimension):
                raise ValueError(f"{plan}: embeddings of shape {embeddings.shape}")
            runs[plan].append(time.perf_counter() - started)
            done += plan.batch
        return done

    for _ in range(ROUNDS):
        for plan in sessions:
            with ThreadPoolExecutor(plan.callers) as pool:
                rates[plan].append(sum(pool.map(call, [plan] * plan.callers)) / SECONDS)
    own = next(iter(sessions))
    base = statistics.median(rates[own])
    return write_result(
        "thread_plan",
        {
            "cores": usable_cores(),
            "images_per_second": round(base, 1),
            "plans": {
                str(plan): {
                    "throughput_over_own": round(statistics.median(rates[plan]) / base, 3),
                    "run_over_own": round(statistics.median(runs[plan]) / statistics.median(runs[own]), 3),
                }
                for plan in sessions
            },
        },
    )


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
