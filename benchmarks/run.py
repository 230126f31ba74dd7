"""`make bench`: every benchmark in its short form, a table of goals and figures, JSON in `benchmarks/results/`.

Fails where an answer is wrong, never because something was slow: that is for the reader of the figures to judge.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import encode_rate, request_overhead, worker_memory

Goals = tuple[tuple[str, str], ...]

BENCHMARKS: tuple[tuple[Callable[[], dict[str, object]], Goals], ...] = (
    (
        encode_rate.measure,
        (("encoder_over_bare", "at least 0.9"), ("embed_stage_over_bare", "the rest of a build's work")),
    ),
    (
        request_overhead.measure,
        (("median_ms_beyond_encoder", "at most 4"), ("metrics_over_client", "about 1")),
    ),
    (worker_memory.measure, (("four_over_one_beyond_fixed", "at most 1.3"),)),
)


def main() -> None:
    """Run them one after the other."""
    console = Console()
    table = Table("figure", "goal", "here")
    for measure, goals in BENCHMARKS:
        started = time.monotonic()
        name = measure.__module__.rpartition(".")[2]
        console.print(f"{name} ...", end=" ")
        figures = measure()
        console.print(f"{time.monotonic() - started:.0f} s")
        for figure, goal in goals:
            table.add_row(f"{name}: {figure}", goal, str(figures[figure]))
    console.print(table)


if __name__ == "__main__":
    main()
