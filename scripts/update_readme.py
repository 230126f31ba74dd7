#!/usr/bin/env python3
"""Write into README.md and the model card what must not be written by hand: a real answer, the benchmarks' figures.

make demo                          # once: the answer comes from its catalog
cd benchmarks/results
logo-similarity evaluate BENCHMARK --split public --json > evaluation.json
logo-similarity evaluate BENCHMARK --split public --no-rerank --copies 0 --json > evaluation_no_rerank.json
logo-similarity evaluate BENCHMARK --split public --model fp32 --copies 0 --json > evaluation_fp32.json
python -m scripts.update_readme
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import load_settings

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
CARD = ROOT / "logo_similarity" / "models" / "default" / "README.md"
QUERY = "075d1f55"
FIGURES = {
    "mean_average_precision": "mAP",
    "recall_at_1": "R@1",
    "recall_at_10": "R@10",
    "recall_at_100": "R@100",
    "normalised_average_rank": "NAR",
}


def example() -> str:
    """A search with a sample logo, as curl asks for it, and what comes back."""
    settings = load_settings(catalogs=ROOT / "catalogs", images_dir=ROOT / "samples", log_level="error")
    query = next((ROOT / "samples" / "images").glob(f"{QUERY}*.jpg"))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client, query.open("rb") as file:
        answer = client.post("/v1/search", params={"top_k": 3}, files={"file": file}).json()
    text = json.dumps(shorten(answer), indent=2, ensure_ascii=False)
    short = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    command = f"curl -F file=@samples/images/{query.name} 'http://127.0.0.1:8000/v1/search?top_k=3'"
    return f"    {command}\n\n```json\n{short}\n```"


def figures() -> str:
    """The results of `make bench`, with the machine that they were measured on."""
    names = ("encode_rate", "search_stage", "request_overhead", "worker_memory", "worker_start", "thread_plan")
    results = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in names}
    rate, stage, request, memory, start, plan = (results[name]["figures"] for name in names)
    loads = sorted((_load(path) for path in RESULTS.glob("load_*.json")), key=lambda load: load["logos"])
    small, large = loads[0], loads[-1]
    sizes = [f"{int(size):,}" for size in stage["sizes"]]
    last = stage["sizes"][max(stage["sizes"], key=int)]
    choice = _load(max(RESULTS.glob("index_choice_*.json"), key=lambda path: int(path.stem.rpartition("_")[2])))
    times = {name: index["at_target"]["p50_ms"] for name, index in choice["indexes"].items() if index["at_target"]}
    ours = times.pop("faiss hnsw32 float32")
    best = min(("usearch float32", "hnswlib float32"), key=lambda name: times.get(name, float("inf")))
    growth = large["closed_50_users"]["goodput"] / small["closed_50_users"]["goodput"]
    others = list(plan["plans"].items())[1:]
    best_plan, best_of_plans = max(others, key=lambda item: float(item[1]["throughput_over_own"]))
    stages = ", ".join(f"{name} {value}" for name, value in request["median_ms_by_stage"].items())
    flood = large["open_loop"]["1000%"]
    machine = results["request_overhead"]["machine"]
    rows = (
        (
            (
                f"50 users on one core, {large['logos']:,} logos: searches a second over those of a bare loop of decode, encode "
                "and index search on that core"
            ),
            "0.6",
            large["throughput_over_bare_loop"],
        ),
        ("p99 of those users over 50 / throughput", "1.5", large["p99_over_50_by_throughput"]),
        ("of those users refused", "0", large["refused_at_50_users"]),
        (
            "right answers a second at 1.5 and 10 times the capacity, over the peak (the worse)",
            "0.8",
            large["goodput_past_capacity_over_peak"],
        ),
        (
            f"at 10 times the capacity: p99 of what was let in, ms, where {flood['sent']:.0f} a second came",
            "",
            flood["p99_ms"],
        ),
        (
            f"index search at {sizes[-1]} logos, k = 100, recall@100 {last['recall_at_100']}, one thread: p99 ms",
            "5",
            last["p99_ms"],
        ),
        (f"the same, median at {sizes[-1]} over that at {sizes[0]}", "2", stage["p50_last_over_first"]),
        (
            f"the better of usearch and hnswlib over ours at the same recall, {choice['logos']:,} logos ({best.split()[0]})",
            "1",
            round(times[best] / ours, 3),
        ),
        (f"searches a second at {large['logos']:,} over {small['logos']:,} logos, 50 users", "0.75", round(growth, 3)),
        (
            f"one client, {request['logos']:,} logos, top 100: median ms beyond the encoder's own run",
            "3",
            request["median_ms_beyond_encoder"],
        ),
        ("its stages, median ms", "", stages),
        (
            f"memory (PSS) of 4 workers over that of 1 at {memory['logos']:,} logos, beyond each process's fixed cost",
            "1.2",
            memory["four_over_one_beyond_fixed"],
        ),
        ("the same, processes included", "", memory["four_over_one_whole"]),
        (
            f"a worker's start at {start['logos']:,} logos, page cache warm: seconds until ready",
            "2",
            start["seconds_until_ready"],
        ),
        (
            "encoding in a build, over bare ONNX Runtime with the same model and threads",
            "0.9",
            rate["encoder_over_bare"],
        ),
        (
            "the whole embedding stage (read, decode, preprocess, encode, write) over the same",
            "",
            rate["embed_stage_over_bare"],
        ),
        (
            f"the best of eight other thread plans ({best_plan}) over the service's own, images a second",
            "",
            best_of_plans["throughput_over_own"],
        ),
    )
    table = "\n".join(f"| {what} | {goal} | {figure} |" for what, goal, figure in rows)
    pictures = "\n".join(
        f"![{path.stem.replace('_', ' ')}]({path.relative_to(ROOT)})" for path in sorted(RESULTS.glob("*.png"))
    )
    return (
        f"`make bench`, on {machine['usable_cores']} cores of an {machine['processor']} with {machine['memory_gb']} GB, shared "
        f"with other work, at commit {machine['commit']}: ratios hold better than milliseconds. Every answer that was timed was "
        "checked. Raw results: [benchmarks/results](benchmarks/results).\n\n"
        f"| what | goal | figure |\n| --- | --- | --- |\n{table}\n\n{pictures}"
    )


def _load(path: Path) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(path.read_text())["figures"]


def retrieval() -> str:
    """What the default encoder finds on the benchmark, with re-ranking and without."""
    both = [json.loads((RESULTS / f"{name}.json").read_text()) for name in ("evaluation", "evaluation_no_rerank")]
    if [one["reranked"] for one in both] != [True, False]:
        raise ValueError("evaluation.json must be re-ranked and evaluation_no_rerank.json must not")
    lines = ["| figure | re-ranked | by cosine alone |", "| --- | --- | --- |"]
    for kind, what in (("all", ""), ("hard", "HARD ")):
        for name, short in FIGURES.items():
            values = [f"{one['splits'][0]['whole'][kind][name]:.3f}" for one in both]
            lines.append(f"| {what}{short} | {' | '.join(values)} |")
    wordmarks = [next(kind for kind in one["splits"][0]["kinds"] if kind["name"] == "wordmark") for one in both]
    values = [f"{part['all']['mean_average_precision']:.3f}" for part in wordmarks]
    lines.append(f"| mAP of wordmarks | {' | '.join(values)} |")
    fp32 = json.loads((RESULTS / "evaluation_fp32.json").read_text())["splits"][0]["whole"]["all"]
    lines.append(f"| mAP of the encoder's float32 form | {fp32['mean_average_precision']:.3f} | |")
    lines += [f"| {one['change']}: the original first | {one['recall_at_1']:.3f} | |" for one in both[0]["copies"]]
    cost = json.loads((RESULTS / "encoder_cost.json").read_text())["figures"]["over_lite0_at_224"]
    shares = ", ".join(f"{name} {share}" for name, share in cost.items())
    lines.append(f"| one run on one thread, over Lite0 at 224 px in float32 | {shares} | |")
    return "\n".join(lines)


def scores() -> str:
    """Between which scores nine of ten right and wrong answers are, in the larger gallery."""
    galleries = _load(RESULTS / "score_meaning.json")["galleries"]
    logos = max(galleries, key=int)
    lines = [f"| in a gallery of {int(logos):,} logos | 5 % of the scores are under | median | 5 % are over |"]
    lines.append("| --- | --- | --- | --- |")
    for what, values in galleries[logos]["score"]["quantiles"].items():
        cells = ["(not found)" if values[place] is None else f"{values[place]:.2f}" for place in (0, 2, 4)]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shorten(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """JSON with numbers of four decimals, and without most of a link's signature."""
    if isinstance(value, dict):
        return {key: shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shorten(item) for item in value]
    if isinstance(value, float):
        return round(value, 4)
    return re.sub(r"(/v1/files/.{12})[^/]+", r"\1...", value) if isinstance(value, str) else value


def replaced(text: str, name: str, content: str) -> str:
    """`text` with `content` between the marks `<!-- name -->` and `<!-- /name -->`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def main() -> None:
    """Replace the marked parts."""
    text = README.read_text()
    text = replaced(text, "answer", example())
    text = replaced(text, "figures", figures())
    text = replaced(text, "retrieval", retrieval())
    text = replaced(text, "scores", scores())
    README.write_text(text)
    CARD.write_text(replaced(CARD.read_text(), "figures", retrieval()))


if __name__ == "__main__":
    main()
