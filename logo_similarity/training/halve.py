"""Storage of an ONNX file's weights as float16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = "_half"
SMALLEST = 1024
"""Smaller tensors, by number of values, are not worth converting."""


def halve(path: Path) -> None:
    """Store the float32 weights of an ONNX file as float16, in place, wherever float16 represents them exactly.

    ONNX Runtime converts them back to float32 when it loads the file; the results do not change.
    """
    model = onnx.load(path)
    graph = model.graph
    halved = {}
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size >= SMALLEST and np.array_equal(half.astype(np.float32), values):
            halved[tensor.name] = numpy_helper.from_array(half, tensor.name + SUFFIX)
    kept = [tensor for tensor in graph.initializer if tensor.name not in halved]
    casts = [helper.make_node("Cast", [name + SUFFIX], [name], to=TensorProto.FLOAT) for name in halved]
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *halved.values()])
    graph.node.extend([*casts, *nodes])
    onnx.save(model, path)
