"""Image encoders of timm and of Hugging Face's transformers, as networks that `write_encoder` takes."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import InputSpec

if TYPE_CHECKING:
    pass

Crop = Literal["content", "none"]
Resize = Literal["letterbox", "cover"]
MARGIN = 0.06
"""Paper left around a mark that is cut to its content, as for our own encoder."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class HubEncoder:
    """A network, (n, 3, side, side) to (n, d), what it takes, and what its makers say of its licence."""

    network: nn.Module
    spec: InputSpec
    licence: str


def load_timm(name: str, *, side: int | None, pretrained: bool, crop: Crop, resize: Resize) -> HubEncoder:
    """A model of timm by its name; `pretrained` False leaves its weights at random.

    Raises:
        EncoderError: timm has no such model, or its weights can't be had.
    """
    _bear_torchvision()
    import timm
    from timm.data import resolve_model_data_config

    sized = {} if side is None else {"img_size": side}
    try:
        try:
            model = timm.create_model(name, pretrained=pretrained, num_classes=0, **sized)
        except TypeError:  # a network of convolutions takes any side and has no such argument
            model = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except (RuntimeError, OSError, ValueError) as error:
        raise EncoderError(f"timm: {name}: {_first_line(error)}") from None
    config = resolve_model_data_config(model)
    taken = side or int(config["input_size"][-1])
    spec = _spec(taken, tuple(config["mean"]), tuple(config["std"]), crop, resize)
    return HubEncoder(model.eval(), spec, str(model.pretrained_cfg.get("license") or "unknown"))


def load_transformers(name: str, *, side: int | None, pretrained: bool, crop: Crop, resize: Resize) -> HubEncoder:
    """A model of Hugging Face by its name or folder; `pretrained` False takes its configuration alone.

    Raises:
        EncoderError: it can't be had, or it makes no vector of an image.
    """
    _bear_torchvision()
    from transformers import AutoConfig, AutoModel
    from transformers.utils import cached_file

    try:
        config = AutoConfig.from_pretrained(name)
        model = AutoModel.from_pretrained(name) if pretrained else AutoModel.from_config(config)
    except (OSError, ValueError) as error:
        raise EncoderError(f"transformers: {name}: {_first_line(error)}") from None
    processor = cached_file(name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
    prepared = {} if processor is None else json.loads(Path(processor).read_bytes())
    vision = getattr(config, "vision_config", config)
    taken = side or int(getattr(vision, "image_size", 224))
    spec = _spec(
        taken,
        tuple(prepared.get("image_mean") or IMAGENET_MEAN),
        tuple(prepared.get("image_std") or IMAGENET_STD),
        crop,
        resize,
    )
    return HubEncoder(_ImageVector(model, taken != getattr(vision, "image_size", taken)).eval(), spec, "unknown")


def _bear_torchvision() -> None:
    """Let torchvision be imported beside a torch that its operators don't fit, as PyPI's (CUDA) beside a torch for the CPU.

    timm and transformers need its transforms, none of its operators; but a part of it describes these, and fails where they
    are not there.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        part = "torchvision._meta_registrations"
        sys.modules[part] = types.ModuleType(part)


class _ImageVector(nn.Module):
    """What a model of transformers makes of an image, as one vector.

    The projected image of a model of images and words (CLIP, SigLIP), else what it pools (DINOv2), else its first token.
    """

    def __init__(self, model: nn.Module, interpolated: bool) -> None:  # noqa: FBT001 - of this module only
        super().__init__()
        self.model = model
        self.with_words = hasattr(model, "get_image_features")
        self.options = {"interpolate_pos_encoding": True} if interpolated else {}

    def forward(self, image: Tensor) -> Tensor:
        """(n, 3, side, side) to (n, d)."""
        if self.with_words:
            found = self.model.get_image_features(pixel_values=image, **self.options)
        else:
            found = self.model(pixel_values=image, **self.options)
        if isinstance(found, Tensor):
            return found
        pooled: Tensor | None = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden: Tensor = found.last_hidden_state
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
