"""`make bench`: the benchmarks in their short form, a table of goals and figures, JSON and pictures in `benchmarks/results/`.

It measures on registers of 100,000 logos and, if that register exists (`python -m benchmarks.make_register 770000`, ten
minutes), of 770,000. It fails if an answer is wrong, never because something is slow. Only a clean commit gets results.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import (
    encode_rate,
    filters,
    index_choice,
    load,
    part_cost,
    plots,
    request_overhead,
    restart,
    search_cost,
    search_stage,
    sizing,
    thread_plan,
    words,
    worker_memory,
    worker_start,
)
from benchmarks.machine import clean_commit
from benchmarks.make_register import register_catalog, register_is_made

SMALL, LARGE = 100_000, 770_000
Goals = tuple[tuple[str, str], ...]
Figures = dict[str, object]


def benchmarks(large: int) -> tuple[tuple[str, Callable[[], Figures], Goals], ...]:
    """Name, function and goals of each benchmark, in the order in which they run."""
    return (
        (
            "encode_rate",
            lambda: encode_rate.measure(rounds=3),
            (("encoder_over_bare", "at least 0.9"), ("embed_stage_over_bare", "")),
        ),
        ("thread_plan", thread_plan.measure, (("images_per_second", ""),)),
        ("search_stage", lambda: search_stage.measure((SMALL, large)), (("p50_last_over_first", "at most 2"),)),
        (
            "filters",
            lambda: filters.measure(large),
            (
                ("highest_p99_ms_of_a_compilation", "at most 4"),
                ("lowest_recall_at_100", "at least 0.99"),
                ("highest_p99_ms_of_a_search", "at most 10"),
            ),
        ),
        (
            "part_cost",
            lambda: part_cost.measure(large),
            (("p50_ratio", "at most 1.6"), ("mapped_bytes_ratio", "at most 1.6")),
        ),
        ("words", lambda: words.measure(large), (("p99_ms", "at most 20"),)),
        ("index_choice", lambda: index_choice.measure(SMALL, index_choice.SHORT), ()),
        (
            "request_overhead",
            lambda: request_overhead.measure(logos=large),
            (("median_ms_beyond_encoder", "at most 3"), ("metrics_over_client", "about 1")),
        ),
        (
            "load_small",
            lambda: load.measure(SMALL, 6, (), ()),
            (("throughput_over_bare_loop", "without parts at least 0.65"),),
        ),
        (
            "load",
            lambda: load.measure(large, 6),
            (
                ("throughput_over_bare_loop", "without parts at least 0.65"),
                ("p99_over_50_by_throughput", "at most 1.5"),
                ("refused_at_50_users", "0"),
                ("goodput_past_capacity_over_peak", "at least 0.8"),
            ),
        ),
        (
            "worker_memory",
            lambda: worker_memory.measure(large),
            (("four_over_one_beyond_fixed", "at most 1.2"), ("four_over_one_whole", "")),
        ),
        ("sizing", lambda: sizing.measure(tuple(sorted({SMALL, large}))), (("bytes_a_logo", ""),)),
        ("worker_start", lambda: worker_start.measure(large), (("seconds_until_ready", "at most 2"),)),
        ("search_cost", lambda: search_cost.measure(rounds=1), (("cpu_ms_a_search", ""),)),
        (
            "restart",
            restart.measure,
            (("seconds_until_the_port_is_free", "at most 2"), ("seconds_of_a_trial", "at most 1")),
        ),
    )


def main() -> None:
    """Run the benchmarks one after the other."""
    console = Console()
    large = LARGE if register_is_made(LARGE) else SMALL
    if large == SMALL:
        console.print(f"no register of {LARGE:,} logos; `python -m benchmarks.make_register {LARGE}` makes it")
    register_catalog(SMALL)
    table = Table("figure", "goal", "here")
    for name, measure, goals in benchmarks(large):
        started = time.monotonic()
        console.print(f"{name} ...", end=" ")
        figures = measure()
        console.print(f"{time.monotonic() - started:.0f} s")
        for figure, goal in goals:
            table.add_row(f"{name}: {figure}", goal, str(figures[figure]))
    console.print(table)
    if clean_commit() is not None:
        for path in plots.draw():
            console.print(f"{path}")


if __name__ == "__main__":
    main()
