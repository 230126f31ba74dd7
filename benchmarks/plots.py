"""Draws the results as pictures in `benchmarks/results/`.

python -m benchmarks.plots
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.machine import RESULTS
from logo_similarity.precision import Precision

mpl.use("Agg")


def draw() -> list[Path]:
    """Draw the results. Returns the files."""
    drawings = {
        "recall_against_latency": _recall_against_latency,
        "latency_against_users": _latency_against_users,
        "memory_against_workers": _memory_against_workers,
        "growth": _growth,
        "scale": _scale,
    }
    made = []
    for name, drawing in drawings.items():
        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        drawing(axes)
        made.append(RESULTS / f"{name}.png")
        figure.savefig(made[-1], dpi=110)
        plt.close(figure)
    return made


def _figures(pattern: str) -> list[dict[str, Any]]:
    """Figures of all results of that name, the smallest register first."""
    results = [json.loads(path.read_bytes())["figures"] for path in RESULTS.glob(f"{pattern}.json")]
    return sorted(results, key=lambda figures: figures.get("logos", 0))


def _recall_against_latency(axes: Any) -> None:  # noqa: ANN401 - matplotlib's axes
    last = _figures("index_choice_*")[-1]
    for name, index in last["indexes"].items():
        points = index["curve"]
        axes.plot([point["p50_ms"] for point in points], [point["recall"] for point in points], marker=".", label=name)
    axes.set(xlabel="median ms of a search, one thread", ylabel="recall@100", title=f"{last['logos']:,} logos")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def _latency_against_users(axes: Any) -> None:  # noqa: ANN401
    for figures in _figures("load_*"):
        loads = {50: figures["closed_50_users"], **{int(n): load for n, load in figures["closed_other_users"].items()}}
        users = sorted(loads)
        for name, style in (("p50_ms", "-"), ("p99_ms", "--")):
            label = f"{figures['logos']:,} logos, {name.removesuffix('_ms')}"
            axes.plot(users, [loads[count][name] for count in users], style, marker=".", label=label)
    axes.set(xlabel="users, each with one search at a time", ylabel="ms", title="one core for the service")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def _memory_against_workers(axes: Any) -> None:  # noqa: ANN401
    figures = _figures("worker_memory")[-1]
    workers = sorted(map(int, figures["pss_mb"]))
    fixed = [figures["fixed_mb"][str(count)] for count in workers]
    catalog = [figures["beyond_fixed_mb"][str(count)] for count in workers]
    places = [str(count) for count in workers]
    axes.bar(places, catalog, label="the catalog, shared")
    axes.bar(places, fixed, bottom=catalog, label="the processes")
    axes.set(xlabel="workers", ylabel="PSS, MB", title=f"{figures['logos']:,} logos")
    axes.legend(fontsize=7)


def _growth(axes: Any) -> None:  # noqa: ANN401
    stage, loads = _figures("search_stage")[-1]["sizes"], _figures("load_*")
    sizes = sorted(stage, key=int)
    axes.plot(
        [int(size) for size in sizes], [stage[size]["p50_ms"] for size in sizes], marker="o", label="search, p50 ms"
    )
    axes.plot(
        [int(size) for size in sizes], [stage[size]["p99_ms"] for size in sizes], marker="o", label="search, p99 ms"
    )
    axes.set(xlabel="logos", ylabel="ms", ylim=(0, 1.2 * max(point["p99_ms"] for point in stage.values())))
    right = axes.twinx()
    right.plot(
        [load["logos"] for load in loads], [load["closed_50_users"]["goodput"] for load in loads], "k--", marker="s",
        label="searches a second, 50 users",
    )  # fmt: skip
    most = max(load["closed_50_users"]["goodput"] for load in loads)
    right.set(ylabel="searches a second", ylim=(0, 1.2 * most))
    lines = [*axes.get_lines(), *right.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], fontsize=7, loc="lower right")


def _scale(axes: Any) -> None:  # noqa: ANN401
    figures = _figures("scale_*")
    right = axes.twinx()
    for colour, precision in zip(("C0", "C1", "C2"), Precision, strict=True):
        one = [each for each in figures if each["precision"] == precision]
        sizes = [each["logos"] for each in one]
        axes.plot(
            sizes, [sum(each["touched_bytes"].values()) / 1e9 for each in one], color=colour, marker="o",
            label=f"{precision}: mapped memory, GB",
        )  # fmt: skip
        right.plot(
            sizes, [each["search_with_parts_ms"]["p50"] for each in one], "--", color=colour, marker="s",
            label=f"{precision}: search with parts, p50 ms",
        )  # fmt: skip
    axes.set(xlabel="logos", ylabel="GB", xscale="log", ylim=(0, None))
    right.set(ylabel="CPU ms", ylim=(0, None))
    lines = [*axes.get_lines(), *right.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], fontsize=7, loc="center left")


if __name__ == "__main__":
    for path in draw():
        print(path)
