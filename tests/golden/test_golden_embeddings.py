"""The default encoder gives today what it gave when it was exported, through the whole path from a file's bytes.

After a change that is meant to alter embeddings (another model, another preprocessing version), write the new ones with
`python -m tests.golden.test_golden_embeddings` and say so in the changelog: older catalogs do not fit any more.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import default_model_folder
from logo_similarity.image.decode import decode
from tests.pictures import embed

GOLDEN = Path(__file__).with_name("embeddings.json")
SHOWN = 32


def drawings() -> dict[str, NDArray[np.uint8]]:
    """Three simple marks, BGR."""
    ring = np.full((200, 260, 3), 255, np.uint8)
    cv2.circle(ring, (130, 100), 70, (30, 60, 200), 22)
    bars = np.full((256, 256, 3), (80, 40, 20), np.uint8)
    for number in range(4):
        cv2.rectangle(bars, (40 + 48 * number, 200 - 40 * number), (70 + 48 * number, 210), (240, 240, 240), -1)
    word = np.full((120, 400, 3), 255, np.uint8)
    cv2.putText(word, "Logo", (30, 90), cv2.FONT_HERSHEY_DUPLEX, 3, (0, 0, 0), 6)
    return {"ring": ring, "bars": bars, "word": word}


def encode(encoder: Encoder, drawing: NDArray[np.uint8], extension: str = ".png") -> NDArray[np.float32]:
    data = cv2.imencode(extension, drawing)[1].tobytes()
    return np.asarray(embed(encoder, [decode(data)])[0])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.open(default_model_folder(), device="cpu")


@pytest.mark.parametrize("name", drawings())
def test_embedding_is_the_golden_one(encoder: Encoder, name: str) -> None:
    expected = np.array(json.loads(GOLDEN.read_text())[name], np.float32)
    # Other processors round differently in the last bits; a changed pixel rule shows in the second digit.
    np.testing.assert_allclose(encode(encoder, drawings()[name])[:SHOWN], expected, atol=2e-3)


@pytest.mark.parametrize("name", drawings())
def test_variants_stay_close_and_others_far(encoder: Encoder, name: str) -> None:
    original = encode(encoder, drawings()[name])
    drawing = drawings()[name]
    border = drawing[0, 0].tolist()
    padded = cv2.copyMakeBorder(drawing, 60, 10, 5, 90, cv2.BORDER_CONSTANT, value=border)
    assert encode(encoder, drawing, ".jpg") @ original > 0.9
    assert encode(encoder, padded) @ original > 0.98
    grey = cv2.cvtColor(cv2.cvtColor(drawing, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert encode(encoder, grey) @ original > 0.6
    assert encode(encoder, cv2.resize(drawing, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)) @ original > 0.9
    assert all(encode(encoder, other) @ original < 0.5 for key, other in drawings().items() if key != name)


def main() -> None:
    """Write the golden file anew."""
    made = Encoder.open(default_model_folder(), device="cpu")
    golden = {name: [round(float(x), 6) for x in encode(made, drawing)[:SHOWN]] for name, drawing in drawings().items()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
