"""Static int8 quantisation of an encoder."""

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
"""Number of first convolutions that stay float32: the stem and two blocks."""


def quantise_encoder(folder: Path, images: Sequence[Pixels], out: Path) -> None:
    """Write a static int8 version (QDQ format, one scale per channel) of an encoder.

    The first convolutions stay float32, because rounding there costs the most accuracy. The layers after the last
    convolution stay float32, because they take little time and the whole ranking depends on them.

    Args:
        folder: the encoder.
        images: calibration images, (h, w, 3) uint8 RGB each, on which the ranges of the activations are measured.
        out: folder of the int8 encoder; created if it is missing.

    Raises:
        EncoderError: the encoder cannot be read, or the int8 encoder does not run.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = load_model(folder)
    batches = [preprocess(image, model.input_spec)[np.newaxis] for image in images]

    class Calibration(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {model.input.name: batch}

    out.mkdir(parents=True, exist_ok=True)
    target = out / model.file
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / model.file
        quant_pre_process(folder / model.file, plain, skip_symbolic_shape=True)
        quantize_static(
            plain,
            target,
            Calibration(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Clip", "Add"],
            nodes_to_exclude=_float_nodes(onnx.load(plain).graph.node),
            per_channel=True,
            # 7-bit weights: with 8 bits, sums of two products overflow on processors without VNNI, and embeddings would
            # depend on the processor.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    halve(target)
    description = json.loads((folder / MODEL_JSON).read_bytes())
    description |= {"id": f"{model.id}-int8", "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}
    (out / MODEL_JSON).write_text(json.dumps(description, indent=2) + "\n", encoding="utf8")
    Encoder.open(out, device="cpu").warm_up()


def _float_nodes(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Names of the nodes that stay float32: the first convolutions, and all nodes that no convolution follows."""
    names = [node.name for node in nodes if node.op_type == "Conv"][:FIRST]
    convolution_inputs: set[str] = set()  # tensors that a later convolution depends on
    for node in reversed(nodes):  # ONNX files list nodes in topological order
        if convolution_inputs.isdisjoint(node.output):
            names.append(node.name)
        if node.op_type == "Conv" or not convolution_inputs.isdisjoint(node.output):
            convolution_inputs.update(node.input)
    return names
