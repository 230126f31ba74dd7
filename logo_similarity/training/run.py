"""A training run in a folder: start or resume, validate, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import load_model
from logo_similarity.errors import SourceError
from logo_similarity.evaluation.evaluate import rank_all
from logo_similarity.evaluation.features import Features, normalise
from logo_similarity.evaluation.labels import hard_queries, thumbnail
from logo_similarity.evaluation.ranking import mean_figures
from logo_similarity.evaluation.truth import read_truth
from logo_similarity.training.curves import draw_curves
from logo_similarity.training.export import Card, write_encoder
from logo_similarity.training.network import LogoNetwork, imagenet_backbone, load_encoder, whiten
from logo_similarity.training.quantise import quantise_encoder
from logo_similarity.training.second_stage import fit_weight
from logo_similarity.training.trainer import (
    Schedule,
    Trainer,
    compute_files,
    embed_files,
    encode_files,
    input_spec,
    load_image,
)

if TYPE_CHECKING:
    from logo_similarity.evaluation.truth import Truth
    from logo_similarity.training.dataset import TrainingSet
    from logo_similarity.training.views import Views

CHECKPOINT = "checkpoint.safetensors"
TAUGHT = "teacher.npy"
BEST, BEST_JSON = "best.safetensors", "best.json"
SETTINGS, LOG, CURVES = "run.json", "log.jsonl", "curves.png"
ENCODER, ENCODER_INT8 = "encoder", "encoder-int8"
WHITENED = 6_000
"""Number of images on which the initial weights of the heads are fitted."""
PATCH_SPREAD = 0.3
"""Initial standard deviation of a patch's coordinates: lengths start well below 1, where gradients do not vanish."""
CALIBRATED = 256
"""Number of images on which the int8 ranges are measured."""
DISTRACTORS = 6_000
"""Number of images from other splits in the gallery of a validation."""

Report = Callable[[str, int, int | None], None]
"""Called with the stage, the work done, and the total (None while it is unknown)."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The queries of one split, in a gallery of that split and distractors from the others."""

    files: tuple[Path, ...]
    truth: Truth
    split: str
    thumbnails: Any
    """(n, 1024) float32, see `evaluation.labels.thumbnail`."""

    @classmethod
    def read(cls, folder: Path, split: str) -> Validation:
        """Read a folder with `images/` and `labels.json`.

        Raises:
            SourceError: the labels are not valid, or the split has no queries.
        """
        labels = json.loads((folder / "labels.json").read_bytes())
        split_files = sorted(name for name, row in labels.items() if row.get("split") == split)
        others = sorted(name for name, row in labels.items() if row.get("split") != split)
        positions = np.random.default_rng(0).permutation(len(others))[:DISTRACTORS]
        truth = read_truth(folder / "labels.json", split_files + [others[position] for position in positions])
        if split not in truth.splits:
            raise SourceError(f"{folder}: split {split!r} has no queries; available splits: {', '.join(truth.splits)}")
        files = tuple(folder / "images" / name for name in truth.files)
        return cls(files, truth, split, np.stack([thumbnail(load_image(path)) for path in files]))

    def measure(self, network: LogoNetwork, side: int) -> dict[str, float]:
        """`map` and `hard_map`: mean average precision over all relevant answers, and with easy answers ignored."""
        features = Features(normalise(embed_files(network, self.files, side), "the network"))
        all_queries = self.truth.splits[self.split]
        results = {}
        for name, queries in (("map", all_queries), ("hard_map", hard_queries(all_queries, self.thumbnails))):
            figures = mean_figures(rank_all(queries, features))
            results[name] = 0.0 if figures is None else round(figures.mean_average_precision, 4)
        return results


def train(
    data: TrainingSet,
    schedule: Schedule,
    out: Path,
    views: Views,
    *,
    start: Path,
    teacher: Path | None,
    keep: float,
    device: str,
    validation: Validation | None,
    validate_every: int,
    save_every: int,
    name: str,
    licence: str,
    report: Report = lambda _stage, _done, _total: None,
) -> Path:
    """Train an encoder, or resume the run in `out`, and export the best weights as float32 and as int8 encoder.

    Args:
        data: the training set.
        schedule: the hyperparameters; a run with other ones cannot be resumed.
        out: folder of the run: checkpoint, log, best weights, encoders.
        views: makes the views.
        start: initial weights: a `.pth` file of EfficientNet-Lite0, or the `.onnx` file of a float32 encoder that
            `write_encoder` exported.
        teacher: folder of an encoder, of whatever size and dimension, whose similarities the network also learns; None:
            no teacher. Its embeddings of all images are computed once and kept in `out`.
        keep: share of the initial weights in the exported ones, 0 to 1 (Wortsman et al., arXiv 2109.01903).
        device: "cpu" or "cuda".
        validation: selects the best weights; None: the last weights are exported.
        validate_every: steps between two validations.
        save_every: steps between two checkpoints. A killed run repeats at most that many steps, with the same result.
        name: id of the encoder.
        licence: licence of the encoder.
        report: called with the progress.

    Returns:
        The folder of the float32 encoder.

    Raises:
        SourceError: `out` contains a run with other settings, or damaged embeddings of the teacher.
        EncoderError: `start` is not such a file, or an exported encoder does not match the network.
        FloatingPointError: the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "schedule": asdict(schedule),
        "start": sha256(start.read_bytes()).hexdigest(),
        "teacher": None if teacher is None else load_model(teacher).sha256,
        "keep": keep,
        "images": len(data),
        "names": sha256("\n".join(path.name for path in data.files).encode()).hexdigest(),
    }
    _check_settings(out, settings)
    network = LogoNetwork().to(device)
    count = len(data)
    taught = None
    if teacher is not None:
        taught = _taught(teacher, data, out / TAUGHT, lambda done: report("teacher", done, count))
    trainer = Trainer(network, data, schedule, views, taught)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        trainer.load(checkpoint)
    else:
        _initialise(network, data, schedule, start)
        trainer = Trainer(network, data, schedule, views, taught)
        bank = _initial_embeddings(network, data, schedule, start, lambda done: report("embed", done, count))
        trainer.start(bank.astype(np.float16))
        trainer.save(checkpoint)
    with (out / LOG).open("a", encoding="utf8") as log:

        def on_step(row: dict[str, float]) -> None:
            log.write(json.dumps(row) + "\n")
            report("learn", trainer.step, schedule.steps)
            if trainer.step % save_every == 0:
                log.flush()
                trainer.save(checkpoint)

        while trainer.step < schedule.steps:
            trainer.run(min(schedule.steps, (trainer.step // validate_every + 1) * validate_every), on_step)
            if validation is not None:
                figures = validation.measure(trainer.average_network(), schedule.side)
                log.write(json.dumps({"step": trainer.step, **figures}) + "\n")
                _keep_best(out, trainer, figures)
            log.flush()
            draw_curves(out / LOG, out / CURVES)
            trainer.save(checkpoint)
    network = trainer.average_network()
    if validation is not None:
        network.load_state_dict(load_file(out / BEST))
    if keep:
        _mix(network, data, schedule, start, keep)
    return _export(network, data, schedule, out, name, licence, report)


def _export(
    network: LogoNetwork, data: TrainingSet, schedule: Schedule, out: Path, name: str, licence: str, report: Report
) -> Path:
    """Write the encoders, with the weight of their patches. Returns the folder of the float32 encoder."""
    description = (
        f"EfficientNet-Lite0, {schedule.side} px, contrastive, {schedule.steps} steps of {schedule.pairs} pairs"
    )
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(value.half())  # so that `halve` can store them as float16
    report("second stage", 0, None)
    weight = fit_weight(network, data, schedule.side)
    card = Card(id=name, licence=licence, description=description, rerank_weight=weight)
    write_encoder(network, input_spec(schedule.side), out / ENCODER, card)
    report("int8", 0, None)
    rows = np.random.default_rng(schedule.seed).permutation(len(data))[:CALIBRATED]
    quantise_encoder(out / ENCODER, [load_image(data.files[row]) for row in rows], out / ENCODER_INT8)
    return out / ENCODER


def _initialise(network: LogoNetwork, data: TrainingSet, schedule: Schedule, start: Path) -> None:
    if start.suffix == ".onnx":
        load_encoder(network, start)
        return
    network.backbone.load_state_dict(imagenet_backbone(start).state_dict())
    rows = np.sort(np.random.default_rng(schedule.seed).permutation(len(data))[:WHITENED])
    files = [data.files[row] for row in rows]
    whiten(network.head, torch.from_numpy(compute_files(network, network.pool, files, schedule.side)))
    cells = torch.from_numpy(compute_files(network, network.cells, files[: WHITENED // 10], schedule.side)).flatten(
        0, 1
    )
    whiten(network.patch_head, cells, PATCH_SPREAD)
    whiten(network.layout, cells)


def _mix(network: LogoNetwork, data: TrainingSet, schedule: Schedule, start: Path, keep: float) -> None:
    """Replace weights by their mean with the initial ones, which have the weight `keep`."""
    initial = LogoNetwork().to(next(network.parameters()).device)
    _initialise(initial, data, schedule, start)
    with torch.no_grad():
        for value, other in zip(network.state_dict().values(), initial.state_dict().values(), strict=True):
            value.lerp_(other, keep)


def _initial_embeddings(
    network: LogoNetwork, data: TrainingSet, schedule: Schedule, start: Path, report: Callable[[int], None]
) -> NDArray[np.float32]:
    """The embeddings of all images with the initial weights, (n, d) float32, unit length.

    An encoder computes them at its own size, with ONNX Runtime in a fraction of the time: they only choose the first pairs.
    """
    if start.suffix == ".onnx":
        return encode_files(Encoder.open(start.parent), data.files, report)
    return embed_files(network, data.files, schedule.side, report)


def _taught(teacher: Path, data: TrainingSet, path: Path, report: Callable[[int], None]) -> NDArray[np.float16]:
    """The teacher's embeddings of all images, (n, e) float16, unit length, from `path` if they are there."""
    if not path.exists():
        embeddings = encode_files(Encoder.open(teacher), data.files, report)
        partial = path.with_name(path.name + ".part")
        with partial.open("wb") as file:
            np.save(file, embeddings.astype(np.float16), allow_pickle=False)
        partial.replace(path)
    try:
        taught: NDArray[np.float16] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise SourceError(f"{path}: damaged; delete it, and the teacher embeds the images again") from None
    return taught


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    path = out / SETTINGS
    if path.exists():
        if json.loads(path.read_bytes()) != json.loads(json.dumps(settings)):
            raise SourceError(f"{out}: contains a run with other settings; choose another folder, or delete this one")
    else:
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def _keep_best(out: Path, trainer: Trainer, figures: dict[str, float]) -> None:
    path = out / BEST
    best = json.loads((out / BEST_JSON).read_bytes()) if (out / BEST_JSON).exists() else None
    if best is None or figures["map"] > best["map"]:
        weights = trainer.average_network().state_dict()
        save_file({name: value.cpu().contiguous() for name, value in weights.items()}, path)
        (out / BEST_JSON).write_text(json.dumps({"step": trainer.step, **figures}) + "\n", encoding="utf8")
