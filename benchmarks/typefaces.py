"""Words in other typefaces: how often an encoder finds the same word, set in another font, before other words.

300 invented words, each in three of the 60 fonts of `benchmarks/data/fonts.csv` that nothing is learned from, make 900
pictures. Each is searched for among the others, by its embedding alone.

    python -m benchmarks.typefaces [--model FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageFont

from benchmarks.machine import write_result
from benchmarks.render_icons import NPM_CACHE
from benchmarks.set_words import LETTER_HEIGHT, choose, draw, read_fonts
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import model_folder
from logo_similarity.evaluation.evaluate import rank_all
from logo_similarity.evaluation.features import Features
from logo_similarity.evaluation.ranking import LabelledQuery, mean_figures
from logo_similarity.image.preprocess import preprocess

WORDS, SEED = 300, 1
"""The seed is not that of the training set."""


def measure(model: Path | None = None) -> dict[str, object]:
    """Set the words and search for them."""
    encoder = Encoder.open(model_folder(model), device="cpu", threads=1)
    faces = {name: ImageFont.truetype(file, LETTER_HEIGHT) for name, file in read_fonts(NPM_CACHE, "measure").items()}
    chosen = choose(WORDS, list(faces), SEED)
    pictures = [cv2.cvtColor(draw(one.word, faces[one.font]), cv2.COLOR_BGR2RGB) for one in chosen]
    spec = encoder.model.input_spec
    embeddings = np.concatenate([encoder.infer(preprocess(picture, spec)[np.newaxis]) for picture in pictures])
    words = np.array([one.word for one in chosen])
    queries = [
        LabelledQuery(row, same[same != row], np.empty(0, np.int64))
        for row, same in enumerate(np.flatnonzero(words == word) for word in words)
    ]
    figures = mean_figures(rank_all(queries, Features(embeddings)))
    assert figures is not None
    return {
        "encoder": encoder.model.id,
        "words": WORDS,
        "fonts": len(faces),
        "map": round(figures.mean_average_precision, 4),
        "recall_at_1": round(figures.recall_at_1, 4),
        "recall_at_10": round(figures.recall_at_10, 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="another encoder's folder; its result is printed, not kept")
    chosen_model = parser.parse_args().model
    print(write_result("typefaces", measure()) if chosen_model is None else measure(chosen_model))
