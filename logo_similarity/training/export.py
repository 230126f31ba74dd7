"""A torch network as an encoder folder."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from logo_similarity.embed.model import MODEL_JSON
from logo_similarity.errors import EncoderError
from logo_similarity.training.halve import halve

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from logo_similarity.image.preprocess import InputSpec

MODEL_FILE = "model.onnx"
INPUT = "image"
OUTPUTS = (("embedding", "logo_embedding"), ("patches", "logo_patches"))
"""What they are, and names that no network has inside: many have a layer called embedding."""
OPSET = 18
LARGEST_DIFFERENCE = 1e-3
"""Between torch and ONNX Runtime, over the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What `model.json` says beside the tensors; see `embed.model.EncoderModel`."""

    id: str
    licence: str
    description: str
    rerank_weight: float = 0.0


def write_encoder(network: nn.Module, spec: InputSpec, folder: Path, card: Card) -> None:
    """Write `model.onnx` and `model.json`.

    Args:
        network: (n, 3, height, width) to the embedding, (n, d), or to the embedding and patches, (n, cells, c).
        spec: what it takes.
        folder: made where it is missing.
        card: what is said of it.

    Raises:
        EncoderError: ONNX Runtime computes something else than torch does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, spec.height, spec.width)).astype(np.float32))
    network = network.cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.inference_mode():
        given = network(sample)
    expected = [output.numpy() for output in (given if isinstance(given, tuple) else (given,))]
    given_as = OUTPUTS[: len(expected)]
    names = [name for _, name in given_as]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        torch.onnx.export(
            network,
            (sample,),
            path,
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    halve(path)
    _compare(path, names, sample, expected)
    model = {
        "id": card.id,
        "file": MODEL_FILE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {"name": INPUT, **asdict(spec)},
        "outputs": dict(given_as),
        "dimension": expected[0].shape[1],
        "rerank_weight": card.rerank_weight,
        "licence": card.licence,
        "description": card.description,
    }
    (folder / MODEL_JSON).write_text(json.dumps(model, indent=2) + "\n", encoding="utf8")


def _compare(path: Path, names: list[str], sample: torch.Tensor, expected: list[np.ndarray]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, len(sample)):
        outputs = session.run(names, {INPUT: sample[:count].numpy()})
        for ours, theirs in zip(outputs, expected, strict=True):
            difference = float(np.abs(ours - theirs[:count]).max() / np.abs(theirs).max())
            if not difference < LARGEST_DIFFERENCE:
                raise EncoderError(f"{path}: differs from torch by {difference:.1e}")
