"""A trained network as an encoder folder."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from logo_similarity.embed.model import MODEL_JSON
from logo_similarity.errors import EncoderError

if TYPE_CHECKING:
    from pathlib import Path

    from logo_similarity.image.preprocess import InputSpec
    from logo_similarity.training.network import LogoNetwork

MODEL_FILE = "model.onnx"
OPSET = 18
LARGEST_DIFFERENCE = 1e-3
"""Between torch and ONNX Runtime, in an embedding of unit length."""


def write_encoder(
    network: LogoNetwork, spec: InputSpec, folder: Path, *, name: str, licence: str, description: str
) -> None:
    """Write `model.onnx` and `model.json`.

    Raises:
        EncoderError: ONNX Runtime computes something else than torch does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MODEL_FILE
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, spec.height, spec.width)).astype(np.float32))
    network = network.cpu().eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        network,
        (sample,),
        path,
        input_names=["image"],
        output_names=["embedding", "patches"],
        dynamic_shapes={"image": {0: torch.export.Dim.DYNAMIC}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _compare(network, sample, path)
    model: dict[str, Any] = {
        "id": name,
        "file": MODEL_FILE,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {
            "name": "image",
            "width": spec.width,
            "height": spec.height,
            "crop": spec.crop,
            "resize": spec.resize,
            "mean": spec.mean,
            "std": spec.std,
            "channels": spec.channels,
            "layout": spec.layout,
            "margin": spec.margin,
        },
        "outputs": {"embedding": "embedding", "patches": "patches"},
        "dimension": network.head.out_features,
        "licence": licence,
        "description": description,
    }
    (folder / MODEL_JSON).write_text(json.dumps(model, indent=2) + "\n", encoding="utf8")


def _compare(network: LogoNetwork, sample: torch.Tensor, path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(["embedding", "patches"], {"image": sample.numpy()})
    with torch.inference_mode():
        expected = [output.numpy() for output in network(sample)]
    for ours, theirs in zip(outputs, expected, strict=True):
        difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        if not difference < LARGEST_DIFFERENCE:
            raise EncoderError(f"{path}: differs from torch by {difference:.1e}")
