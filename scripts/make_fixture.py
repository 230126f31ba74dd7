#!/usr/bin/env python3
"""Make the small catalog that later versions must be able to open: tests/fixtures/catalog-<format>.

It is made once for each catalog format, by the first version that writes it, and replaced only when another preprocessing
version makes it unusable. Its encoder is a tiny one (the mean colours of 64 cells), which keeps the catalog small; the
logos are samples, which are CC0. One image has three logos.

    python -m scripts.make_fixture
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.manifest import FORMAT
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
LOGOS, COPIES, QUERIES = 40, 2, 5
SIDE, CELLS = 32, 8


def write_encoder(folder: Path) -> None:
    """Write an encoder: the mean colours of 8 x 8 cells, as one embedding and as patches."""
    cell = SIDE // CELLS
    nodes = [
        helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["means"], ["embedding"], axis=1),
        helper.make_node("Transpose", ["means"], ["turned"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["turned", "cells"], ["colours"]),
        helper.make_node("Mul", ["colours", "half"], ["patches"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3 * CELLS**2]),
            helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["n", CELLS**2, 3]),
        ],
        [
            numpy_helper.from_array(np.array([-1, CELLS**2, 3], np.int64), "cells"),
            numpy_helper.from_array(np.array([0.5], np.float32), "half"),
        ],
    )
    path = folder / "cells.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    description = {
        "id": "cells",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {
            "name": "image", "width": SIDE, "height": SIDE, "crop": "content", "resize": "letterbox",
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        },
        "outputs": {"embedding": "embedding", "patches": "patches"},
        "dimension": 3 * CELLS**2,
        "rerank_weight": 0.4,
        "licence": "Apache-2.0",
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(description, indent=1))


def write_source(folder: Path) -> list[str]:
    """Write samples with metadata of every kind, copies of the first one, and a row without a picture.

    Returns the names of the pictures.
    """
    rows = json.loads((SAMPLES / "results.json").read_text())[:LOGOS]
    marks = [
        {
            "logo_id": f"XX/{number:03}",
            "filename": row["file"],
            "text": row["text"],
            "company": f"Company {number}",
            "vienna_codes": ["26.1.1", "27.05.01"][: number % 3],
            "nice_classes": [9, 42][: number % 3],
            "status": "registered",
            "office": "XX",
            "application_date": f"2020-01-{number % 28 + 1:02}",
            "us_design_codes": ["020119"],
            "mark_feature": "figurative",
            "registration_number": number,
            "more": {"number": number},
        }
        for number, row in enumerate(rows)
    ]
    marks += [{"logo_id": f"XX/copy {number}", "filename": rows[0]["file"]} for number in range(COPIES)]
    marks.append({"logo_id": "XX/none", "filename": "missing.jpg"})
    (folder / "marks.jsonl").write_text("".join(json.dumps(mark) + "\n" for mark in marks))
    return [row["file"] for row in rows]


def main() -> None:
    """Make the catalog, and record its answers to some queries."""
    catalog = ROOT / "tests" / "fixtures" / f"catalog-{FORMAT}"
    if catalog.exists():
        sys.exit(f"{catalog} exists and must not change; remove it only for a new preprocessing version")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_encoder(folder)
        files = write_source(folder)
        source = open_source(folder / "marks.jsonl", images=SAMPLES / "images")
        build_catalog(source, catalog, BuildOptions(model=folder, threads=1))
        for hidden in catalog.glob(".*"):  # the lock, and the record of the trial
            hidden.unlink()
    answers = {}
    with SearchEngine.open(catalog) as engine:
        for file in files[:QUERIES]:
            result = engine.search(Query(image=(SAMPLES / "images" / file).read_bytes(), top_k=5))
            answers[file] = [
                {
                    "id": hit.logo.logo_id,
                    "score": round(hit.score, 4),
                    "copies": hit.copies,
                    "metadata": json.loads(hit.logo.metadata_json),
                }
                for hit in result.hits
            ]
    (catalog / "answers.json").write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
