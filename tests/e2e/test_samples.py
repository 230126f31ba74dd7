"""What the engine promises of its samples: they are found by their own picture, and by a worse copy of it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from logo_similarity.build.catalog import build_catalog
from logo_similarity.build.options import BuildOptions
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Query
from logo_similarity.engine import SearchEngine

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.slow
def test_samples_are_found(tmp_path: Path) -> None:
    result = build_catalog(open_source(SAMPLES), tmp_path, BuildOptions(threads=2))
    names = [row["file"] for row in json.loads((SAMPLES / "results.json").read_text())]
    assert result.manifest.count == len(names) >= 2_000
    missed, missed_at_60 = [], []
    with SearchEngine.open(tmp_path) as engine:
        for name in names[::8]:
            data = (SAMPLES / "images" / name).read_bytes()
            best = engine.search(Query(image=data, top_k=1)).hits[0]
            if best.logo.record.filename != name or best.score < 0.999:
                missed.append(name)
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            copy = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()
            if engine.search(Query(image=copy, top_k=1)).hits[0].logo.record.filename != name:
                missed_at_60.append(name)
    assert missed == []
    assert len(missed_at_60) <= 0.005 * len(names[::8])
