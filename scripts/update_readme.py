#!/usr/bin/env python3
"""Write into README.md what must not be written by hand: the settings, a real answer of the API, and the benchmarks' figures.

make demo                          # once: the answer comes from its catalog
python -m scripts.update_readme
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.config import Settings, load_settings

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
QUERY = "075d1f55"


def settings_table() -> str:
    """Every setting, its default and what it does."""
    lines = ["| setting | default | |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        value = None if field.default_factory is not None else field.default
        default = "" if value in (None, ()) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
        lines.append(f"| `LOGO_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def example() -> str:
    """A search with a sample logo, as curl asks for it, and what comes back."""
    settings = load_settings(catalogs=ROOT / "catalogs", images_dir=ROOT / "samples" / "images", log_level="error")
    query = next((ROOT / "samples" / "images").glob(f"{QUERY}*.jpg"))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client, query.open("rb") as file:
        answer = client.post("/v1/search", params={"top_k": 3}, files={"file": file}).json()
    text = json.dumps(_shorten(answer), indent=2, ensure_ascii=False)
    short = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    command = f"curl -F file=@samples/images/{query.name} 'http://127.0.0.1:8000/v1/search?top_k=3'"
    return f"    {command}\n\n```json\n{short}\n```"


def figures() -> str:
    """The results of `make bench`, with the machine that they were measured on."""
    encode, request, memory = (
        json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("encode_rate", "request_overhead", "worker_memory")
    )
    rate, overhead, pss = (result["figures"] for result in (encode, request, memory))
    stages = ", ".join(f"{stage} {value}" for stage, value in overhead["median_ms_by_stage"].items())
    machine = request["machine"]
    rows = {
        "encoding in a build, over bare ONNX Runtime with the same model and threads": rate["encoder_over_bare"],
        "the whole embedding stage (read, decode, preprocess, encode, write) over the same": rate[
            "embed_stage_over_bare"
        ],
        f"one request against {overhead['logos']:,} logos, top 100, beyond the encoder's own run: median ms": overhead[
            "median_ms_beyond_encoder"
        ],
        "the same as a mean, by `/metrics`": overhead["mean_ms_beyond_encoder_by_metrics"],
        "its stages, median ms": stages,
        "memory (PSS) of 4 workers over that of 1, beyond each process's fixed cost": pss["four_over_one_beyond_fixed"],
    }
    return (
        f"`make bench`, on {machine['usable_cores']} cores of an {machine['processor']} with {machine['memory_gb']} GB, shared "
        "with other work: ratios hold better than milliseconds. Raw results: [benchmarks/results](benchmarks/results).\n\n"
        "| what | figure |\n| --- | --- |\n" + "\n".join(f"| {what} | {figure} |" for what, figure in rows.items())
    )


def _shorten(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
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
    text = replaced(text, "settings", settings_table())
    text = replaced(text, "answer", example())
    text = replaced(text, "figures", figures())
    README.write_text(text)


if __name__ == "__main__":
    main()
