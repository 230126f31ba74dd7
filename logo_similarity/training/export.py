"""Export of a torch network to an encoder folder: an ONNX file and its `model.json`."""

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
"""Key in `model.json`, and name of the tensor: one that does not clash with the many layers called "embedding"."""
OPSET = 18
LARGEST_DIFFERENCE = 1e-3
"""Largest difference between torch and ONNX Runtime, relative to the largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The fields of `model.json` that do not describe tensors; see `embed.model.EncoderModel`."""

    id: str
    licence: str
    description: str
    rerank_weight: float = 0.0


def write_encoder(network: nn.Module, spec: InputSpec, folder: Path, card: Card) -> None:
    """Write `model.onnx` and `model.json`, and compare the outputs of ONNX Runtime with those of torch.

    Args:
        network: maps (n, 3, height, width) float32 to embeddings, (n, d), or to embeddings and patches, (n, cells, c).
        spec: the preprocessing of the network's input.
        folder: the encoder folder; created if it is missing.
        card: the other fields of `model.json`.

    Raises:
        EncoderError: the outputs of ONNX Runtime differ from those of torch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, spec.height, spec.width)).astype(np.float32))
    network = network.cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.inference_mode():
        result = network(sample)
    expected = [output.numpy() for output in (result if isinstance(result, tuple) else (result,))]
    outputs = OUTPUTS[: len(expected)]
    names = [name for _, name in outputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
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
    _check_outputs(path, names, sample, expected)
    model = {
        "id": card.id,
        "file": MODEL_FILE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {"name": INPUT, **asdict(spec)},
        "outputs": dict(outputs),
        "dimension": expected[0].shape[1],
        "rerank_weight": card.rerank_weight,
        "licence": card.licence,
        "description": card.description,
    }
    (folder / MODEL_JSON).write_text(json.dumps(model, indent=2) + "\n", encoding="utf8")


def _check_outputs(path: Path, names: list[str], sample: torch.Tensor, expected: list[np.ndarray]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, len(sample)):
        outputs = session.run(names, {INPUT: sample[:count].numpy()})
        for output, reference in zip(outputs, expected, strict=True):
            difference = float(np.abs(output - reference[:count]).max() / np.abs(reference).max())
            if not difference < LARGEST_DIFFERENCE:  # NaN compares false
                raise EncoderError(f"{path}: the output differs from that of torch by {difference:.1e}")
