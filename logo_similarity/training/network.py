"""EfficientNet-Lite in torch, batch normalisation folded in, and the head that makes an embedding of two of its layers.

Architecture: EfficientNet (Tan and Le, arXiv 1905.11946) in its Lite form: no squeeze-and-excitation, ReLU6, stem and last
layer not scaled. Padding is TensorFlow's SAME, since the ImageNet weights come from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from logo_similarity.errors import EncoderError
from logo_similarity.training.halve import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = (  # expansion, output channels, blocks, stride of the first, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM_CHANNELS = 32
LAST_CHANNELS = 1280
MIDDLE_BLOCK = 11
"""Its expansion is the last and widest layer at stride 16."""
BATCH_NORM_EPSILON = 1e-3
LEAST_VARIANCE = 1e-4
"""Of an axis, over the largest, for whitening: smaller ones are noise, and all there is where pictures are few."""
LAYOUT_CHANNELS, LAYOUT_GRID = 64, 4
"""What the head sees of where things are: a few channels of the middle layer on a coarse grid."""


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for sides that its stride divides."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        total = kernel - stride if stride > 1 else kernel - 1
        self.around = (total // 2, total - total // 2) * 2
        if self.around[0] == self.around[1]:
            self.padding = self.around[:2]

    def forward(self, image: Tensor) -> Tensor:
        """(n, c, h, w) to (n, outputs, h / stride, w / stride)."""
        if self.around[0] != self.around[1]:
            image = functional.pad(image, self.around)
        return super().forward(image)


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def expanded(self, features: Tensor) -> Tensor:
        """The block's first layer."""
        return functional.relu6(self.expand(features)) if self.expand is not None else features

    def rest(self, features: Tensor, expanded: Tensor) -> Tensor:
        """Everything behind it."""
        out: Tensor = self.project(functional.relu6(self.depthwise(expanded)))
        return out + features if self.residual else out

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.rest(features, self.expanded(features))


class Backbone(nn.Module):
    """(n, 3, side, side) to the layer at stride 16, (n, 672, s, s), and the last, (n, 1280, s / 2, s / 2), both ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM_CHANNELS, 3, 2)
        blocks, channels = [], STEM_CHANNELS
        for expansion, outputs, count, stride, kernel in STAGES:
            for number in range(count):
                blocks.append(Block(channels, outputs, expansion, stride if number == 0 else 1, kernel))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.last = Convolution(channels, LAST_CHANNELS, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features = functional.relu6(self.stem(image))
        middle = features
        for number, block in enumerate(self.blocks):
            expanded = block.expanded(features)
            if number == MIDDLE_BLOCK:
                middle = expanded
            features = block.rest(features, expanded)
        return middle, functional.relu6(self.last(features))


class LogoNetwork(nn.Module):
    """The encoder: `embedding` (n, dimension) from both layers, and `patches` (n, cells, patch_dimension) from the first.

    The embedding is not normalised here. A patch is shorter than 1, and the shorter it is the less its cell counts. Cells go
    row by row, `grid` x `grid` of them whatever the side of the picture.
    """

    def __init__(self, dimension: int = 256, patch_dimension: int = 16, grid: int = 8) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.grid = grid
        middle = self.backbone.blocks[MIDDLE_BLOCK].expand.out_channels
        self.head = nn.Linear(middle + LAST_CHANNELS, dimension)
        self.layout = Convolution(middle, LAYOUT_CHANNELS, 1)
        self.layout_head = nn.Linear(LAYOUT_CHANNELS * LAYOUT_GRID**2, dimension, bias=False)
        nn.init.zeros_(self.layout_head.weight)
        self.patch_head = Convolution(middle, patch_dimension, 1)

    def pooled(self, image: Tensor) -> Tensor:
        """(n, 672 + 1280): both layers pooled, what the head takes."""
        return _pooled(*self.backbone(image))

    def cells(self, image: Tensor) -> Tensor:
        """(n, cells, 672): the first layer, what `patches` are made of."""
        return _on_grid(self.backbone(image)[0], self.grid).flatten(2).transpose(1, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        middle, last = self.backbone(image)
        layout = functional.relu(self.layout(_on_grid(middle, LAYOUT_GRID))).flatten(1)
        embedding = self.head(_pooled(middle, last)) + self.layout_head(layout)
        patches = self.patch_head(_on_grid(middle, self.grid)).flatten(2).transpose(1, 2)
        return embedding, patches / torch.sqrt(1 + patches.square().sum(dim=2, keepdim=True))


def _on_grid(layer: Tensor, grid: int) -> Tensor:
    return layer if layer.shape[-1] == grid else functional.adaptive_avg_pool2d(layer, grid)


def _pooled(middle: Tensor, last: Tensor) -> Tensor:
    """The first by generalised mean with p = 3 (Radenovic et al., arXiv 1711.02512), the second by the mean."""
    gem = middle.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    return torch.cat((gem, last.mean(dim=(2, 3))), dim=1)


def whiten(layer: nn.Linear | Convolution, rows: Tensor, spread: float = 1.0) -> None:
    """Start a layer as the PCA-whitening of `rows` (n, inputs): the first axes, each scaled to a deviation of `spread`."""
    mean = rows.double().mean(dim=0)
    centred = rows.double() - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
    kept = len(layer.weight)
    projection = (
        spread
        * axes[:, -kept:].flip(1)
        / variances[-kept:].flip(0).clamp(min=LEAST_VARIANCE * float(variances[-1])).sqrt()
    )
    projection *= projection.sum(dim=0).sign()  # an axis may point either way: the same way each time
    with torch.no_grad():
        layer.weight.copy_(projection.T.reshape(layer.weight.shape))
        layer.bias.copy_(-mean @ projection)


def imagenet_backbone(weights: Path) -> Backbone:
    """The backbone with ImageNet weights of EfficientNet-Lite0, from a `.pth` file in the layout of efficientnet_lite_pytorch."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    backbone = Backbone()
    _fold(backbone.stem, state, "_conv_stem", "_bn0")
    for number, block in enumerate(backbone.blocks):
        place = f"_blocks.{number}."
        if block.expand is not None:
            _fold(block.expand, state, place + "_expand_conv", place + "_bn0")
        _fold(block.depthwise, state, place + "_depthwise_conv", place + "_bn1")
        _fold(block.project, state, place + "_project_conv", place + "_bn2")
    _fold(backbone.last, state, "_conv_head", "_bn1")
    return backbone


def _fold(layer: Convolution, state: Mapping[str, Tensor], convolution: str, norm: str) -> None:
    """A convolution and the batch normalisation behind it, as one convolution."""
    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    with torch.no_grad():
        layer.weight.copy_(state[f"{convolution}.weight"] * scale[:, None, None, None])
        layer.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)


def load_encoder(network: LogoNetwork, path: Path) -> None:
    """Take the weights of an encoder that `export.write_encoder` made.

    Raises:
        EncoderError: the ONNX file is of another network.
    """
    import onnx
    from onnx import numpy_helper

    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    state = network.state_dict()
    for name, value in state.items():
        found = stored.get(name, stored.get(name + SUFFIX))
        if found is not None and found.shape == tuple(reversed(value.shape)) != tuple(value.shape):
            found = found.T  # a linear layer, as the exporter stores it
        if found is None or found.shape != tuple(value.shape):
            raise EncoderError(f"{path}: not this network: it has no weights {name} of shape {tuple(value.shape)}")
        value.copy_(torch.from_numpy(found.astype(np.float32)))
