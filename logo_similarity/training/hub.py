"""Image encoders from timm and from Hugging Face transformers, as networks for `write_encoder`."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import InputSpec

Crop = Literal["content", "none"]
Resize = Literal["letterbox", "cover"]
MARGIN = 0.06
"""Margin around the cropped content, relative to the side; the same as for the default encoder."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class HubEncoder:
    """A pretrained network and its input."""

    network: nn.Module
    """Maps (n, 3, side, side) float32 to (n, d)."""
    spec: InputSpec
    licence: str
    """As published with the model; "unknown" if it is not."""


def load_timm(name: str, *, side: int | None, pretrained: bool, crop: Crop, resize: Resize) -> HubEncoder:
    """Load a timm model.

    Args:
        name: name of the model.
        side: width and height of its input in pixels; None: as published.
        pretrained: download the published weights; otherwise the weights are random.
        crop: see `InputSpec`.
        resize: see `InputSpec`.

    Raises:
        EncoderError: timm does not have the model, or the weights cannot be downloaded.
    """
    _allow_torchvision()
    import timm
    from timm.data import resolve_model_data_config

    options = {} if side is None else {"img_size": side}
    try:
        try:
            model = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
        except TypeError:  # convolutional networks accept any side and do not have this argument
            model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except (RuntimeError, OSError, ValueError) as error:
        raise EncoderError(f"timm: {name}: {_first_line(error)}") from None
    config = resolve_model_data_config(model)
    side = side or int(config["input_size"][-1])
    spec = _spec(side, tuple(config["mean"]), tuple(config["std"]), crop, resize)
    return HubEncoder(model.eval(), spec, str(model.pretrained_cfg.get("license") or "unknown"))


def load_transformers(name: str, *, side: int | None, pretrained: bool, crop: Crop, resize: Resize) -> HubEncoder:
    """Load a transformers model.

    Args:
        name: name of the model on the Hugging Face Hub, or its folder.
        side: width and height of its input in pixels; None: as published.
        pretrained: load the published weights; otherwise only the configuration, with random weights.
        crop: see `InputSpec`.
        resize: see `InputSpec`.

    Raises:
        EncoderError: the model cannot be loaded.
    """
    _allow_torchvision()
    from transformers import AutoConfig, AutoModel
    from transformers.utils import cached_file

    try:
        config = AutoConfig.from_pretrained(name)
        model = AutoModel.from_pretrained(name) if pretrained else AutoModel.from_config(config)
    except (OSError, ValueError) as error:
        raise EncoderError(f"transformers: {name}: {_first_line(error)}") from None
    processor = cached_file(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    preprocessing = {} if processor is None else json.loads(Path(processor).read_bytes())
    vision = getattr(config, "vision_config", config)
    side = side or int(getattr(vision, "image_size", 224))
    spec = _spec(
        side,
        tuple(preprocessing.get("image_mean") or IMAGENET_MEAN),
        tuple(preprocessing.get("image_std") or IMAGENET_STD),
        crop,
        resize,
    )
    return HubEncoder(_ImageVector(model, side != getattr(vision, "image_size", side)).eval(), spec, "unknown")


def _allow_torchvision() -> None:
    """Make torchvision importable beside a torch that its operators do not match, such as a CPU build of torch.

    timm and transformers use only its transforms, but `torchvision._meta_registrations` registers its operators when it
    is imported, and fails without them. An empty module takes its place.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        name = "torchvision._meta_registrations"
        sys.modules[name] = types.ModuleType(name)


class _ImageVector(nn.Module):
    """A transformers model with one output vector per image.

    The vector is the projected image embedding of a text-image model (CLIP, SigLIP), else the pooled output (DINOv2),
    else the first token or the mean over the positions.
    """

    def __init__(self, model: nn.Module, interpolated: bool) -> None:  # noqa: FBT001 - private to this module
        super().__init__()
        self.model = model
        self.has_text = hasattr(model, "get_image_features")
        self.options = {"interpolate_pos_encoding": True} if interpolated else {}

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, side, side) to (n, d)."""
        if self.has_text:
            output = self.model.get_image_features(pixel_values=image, **self.options)
        else:
            output = self.model(pixel_values=image, **self.options)
        if isinstance(output, Tensor):
            return output
        pooled: Tensor | None = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden: Tensor = output.last_hidden_state
        return hidden[:, 0] if hidden.ndim == 3 else hidden.mean(dim=(2, 3))


def _spec(side: int, mean: tuple[float, ...], std: tuple[float, ...], crop: Crop, resize: Resize) -> InputSpec:
    margin = MARGIN if crop == "content" else 0.0
    red, green, blue = mean
    red_std, green_std, blue_std = std
    return InputSpec(
        width=side,
        height=side,
        crop=crop,
        resize=resize,
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
        margin=margin,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
