"""`logo-similarity export`."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.errors import EncoderError
from logo_similarity.terminal import out


class Crop(enum.StrEnum):
    """The part of an image that is encoded."""

    content = "content"
    none = "none"


class Resize(enum.StrEnum):
    """How that part is made square."""

    letterbox = "letterbox"
    cover = "cover"


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A model of timm, a model of Hugging Face, or hf:FOLDER of a local one.", metavar="timm:NAME|hf:NAME"
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Encoder folder to write.")],
    side: Annotated[
        int | None, typer.Option(min=16, max=1024, help="Width and height of the input. Default: the model's.")
    ] = None,
    crop: Annotated[Crop, typer.Option(help="Crop logos to their content, or use them whole.")] = Crop.content,
    resize: Annotated[Resize, typer.Option(help="Fit into the square, or fill it.")] = Resize.letterbox,
    random: Annotated[
        bool, typer.Option("--random", help="Use random weights, for a test without network access.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Id of the encoder. Default: the model's name.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, for model.json. Default: the model's.")
    ] = None,
) -> None:
    """Export an image encoder from timm or Hugging Face.

    Needs the extra `export`. Works for DINOv2, SigLIP, CLIP and others. `build --model` uses the encoder folder,
    `evaluate --model` measures it.
    """
    kind, _, model_name = model.partition(":")
    if kind not in {"timm", "hf"} or not model_name:
        raise typer.BadParameter("must begin with timm: or hf:, as in timm:vit_small_patch14_dinov2.lvd142m")
    try:
        import onnxscript  # noqa: F401 - torch.onnx needs it, and says so late
        import transformers  # noqa: F401
    except ImportError as error:
        raise EncoderError(
            f"{error.name} is not installed; run: pip install '.[cpu,export]' in the source tree"
        ) from None
    from logo_similarity.training.export import Card, write_encoder
    from logo_similarity.training.hub import load_timm, load_transformers

    load = load_timm if kind == "timm" else load_transformers
    loaded = load(model_name, side=side, pretrained=not random, crop=crop.value, resize=resize.value)
    card = Card(
        id=name or re.sub(r"[^A-Za-z0-9._-]", "-", model_name.rstrip("/").rpartition("/")[2])[:100],
        licence=licence or loaded.licence,
        description=f"{model_name}, exported from {'timm' if kind == 'timm' else 'transformers'}"
        + (", random weights" if random else ""),
    )
    write_encoder(loaded.network, loaded.spec, folder, card)
    out.print(f"{folder} is written; to use it: logo-similarity build SOURCE --model {folder}")
