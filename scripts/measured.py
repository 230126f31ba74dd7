"""Tables of the documentation that come from the results of benchmarks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from logo_similarity.capacity import Machine, estimate
from logo_similarity.commands.plan import estimate_rows
from logo_similarity.config import Settings
from logo_similarity.precision import Precision
from scripts.update_readme import RESULTS, processor, wrap

CAPACITY_LOGOS, CAPACITY_RATE = (10_000_000, 100_000_000, 1_000_000_000), 200


def part_cost() -> str:
    """What the parts of images cost."""
    figures, machine = _read("part_cost_770000")
    times = (
        f"{figures['p50_ms_with']} and {figures['p95_ms_with']}; without parts {figures['p50_ms_without']} and "
        f"{figures['p95_ms_without']}"
    )
    rows = [
        (
            "CPU time of a search with parts relative to one without, median",
            "at most 1.6",
            _judged(figures["p50_ratio"], 1.6),
        ),
        ("the same in ms, median and 95 of 100", "", times),
        (
            "memory-mapped files with parts relative to those without",
            "at most 1.6",
            _judged(figures["mapped_bytes_ratio"], 1.6),
        ),
    ]
    source = (
        f"Measured with `python -m benchmarks.part_cost {figures['logos']}` on an {_where(machine)}: a synthetic register "
        f"of {figures['logos']:,} logos with {figures['parts_per_image']} parts an image, searched for with samples, on one "
        "thread."
    )
    return "\n\n".join([wrap(source), table(("figure", "goal", "measured"), rows)])


def growth() -> str:
    """What registers of several sizes take, in each precision."""
    results = [json.loads(path.read_bytes()) for path in RESULTS.glob("scale_*.json")]
    results.sort(key=lambda result: (result["figures"]["logos"], list(Precision).index(result["figures"]["precision"])))
    rows = []
    for figures in (result["figures"] for result in results):
        build = figures["build"]
        rows.append(
            (
                f"{figures['logos']:,}",
                figures["precision"],
                _gigabytes(figures, "disk_bytes"),
                _gigabytes(figures, "touched_bytes"),
                f"{figures['private_bytes'] / 1e6:.0f}",
                f"{(build['index_s'] + build['parts_index_s']) / 60:.1f}",
                f"{figures['recall']['10']:.4f}, {figures['recall']['100']:.4f}",
                f"{figures['index_ms']['p50']:.2f}, {figures['index_ms']['p99']:.2f}",
                f"{figures['search_with_parts_ms']['p50']:.1f}, {figures['search_with_parts_ms']['p99']:.1f}",
            )
        )
    columns = (
        "logos",
        "precision",
        "disk, GB",
        "mapped memory, GB",
        "private, MB",
        "index built in, minutes",
        "recall@10, @100",
        "index, p50 and p99 ms",
        "search with parts, p50 and p99 ms",
    )
    processors = sorted({processor(result["machine"]) for result in results})
    commits = sorted({result["machine"]["commit"] for result in results})
    source = (
        f"Measured with `python -m benchmarks.scale` on {results[0]['machine']['usable_cores']} cores of an "
        f"{'; an '.join(processors)}, at {', '.join(commits)}; the builds shared them with other work. Times of searches "
        "are CPU time of one thread. "
        "Mapped memory is what 660 searches have touched of the files: with more searches, all of them. A number in brackets "
        "is calculated: the register was built when the patches of every precision had 8 bits for each number."
    )
    return "\n\n".join([wrap(source), table(columns, rows)])


def _gigabytes(figures: dict[str, Any], what: str) -> str:
    """The bytes of all files of a register, and if its patches had more bits than today, those of today in brackets."""
    whole, patches = sum(figures[what].values()), figures[what]["patches.npy"]
    bits, today = figures.get("patch_bits", 8), Precision(figures["precision"]).patch_bits
    calculated = "" if bits == today else f" ({(whole - patches * (1 - today / bits)) / 1e9:.2f})"
    return f"{whole / 1e9:.2f}{calculated}"


def capacity() -> str:
    """What registers of several sizes need, by the estimate of `logo-similarity plan --logos`."""
    settings = Settings()
    plans = [estimate(logos, CAPACITY_RATE, Machine(), settings) for logos in CAPACITY_LOGOS]
    files = [
        (
            f"{plan.logos:,}",
            form.precision.value,
            *(f"{size / 1e9:,.1f} GB" for size in (form.disk, form.hot, form.limit)),
        )
        for plan in plans
        for form in plan.forms
    ]
    machines = [(f"{plan.logos:,}", *(value for _, value in estimate_rows(plan)[:-1])) for plan in plans]
    columns = ("choose", "because", "a search", "cores", "machines", "embedding the images", "building the index")
    return "\n\n".join(
        [
            table(("logos", "embeddings", "disk", "always in memory", "memory of a machine"), files),
            table(("logos", *columns), machines),
        ]
    )


def filter_cost() -> str:
    """Times and recall of searches under filters, and of the counts of values."""
    figures, machine = _read("filters")
    shares, compilation = figures["search"]["shares"], figures["compilation"]
    source = (
        f"Measured with `python -m benchmarks.filters` on an {_where(machine)}, with {figures['logos']:,} logos, as CPU time of "
        "one thread. A filter passes a share of the logos: at random, or those nearest to one logo, and the query is near that "
        "logo or far from it. "
        f"Finding the logos that pass takes at most {figures['highest_p99_ms_of_a_compilation']} ms in 99 of 100 cases, "
        f"and counting the values of all fields of the logos that pass at most "
        f"{figures['highest_p99_ms_of_all_facets']} ms (goal: 15 ms); both for each of "
        f"{len(compilation['filters'])} filters. The goals of the search: recall 0.99, and 10 ms in 99 of 100 cases."
    )
    rows = [
        (
            name,
            f"{row['recall_at_100']:.4f}",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}" + (" (missed)" if row["p99_ms"] > 10 else ""),
            f"{row['exact']:.0%}".replace("%", " %"),
        )
        for name, row in shares.items()
    ]
    heads = ("logos that pass", "recall@100", "p50, ms", "p99, ms", "exact")
    return "\n\n".join([wrap(source), table(heads, rows)])


def chance_hits() -> str:
    """The mean number of hits by chance, by the size of the catalog."""
    figures, machine = _read("chance_hits")
    source = (
        f"Measured with `python -m benchmarks.chance_hits` on an {_where(machine)}, with {figures['queries']} searches: "
        "the mean number of hits of other brands at or below each `expect`."
    )
    rows = [(f"{int(size):,}", *(f"{hits:.2f}" for hits in row.values())) for size, row in figures["galleries"].items()]
    first = next(iter(figures["galleries"].values()))
    return "\n\n".join([wrap(source), table(("logos", *first), rows)])


def page_speed() -> str:
    """How soon the page shows results, and how smoothly it scrolls."""
    figures, machine = _read("page_speed")
    tile, scroll = figures["first_tile_ms"], figures["scrolling_1000_tiles"]
    rows = [
        ("from the last byte of the answer to the first tile: median, ms", "at most 150", f"{tile['p50']:.0f}"),
        ("the slowest of 20 visits, ms", "", f"{tile['worst']:.0f}"),
        ("frames a second while scrolling through 1,000 tiles", "60", f"{scroll['frames_a_second']:.0f}"),
        ("the time of 95 of 100 frames, ms", "", f"at most {scroll['p95_ms']:.0f}"),
        ("bytes of the page, compressed", "at most 150,000", f"{figures['page_bytes']:,}"),
    ]
    source = (
        f"Measured with `python -m benchmarks.page_speed` on an {_where(machine)}, in {figures['browser']} without a "
        "graphics card, which shares the cores with the service."
    )
    return "\n\n".join([wrap(source), table(("figure", "goal", "measured"), rows)])


def million() -> str:
    """The time and the disk of a build of a million records."""
    figures, machine = _read("million")
    total, run = figures["million"], figures["builds"][-1]
    text = (
        f"A build of a million records of the USPTO with images of {figures['image_side']} x {figures['image_side']} pixels "
        f"takes about {total['hours']:.1f} hours on {figures['threads']} cores: {total['reading_hours']:.1f} to read the "
        f"XML, {total['embedding_hours']:.1f} to embed the images and {total['indexing_hours']:.1f} to index them and to "
        f"write the version. The version has {total['version_gb']:.1f} GB, and until the build ends, it needs "
        f"{total['peak_gb']:.1f} GB in all, beside the {total['source_gb']:.0f} GB of the ZIP files, which are not "
        f"unpacked. This is an estimate by `python -m benchmarks.million {run['records']}`, which builds "
        f"{run['records']:,} records from XML and images in ZIP files: {run['reading_s']:.0f} s to read, "
        f"{run['embedding_s']:.0f} s to embed and {run['indexing_s']:.0f} s to index, on an {_where(machine)}."
    )
    return wrap(text)


def live_changes() -> str:
    """What live changes cost."""
    figures, machine = _read("live_changes_770000")
    times = f"{figures['p50_ms_with']}; without them {figures['p50_ms_without']}"
    rows = [
        (
            "CPU time of a search with the changes relative to one without, median",
            "at most 1.3",
            _judged(figures["p50_ratio"], 1.3),
        ),
        ("the same in ms", "", times),
        (
            "changes without an image that are stored a second, one after the other",
            "200",
            f"{figures['changes_a_second']}",
        ),
        (
            f"seconds to write {figures['changes_written_at_once']:,} changes into a segment",
            "",
            f"{figures['seconds_to_write_them_into_a_segment']}",
        ),
    ]
    source = (
        f"Measured with `python -m benchmarks.live_changes {figures['logos']}` on an {_where(machine)}: a synthetic register "
        f"of {figures['logos']:,} logos with {figures['changes']:,} changed ones in {figures['segments']} segments, on one "
        "thread; and changes of the sample logos."
    )
    return "\n\n".join([wrap(source), table(("figure", "goal", "measured"), rows)])


def cold() -> str:
    """How soon searches are fast after a reboot and after a swap."""
    figures, machine = _read_largest("cold")
    reboot, swap = figures["reboot"], figures["swap"]

    def both(what: str, goal: str, name: str) -> tuple[str, str, str, str]:
        most = float(goal.removeprefix("at most ")) if goal else float("inf")
        return what, goal, _judged(reboot[name], most, ""), _judged(swap[name], most, "")

    rows = [
        ("seconds until the service is ready, or until the new version answers", "",
         f"{reboot['seconds_until_ready']}", f"{swap['seconds_until_swapped']}"),
        both("the first search relative to the warm median", "at most 3", "first_over_warm_p50"),
        both("the same relative to warm searches with the same image", "", "first_over_same_image_warm"),
        both("seconds until the median of a second is at most 3 times the warm one", "at most 5", "seconds_until_p50_is_fast"),
        both("the same for 90 of 100 searches", "", "seconds_until_p90_is_fast"),
        both("MB that the workers read from the disk in the first 10 seconds", "", "megabytes_read_from_disk"),
        both("warm searches: median, ms", "", "warm_p50_ms"),
        ("searches from the switch to the first answer of the new version: median and 99 of 100, over the warm one", "", "",
         f"{swap['until_swapped_p50_over_warm']} and {swap['until_swapped_p99_over_warm']}"),
    ]  # fmt: skip
    disk = figures["disk"]
    source = (
        f"Measured with `python -m benchmarks.cold {figures['logos']}` on {figures['workers']} cores of an "
        f"{_where(machine)}: a service with {figures['workers']} workers, a synthetic register of {figures['logos']:,} logos "
        f"with {figures['bytes'] / 1e9:.2f} GB, and one client. The disk reads {disk['sequential_mb_per_second']:,} MB/s from "
        f"start to end, and one random page in {disk['random_page_ms']} ms. The worst of {figures['rounds']} rounds; the first "
        "line is the median."
    )
    return "\n\n".join([wrap(source), table(("figure", "goal", "reboot", "swap"), rows)])


def read_ahead() -> str:
    """Orders in which a version is read into the page cache."""
    figures, machine = _read_largest("read_ahead")
    rows = [
        (
            name,
            f"{order['seconds_until_open']:.1f}",
            f"{order['first_ms']:,.0f}",
            f"{order['searches_with_major_faults']:.0f}",
            f"{order['seconds_until_last_major_fault']:.1f}",
        )
        for name, order in figures["orders"].items()
    ]
    source = (
        f"Measured with `python -m benchmarks.read_ahead {figures['logos']}` on an {_where(machine)}, with "
        f"{figures['bytes'] / 1e9:.2f} GB on a disk that reads {figures['disk']['sequential_mb_per_second']:,} MB/s. Files "
        f"before a semicolon are read before a version is opened, those after it while it is searched. The medians of "
        f"{figures['rounds']} rounds of {figures['searches']} searches; times are from the start of the reading."
    )
    heads = (
        "files, in this order",
        "opened, s",
        "first search, ms",
        "searches that waited for the disk",
        "last of them, s",
    )
    return "\n\n".join([wrap(source), table(heads, rows)])


def metadata_stores() -> str:
    """The metadata of a page of hits from SQLite and from PostgreSQL."""
    figures, machine = _read_largest("metadata_stores")
    rows = []
    for state, words in (("warm", "in memory"), ("cold", "read from the disk, the page cache emptied before")):
        one = figures[state]
        rows.append(
            (
                words,
                f"{one['sqlite_p50_ms']}, {one['sqlite_p99_ms']}",
                f"{one['postgresql_p50_over_sqlite']} and {one['postgresql_p99_over_sqlite']} times",
            )
        )
    source = (
        f"Measured with `python -m benchmarks.metadata_stores {figures['logos']}` on an {_where(machine)}: pages of "
        f"{figures['hits_of_a_page']} random rows of {figures['logos']:,}, one client; PostgreSQL 15 by asyncpg over a Unix "
        f"socket of the same machine. A logo takes {figures['sqlite_bytes_per_logo']} bytes in `metadata.db`, with its indexes, "
        f"and {figures['postgresql_bytes_per_logo']} in PostgreSQL, with the index of its key alone."
    )
    return "\n\n".join([wrap(source), table(("rows", "SQLite: p50, p99 ms", "PostgreSQL: p50, p99"), rows)])


def ray_scaling() -> str:
    """The rate of a Ray cluster."""
    figures, machine = _read("ray_scaling")
    rows = [
        (
            words,
            f"{figures[f'{place}_images_per_second_alone']}",
            *(f"{figures[f'{place}_{workers}_workers_over_alone']:.2f}" for workers in (1, 2)),
        )
        for place, words in (("disk", "a folder"), ("s3", "a bucket on the same machine"))
    ]
    source = (
        f"Measured with `python -m benchmarks.ray_scaling --s3 s3://bucket/prefix` on {machine['usable_cores']} cores of an "
        f"{_where(machine)}, which the driver and the bucket share with the workers."
    )
    heads = ("images from", "one process with one thread: images a second", "one worker: times that", "two workers")
    return "\n\n".join([wrap(source), table(heads, rows)])


def usual() -> str:
    """The service and the usual implementation of the same plan under the same load."""
    figures, machine = _read_largest("usual")
    loads = figures["loads"]

    def row(words: str, name: str, ratio: str) -> tuple[str, ...]:
        runs = loads[name]
        goodput = sum(run["goodput"] for run in runs) / len(runs)
        return words, f"{goodput:.0f}", f"{max(run['p99_ms'] for run in runs):,.0f}", ratio

    rows = [
        row("the usual implementation", "usual", "1"),
        *(row(f"logo-similarity, {name}", name, f"{ratio}") for name, ratio in figures["over_usual"].items()),
    ]
    source = (
        f"Measured with `python -m benchmarks.usual {figures['logos']}` on one core of an {_where(machine)}: 50 users, "
        f"{figures['logos']:,} logos, each load twice for {figures['seconds']:.0f} s."
    )
    return "\n\n".join([wrap(source), table(("", "searches a second", "p99, ms", "times the usual"), rows)])


def peers() -> str:
    """The project's index beside other libraries and servers, and where these are better: each run, the smallest first."""
    return "\n\n".join(map(_peers_of, _by_size("peers")))


def _peers_of(name: str) -> str:
    figures, machine = _read(name)
    target, indexes = figures["recall_target"], figures["peers"]
    rows = [
        (
            f"{name} ({one['version']})",
            f"{one['recall']:.4f}{'' if one['recall'] >= target else ' (missed)'}, {one['ef_search']}",
            f"{one['p50_ms']:.2f}, {one['p99_ms']:.2f}",
            f"{one['p50_over_ours']:.2f}",
            f"{one['searches_per_second']:,}",
            f"{one['searches_per_second_over_ours']:.2f}",
            f"{one['build_seconds']:,.0f}",
            f"{one['disk_bytes'] / 1e6:,.0f}",
            f"{one['anonymous_bytes'] / 1e6:,.0f} + {one['mapped_bytes'] / 1e6:,.0f}",
        )
        for name, one in indexes.items()
    ]
    source = (
        f"Measured with `python -m benchmarks.peers {figures['vectors']}` on {machine['usable_cores']} cores of an "
        f"{_where(machine)}, shared with other work: {figures['vectors']:,} vectors of {figures['dimension']} dimensions, "
        f"M {figures['m']}, efConstruction {figures['ef_construction']}, the {figures['k']} nearest, the smallest efSearch "
        f"with a recall@{figures['k']} of {target}. The p50 and p99 are those of one search at a time, the searches a second "
        f"those of {figures['callers']} callers on all cores; both are medians of {figures['rounds']} rounds in turns, and "
        "so are their ratios to ours."
    )
    heads = (
        "index",
        "recall, efSearch",
        "p50, p99 ms",
        "p50 over ours",
        "searches a second",
        "searches a second over ours",
        "build, s",
        "disk, MB",
        "memory, MB: anonymous + mapped",
    )
    return "\n\n".join([wrap(source), table(heads, rows), wrap(peers_ahead(indexes))])


def peers_ahead(indexes: dict[str, dict[str, Any]]) -> str:
    """The measures in which other indexes are better than the project's."""
    (_, ours), *others = indexes.items()
    measures: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
        ("the median time of a search", lambda one: one["p50_over_ours"]),
        ("searches a second", lambda one: 1 / one["searches_per_second_over_ours"]),
        ("build time", lambda one: one["build_seconds"] / ours["build_seconds"]),
        ("disk", lambda one: one["disk_bytes"] / ours["disk_bytes"]),
        ("anonymous memory", lambda one: one["anonymous_bytes"] / ours["anonymous_bytes"]),
    )
    ahead = []
    for words, over_ours in measures:
        better = [f"{name} ({over_ours(one):.2f})" for name, one in others if over_ours(one) < 0.995]
        if better:
            ahead.append(f"{words}: {', '.join(better)}")
    if not ahead:
        return "No other index is better than ours in the median time, searches a second, build time, disk or anonymous memory."
    return f"Others are better than ours, by their cost over ours, in {'; '.join(ahead)}."


def milvus_search() -> str:
    """The search stage on a Milvus server and in mapped files."""
    figures, machine = _read_largest("milvus_search")
    rows = [
        (
            words,
            f"{one['mapped_recall']:.4f}, {one['milvus_recall']:.4f}",
            f"{one['milvus_p50_ms']}, {one['milvus_p99_ms']}",
            f"{one['milvus_p50_over_mapped']} and {one['milvus_p99_over_mapped']} times",
        )
        for words, one in (
            ("all images", figures["whole"]),
            (f"those that pass a filter, {figures['filtered']['allowed']:,}", figures["filtered"]),
        )
    ]
    source = (
        f"Measured with `python -m benchmarks.milvus_search {figures['logos']}` on an {_where(machine)}: {figures['logos']:,} "
        "logos, Milvus 2.3.5 standalone on the same machine, the same graph parameters and breadth, the 100 nearest with their "
        f"embeddings and patches. The server loads {figures['entities_loaded_per_second']:,} images a second, index included, "
        f"and needs {figures['server_bytes_per_image']:,} bytes of memory for each. Without embeddings and patches, the p50 is "
        f"{figures['milvus_p50_ms_of_the_graph']} ms. The recalls differ because the server searches each of its segments with "
        "the whole breadth."
    )
    heads = ("among", "recall@100: mapped, Milvus", "Milvus: p50, p99 ms", "over mapped files: p50, p99")
    return "\n\n".join([wrap(source), table(heads, rows)])


def _judged(value: float, at_most: float, form: str = ".2f") -> str:
    """A figure, and whether it misses its goal."""
    return f"{value:{form}}{' (missed)' if value > at_most else ''}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _read(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    result = json.loads((RESULTS / f"{name}.json").read_text())
    return result["figures"], result["machine"]


def _read_largest(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result for the most logos."""
    return _read(_by_size(name)[-1])


def _by_size(name: str) -> list[str]:
    """The names of the results for different numbers of logos."""
    stems = [path.stem for path in RESULTS.glob(f"{name}_*.json")]
    return sorted(stems, key=lambda stem: int(stem.rpartition("_")[2]))


def _where(machine: dict[str, Any]) -> str:
    return f"{processor(machine)} at commit {machine['commit']}"
