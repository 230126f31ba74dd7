"""`logo-similarity export`."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from logo_similarity.errors import EncoderError

out = Console()


class Crop(enum.StrEnum):
    """What of a picture is looked at."""

    content = "content"
    none = "none"


class Resize(enum.StrEnum):
    """How it becomes a square."""

    letterbox = "letterbox"
    cover = "cover"


def export(
    model: Annotated[
        str, typer.Argument(help="timm:NAME, or hf:NAME of Hugging Face, or hf:FOLDER.", metavar="timm:NAME|hf:NAME")
    ],
    folder: Annotated[Path, typer.Option("--out", help="The encoder folder to write.")],
    side: Annotated[int | None, typer.Option(min=16, max=1024, help="Width and height. Default: the model's.")] = None,
    crop: Annotated[Crop, typer.Option(help="Cut logos to their content first, or take them whole.")] = Crop.content,
    resize: Annotated[Resize, typer.Option(help="Fit into the square, or fill it.")] = Resize.letterbox,
    random: Annotated[bool, typer.Option("--random", help="Weights at random: to try it without the network.")] = False,
    name: Annotated[str | None, typer.Option(help="Id of the encoder. Default: the model's name.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the weights, for model.json. Default: what the model says.")
    ] = None,
) -> None:
    """Write an image encoder of timm or Hugging Face (DINOv2, SigLIP, CLIP...) as an encoder folder. Needs the extra `export`.

    `build --model` takes the folder, `evaluate --model` measures it.
    """
    kind, _, called = model.partition(":")
    if kind not in {"timm", "hf"} or not called:
        raise typer.BadParameter("must begin with timm: or hf:, as in timm:vit_small_patch14_dinov2.lvd142m")
    try:
        import onnxscript  # noqa: F401 - torch.onnx needs it, and says so late
        import transformers  # noqa: F401
    except ImportError as error:
        raise EncoderError(
            f"{error.name} is not installed; exporting needs: pip install '.[cpu,export]' in its source"
        ) from None
    from logo_similarity.training.export import Card, write_encoder
    from logo_similarity.training.hub import load_timm, load_transformers

    load = load_timm if kind == "timm" else load_transformers
    found = load(called, side=side, pretrained=not random, crop=crop.value, resize=resize.value)
    card = Card(
        id=name or re.sub(r"[^A-Za-z0-9._-]", "-", called.rstrip("/").rpartition("/")[2])[:100],
        licence=licence or found.licence,
        description=f"{called}, exported from {'timm' if kind == 'timm' else 'transformers'}"
        + (", weights at random" if random else ""),
    )
    write_encoder(found.network, found.spec, folder, card)
    out.print(
        f"{folder}: build with it: logo-similarity build SOURCE --model {folder}", highlight=False, soft_wrap=True
    )
