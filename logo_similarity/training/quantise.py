"""The int8 form of an encoder."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import MODEL_JSON, load_model
from logo_similarity.image.preprocess import preprocess
from logo_similarity.training.halve import halve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logo_similarity.image.decode import Pixels

FIRST = 6
"""Convolutions that stay float32: the stem and two blocks."""


def quantise_encoder(folder: Path, images: Sequence[Pixels], out: Path) -> None:
    """Write the static int8 form (QDQ, a scale for each channel) of an encoder folder.

    What has no convolution behind it stays float32: the last layers take little time, and everything that is found depends
    on them. So do the first convolutions, where rounding costs most.

    Args:
        folder: the encoder.
        images: on which the ranges of activations are measured.
        out: the new encoder folder.

    Raises:
        EncoderError: the result can't be used.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = load_model(folder)
    prepared = [preprocess(image, model.input_spec)[np.newaxis] for image in images]

    class Shown(CalibrationDataReader):
        def __init__(self) -> None:
            self._coming = iter(prepared)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._coming, None)
            return None if batch is None else {model.input.name: batch}

    out.mkdir(parents=True, exist_ok=True)
    target = out / model.file
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / model.file
        quant_pre_process(folder / model.file, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            target,
            Shown(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Clip", "Add"],
            nodes_to_exclude=_left_alone(onnx.load(plain).graph.node),
            per_channel=True,
            # Weights of 7 bits: with 8, the sums of two products overflow on processors without VNNI, and embeddings would
            # depend on where they were made.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    halve(target)
    described = json.loads((folder / MODEL_JSON).read_bytes())
    described |= {"id": f"{model.id}-int8", "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}
    (out / MODEL_JSON).write_text(json.dumps(described, indent=2) + "\n", encoding="utf8")
    Encoder.open(out, device="cpu").warm_up()


def _left_alone(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Names of the first convolutions, and of the nodes that no convolution follows."""
    left = [node.name for node in nodes if node.op_type == "Conv"][:FIRST]
    followed: set[str] = set()  # tensors from which a convolution is computed
    for node in reversed(nodes):  # ONNX sorts its nodes
        if followed.isdisjoint(node.output):
            left.append(node.name)
        if node.op_type == "Conv" or not followed.isdisjoint(node.output):
            followed.update(node.input)
    return left
