#!/usr/bin/env python3
"""Write the generated blocks of README.md, of the evaluation and performance pages, and of the model card.

make demo                          # once: the example answer comes from its catalog
make bench                         # for new figures of speed and memory
cd benchmarks/results              # for new figures of retrieval
logo-similarity evaluate BENCHMARK --split public --json > evaluation.json
logo-similarity evaluate BENCHMARK --split public --no-rerank --copies 0 --json > evaluation_no_rerank.json
logo-similarity evaluate BENCHMARK --split public --model fp32 --copies 0 --json > evaluation_fp32.json
python -m scripts.update_readme
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.service import Client, running

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EVALUATION = ROOT / "docs" / "evaluation.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
CARD = ROOT / "logo_similarity" / "models" / "default" / "README.md"
SAMPLES = ROOT / "samples"
QUERY = "075d1f55"
"""Start of the id of a mark that both sample sets drew."""
WARM_UP = 20
"""Searches before the example: the first ones of a service are slower."""
LINE = 118
"""Characters in a line of the example answer."""
FIGURES = {
    "mean_average_precision": "mAP",
    "recall_at_1": "R@1",
    "recall_at_10": "R@10",
    "recall_at_100": "R@100",
    "normalised_average_rank": "NAR",
}


SHOWN_FIELDS = 2
"""Fields of the catalog that the example shows."""


def answer() -> str:
    """A search with a sample logo as a curl command, and the JSON that a real service returns, without empty metadata."""
    images = sorted((SAMPLES / "images").glob("*.jpg"))
    query = next(path for path in images if path.name.startswith(QUERY))
    with running(ROOT / "catalogs", workers=1, threads=1, cores=None, images=SAMPLES) as service:
        client = Client(service)
        for image in (*images[:WARM_UP], query):
            _, response = client.search(image, top_k=1)
    shown = json.loads(json.dumps(response).replace(f"127.0.0.1:{service.port}/", "127.0.0.1:8000/"))
    command = f"curl -F file=@samples/images/{query.name} 'http://127.0.0.1:8000/v1/search?top_k=1'"
    fields = shown["catalog"]["fields"]
    shown["catalog"]["fields"] = [*fields[:SHOWN_FIELDS], f"... {len(fields) - SHOWN_FIELDS} more"]
    return f"    {command}\n\n```json\n{compact(without_empty_metadata(shorten(shown)))}\n```"


def headline() -> str:
    """The figures that the README shows, and how many goals are missed."""
    evaluation = json.loads((RESULTS / "evaluation.json").read_text())
    whole = evaluation["splits"][0]["whole"]
    copies = [change["recall_at_1"] for change in evaluation["copies"]]
    load, stage, memory = _loads()[-1], _load("search_stage"), _load("worker_memory")
    logos = f"{load['logos']:,}"
    crowd = load["closed_50_users"]
    largest = stage["sizes"][max(stage["sizes"], key=int)]
    rows = (
        (
            f"another drawing of the same brand is the first hit, among {evaluation['pictures']:,} logos",
            f"{whole['all']['recall_at_1']:.1%}",
        ),
        ("the same, without drawings that look alike at a glance", f"{whole['hard']['recall_at_1']:.1%}"),
        (
            "the original is the first hit for a recoloured, turned, covered or otherwise changed copy",
            f"{min(copies):.0%} to {max(copies):.0%}, by the kind of change",
        ),
        (
            f"one search of {logos} logos over HTTP, one client",
            f"{load['closed_other_users']['1']['p50_ms']} ms (median)",
        ),
        (
            f"50 clients, {logos} logos, one core",
            f"{crowd['goodput']:.0f} searches per second, {crowd['p99_ms']:.0f} ms (p99)",
        ),
        (
            f"index search alone at recall@100 {largest['recall_at_100']:.3f}, one thread",
            f"{largest['p99_ms']:.1f} ms (p99)",
        ),
        (f"memory of 4 workers, {logos} logos", f"{memory['pss_mb']['4'] / 1000:.1f} GB"),
    )
    goals = [figure for figure in speed_figures() if figure.goal]
    missed = sum(figure.missed for figure in goals)
    machine = _machine("request_overhead")
    text = (
        f"Speed and memory were measured on {machine['usable_cores']} cores of an {processor(machine)}, shared with "
        "other work, and a synthetic register of that size. "
        f"{missed} of the {len(goals)} goals in [the table](docs/performance.md#figures) are missed: "
        "[which, and why](docs/performance.md#missed-goals)."
    )
    return _table(("figure", ""), rows) + "\n\n" + wrap(text)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table of speed and memory."""

    what: str
    value: float | str
    at_least: float | None = None
    at_most: float | None = None
    reason: str = "the cause is not established"
    """Why the goal is missed, if it is."""

    @property
    def goal(self) -> str:
        """The goal in words, empty if there is none."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def missed(self) -> bool:
        """Whether the figure does not reach its goal."""
        too_low = self.at_least is not None and float(self.value) < self.at_least
        return too_low or (self.at_most is not None and float(self.value) > self.at_most)


def speed_figures() -> tuple[Figure, ...]:
    """The results of `make bench`."""
    rate, stage, request = _load("encode_rate"), _load("search_stage"), _load("request_overhead")
    memory, start, plan = _load("worker_memory"), _load("worker_start"), _load("thread_plan")
    loads = _loads()
    small, large = loads[0], loads[-1]
    sizes = sorted(stage["sizes"], key=int)
    last = stage["sizes"][sizes[-1]]
    flood = large["open_loop"]["1000%"]
    logos = f"{large['logos']:,} logos"
    choice = json.loads(
        max(RESULTS.glob("index_choice_*.json"), key=lambda path: int(path.stem.rpartition("_")[2])).read_text()
    )["figures"]
    medians = {name: index["at_target"]["p50_ms"] for name, index in choice["indexes"].items() if index["at_target"]}
    own = medians["faiss hnsw32 float32"]
    best = min(("usearch float32", "hnswlib float32"), key=lambda name: medians.get(name, float("inf")))
    library = best.split()[0]
    best_plan, others = max(list(plan["plans"].items())[1:], key=lambda item: float(item[1]["throughput_over_own"]))
    return (
        Figure(
            f"50 users, one core, {logos}, without parts: searches per second relative to a bare loop of decode, encode and "
            "index search on that core",
            large["throughput_over_bare_loop"]["without parts"],
            at_least=0.65,
            reason=_throughput_reason(request, large),
        ),
        Figure(
            "the same, without re-ranking",
            large["throughput_over_bare_loop"]["without parts and re-ranking"],
            at_least=0.75,
            reason="as above, but for the re-ranking",
        ),
        Figure(
            "the same, with parts and re-ranking, as searches are by default", large["throughput_over_bare_loop"]["all"]
        ),
        Figure(
            "50 users, with parts: p99 relative to 50 / throughput", large["p99_over_50_by_throughput"], at_most=1.5
        ),
        Figure("the same: refused requests", large["refused_at_50_users"], at_most=0),
        Figure(
            "goodput at 1.5 and at 10 times the capacity, the lower of both, relative to the peak",
            large["goodput_past_capacity_over_peak"],
            at_least=0.8,
        ),
        Figure(
            f"10 times the capacity ({flood['sent']:.0f} requests per second sent): p99 of the answered ones, ms",
            flood["p99_ms"],
        ),
        Figure(
            f"index search, {int(sizes[-1]):,} logos, k = 100, recall@100 {last['recall_at_100']}, one thread: p99, ms",
            last["p99_ms"],
            at_most=5,
        ),
        Figure(
            f"the same: median relative to that at {int(sizes[0]):,} logos", stage["p50_last_over_first"], at_most=2
        ),
        Figure(
            f"median of the faster of usearch and hnswlib ({library}) relative to ours, equal recall, "
            f"{choice['logos']:,} logos",
            round(medians[best] / own, 3),
            at_least=1,
            reason=f"FAISS searches the memory-mapped file that all workers share, {library} its own memory. Whether "
            "this explains the difference is not established",
        ),
        Figure(
            f"searches per second with 50 users, {large['logos']:,} relative to {small['logos']:,} logos",
            round(large["closed_50_users"]["goodput"] / small["closed_50_users"]["goodput"], 3),
            at_least=0.75,
        ),
        Figure(
            f"one client, {request['logos']:,} logos, top 100, without parts: median beyond the encoder's run, ms",
            request["median_ms_beyond_encoder"],
            at_most=3,
            reason=_request_reason(request),
        ),
        Figure(
            "the same relative to the sum of decoding, preprocessing and the search of the index, each alone",
            request["median_beyond_encoder_over_bare_stages"],
            at_most=1.6,
            reason=_request_reason(request),
        ),
        Figure(
            "the same: median of each stage, ms",
            ", ".join(f"{name} {value}" for name, value in request["median_ms_by_stage"].items()),
        ),
        Figure(
            f"memory (PSS) of 4 workers relative to 1, {memory['logos']:,} logos, without each process's fixed cost",
            memory["four_over_one_beyond_fixed"],
            at_most=1.2,
        ),
        Figure("the same, with the fixed cost", memory["four_over_one_whole"]),
        Figure(
            f"start of a worker, {start['logos']:,} logos, page cache warm: seconds until ready",
            start["seconds_until_ready"],
            at_most=2,
        ),
        Figure(
            "encoding in a build relative to bare ONNX Runtime with the same model and threads",
            rate["encoder_over_bare"],
            at_least=0.9,
        ),
        Figure(
            "runs of the encoder in the whole embedding stage (read, decode, find parts, encode, write) relative to the same",
            rate["embed_stage_over_bare"],
        ),
        Figure(
            f"images per second of the best of eight other thread plans ({best_plan}) relative to the service's own",
            others["throughput_over_own"],
        ),
    )


def _throughput_reason(request: dict[str, Any], load: dict[str, Any]) -> str:
    """How much of a request is outside the bare loop, by the medians of `benchmarks.request_overhead`."""
    stages = request["median_ms_by_stage"]
    inside = sum(stages[name] for name in ("decode", "preprocess", "embed", "search"))
    whole = sum(stages.values()) + request["median_ms_outside_the_stages"]
    return (
        f"the bare loop has no HTTP, re-ranking, metadata and links. With one client these take {whole - inside:.1f} of "
        f"{whole:.1f} ms, which limits the ratio to {inside / whole:.2f}. The remaining difference is not explained: the "
        f"stages that both have take {inside:.1f} ms in the service and {1000 / load['bare_loop_per_second']:.1f} ms in "
        "the bare loop"
    )


def _request_reason(request: dict[str, Any]) -> str:
    """The largest parts of a request besides the encoder."""
    parts = {name: value for name, value in request["median_ms_by_stage"].items() if name != "embed"}
    parts["HTTP and the client"] = request["median_ms_outside_the_stages"]
    largest = sorted(parts.items(), key=lambda item: -item[1])[:4]
    return "the sum of many parts; the largest are " + ", ".join(f"{name} {value:.1f} ms" for name, value in largest)


def figures() -> str:
    """The table of speed and memory, the missed goals with their reasons, and the plots."""
    machine = _machine("request_overhead")
    source = (
        f"Measured by `make bench` on {machine['usable_cores']} cores of an {processor(machine)} with "
        f"{machine['memory_gb']} GB, shared with other work, at commit {machine['commit']}. Ratios are more reliable than "
        "milliseconds. Every answer was checked. Raw results: [benchmarks/results](../benchmarks/results)."
    )
    measured = speed_figures()
    rows = [(one.what, one.goal, f"{one.value}{' (missed)' if one.missed else ''}") for one in measured]
    reasons = "\n".join(
        wrap(f"- **{one.what}** ({one.value}, {one.goal}): {one.reason}.", "  ") for one in measured if one.missed
    )
    plots = "\n".join(
        f"![{path.stem.replace('_', ' ')}](../{path.relative_to(ROOT)})" for path in sorted(RESULTS.glob("*.png"))
    )
    table = _table(("figure", "goal", "measured"), rows)
    return f"{wrap(source)}\n\n{table}\n\n### Missed goals\n\n{reasons or 'None.'}\n\n### Plots\n\n{plots}"


def retrieval() -> str:
    """The retrieval figures of the default encoder on the benchmark, with re-ranking and without."""
    both = [json.loads((RESULTS / f"{name}.json").read_text()) for name in ("evaluation", "evaluation_no_rerank")]
    if [one["reranked"] for one in both] != [True, False]:
        raise ValueError("evaluation.json must be re-ranked and evaluation_no_rerank.json must not")
    rows = []
    for kind, prefix in (("all", ""), ("hard", "HARD ")):
        for name, short in FIGURES.items():
            rows.append((f"{prefix}{short}", *(f"{one['splits'][0]['whole'][kind][name]:.3f}" for one in both)))
    answerable = [one["splits"][0]["answerable"] for one in both]
    rows += [
        (f"{prefix}{FIGURES[name]}, answerable queries", *(f"{part[kind][name]:.3f}" for part in answerable))
        for kind, prefix in (("all", ""), ("hard", "HARD "))
        for name in ("mean_average_precision", "recall_at_10", "normalised_average_rank")
    ]
    wordmarks = [next(kind for kind in one["splits"][0]["kinds"] if kind["name"] == "wordmark") for one in both]
    rows.append(("mAP of wordmarks", *(f"{part['all']['mean_average_precision']:.3f}" for part in wordmarks)))
    fp32 = json.loads((RESULTS / "evaluation_fp32.json").read_text())["splits"][0]["whole"]["all"]
    rows.append(("mAP of the float32 encoder", f"{fp32['mean_average_precision']:.3f}", ""))
    typefaces = _load("typefaces")
    rows += [
        (f"{short} of invented words in other typefaces", "", f"{typefaces[name]:.3f}")
        for name, short in (("map", "mAP"), ("recall_at_1", "R@1"), ("recall_at_10", "R@10"))
    ]
    rows += [(f"R@1 of copies: {one['change']}", f"{one['recall_at_1']:.3f}", "") for one in both[0]["copies"]]
    rows += [(f"R@1 of scans: {one['change']}", f"{one['recall_at_1']:.3f}", "") for one in both[0]["scans"]]
    for one in both[0]["composites"]:
        rows += [
            (
                f"R@1 of composites, the mark finds it: {one['composite']}",
                _recall_at_1(one["mark_finds_composite"]),
                "",
            ),
            (
                f"R@1 of composites, it finds the mark: {one['composite']}",
                _recall_at_1(one["composite_finds_mark"]),
                "",
            ),
        ]
    for band in both[0]["bands"]:
        rows.append((f"precision of hits in the band {band['band']}", f"{band['precision']:.3f}", ""))
    for one in both[0]["chance_hits"]:
        rows.append((f"hits by chance where `expect` is at most {one['expect']:g}", f"{one['hits']:.2f}", ""))
    for name, share in _load("encoder_cost")["over_lite0_at_224"].items():
        rows.append(
            (f"time of one run of {name} on one thread, relative to Lite0 at 224 px in float32", f"{share}", "")
        )
    return _table(("figure", "re-ranked", "cosine only"), rows)


def _recall_at_1(recalls: dict[str, float]) -> str:
    return f"{recalls['recall_at_1']:.3f}"


def scores() -> str:
    """The median scores of right and wrong hits in the larger gallery."""
    galleries = _load("score_meaning")["galleries"]
    logos = max(galleries, key=int)
    quantiles = galleries[logos]["score"]["quantiles"]
    rows = [(what, f"{values[2]:.2f}") for what, values in quantiles.items()]
    return _table(("hit", f"median score among {int(logos):,} logos"), rows)


def shorten(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON with numbers of four digits, and without most of a signature or a cursor."""
    if isinstance(value, dict):
        return {key: shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shorten(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return re.sub(r"(/v1/files/.{12})[^/]+|(^\S{24})\S{200,}$", r"\1\2...", value) if isinstance(value, str) else value


def without_empty_metadata(response: dict[str, Any]) -> dict[str, Any]:
    """An answer without the metadata that is null or empty."""
    hits = [
        {**hit, "metadata": {name: value for name, value in hit["metadata"].items() if value not in (None, [], {})}}
        for hit in response["results"]
    ]
    return {**response, "results": hits}


def compact(value: Any, column: int = 0, indent: int = 0) -> str:  # noqa: ANN401 - any JSON
    """JSON in few lines: an object or array on one line if it fits behind `column`, and short items side by side."""
    line = json.dumps(value, ensure_ascii=False)
    if column + len(line) <= LINE or not isinstance(value, dict | list):
        return line
    inner = " " * (indent + 2)
    if isinstance(value, list):
        opening, closing, keys, values = "[", "]", [""] * len(value), value
    else:
        opening, closing, keys, values = "{", "}", [f"{json.dumps(key)}: " for key in value], list(value.values())
    lines: list[str] = []
    for key, item in zip(keys, values, strict=True):
        text = key + compact(item, len(inner + key), indent + 2)
        if lines and "\n" not in lines[-1] + text and len(lines[-1] + text) + 3 <= LINE:
            lines[-1] += f", {text}"
        else:
            lines.append(inner + text)
    body = ",\n".join(lines)
    return f"{opening}\n{body}\n{' ' * indent}{closing}"


def wrap(text: str, indent: str = "") -> str:
    """Prose in lines of at most 118 characters; `indent` before every line but the first."""
    return textwrap.fill(text, 118, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def replaced(text: str, name: str, content: str) -> str:
    """`text` with `content` between the marks `<!-- name -->` and `<!-- /name -->`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def processor(machine: dict[str, Any]) -> str:
    """Its name and its int8 instructions, on which scores depend; results of older versions lack the instructions."""
    instructions = machine.get("int8_instructions")
    return f"{machine['processor']} ({', '.join(instructions)})" if instructions else str(machine["processor"])


def _load(name: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads((RESULTS / f"{name}.json").read_text())["figures"]


def _machine(name: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads((RESULTS / f"{name}.json").read_text())["machine"]


def _loads() -> list[Any]:
    """The figures of `benchmarks.load`, the smallest register first."""
    return sorted((_load(path.stem) for path in RESULTS.glob("load_*.json")), key=lambda load: int(load["logos"]))


def write(path: Path, **blocks: str) -> None:
    """Replace generated blocks of one file."""
    text = path.read_text()
    for name, content in blocks.items():
        text = replaced(text, name, content)
    path.write_text(text)


def main() -> None:
    """Replace all of them."""
    write(README, answer=answer(), headline=headline(), scores=scores())
    write(EVALUATION, retrieval=retrieval())
    write(PERFORMANCE, figures=figures())
    write(CARD, figures=retrieval())


if __name__ == "__main__":
    main()
