"""One training from its folder: started, gone on with, validated, exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

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
from logo_similarity.training.trainer import Schedule, Trainer, compute_files, embed_files, input_spec, load_image

if TYPE_CHECKING:
    from logo_similarity.evaluation.truth import Truth
    from logo_similarity.training.dataset import TrainingSet
    from logo_similarity.training.views import Views

CHECKPOINT = "checkpoint.safetensors"
BEST, BEST_JSON = "best.safetensors", "best.json"
SETTINGS, LOG, CURVES = "run.json", "log.jsonl", "curves.png"
ENCODER, ENCODER_INT8 = "encoder", "encoder-int8"
WHITENED = 6_000
"""Pictures that the head's start is fitted on."""
PATCH_SPREAD = 0.3
"""Deviation of a patch's coordinates at the start: lengths are then well below 1, where there is room to learn."""
CALIBRATED = 256
"""Pictures that the int8 ranges are measured on."""
DISTRACTORS = 6_000
"""Pictures beside the queries' own split in the gallery of a validation."""

Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Validation:
    """What the network is measured on while it learns: a split's queries in a gallery of their split and some others."""

    files: tuple[Path, ...]
    truth: Truth
    split: str
    thumbnails: Any

    @classmethod
    def read(cls, folder: Path, split: str) -> Validation:
        """From a folder with images/ and labels.json."""
        labels = json.loads((folder / "labels.json").read_bytes())
        own = sorted(name for name, row in labels.items() if row.get("split") == split)
        others = sorted(name for name, row in labels.items() if row.get("split") != split)
        kept = np.random.default_rng(0).permutation(len(others))[:DISTRACTORS]
        truth = read_truth(folder / "labels.json", own + [others[place] for place in kept])
        if split not in truth.splits:
            raise SourceError(f"{folder}: no queries in the split {split!r}; there are {', '.join(truth.splits)}")
        files = tuple(folder / "images" / name for name in truth.files)
        return cls(files, truth, split, np.stack([thumbnail(load_image(path)) for path in files]))

    def measure(self, network: LogoNetwork, side: int) -> dict[str, float]:
        """MAP and HARD mAP."""
        features = Features(normalise(embed_files(network, self.files, side), "the network"))
        queries = self.truth.splits[self.split]
        found = {}
        for name, asked in (("map", queries), ("hard_map", hard_queries(queries, self.thumbnails))):
            figures = mean_figures(rank_all(asked, features))
            found[name] = 0.0 if figures is None else round(figures.mean_average_precision, 4)
        return found


def train(
    data: TrainingSet,
    schedule: Schedule,
    out: Path,
    views: Views,
    *,
    start: Path,
    device: str,
    validation: Validation | None,
    validate_every: int,
    save_every: int,
    name: str,
    licence: str,
    report: Report = lambda _stage, _done, _total: None,
) -> Path:
    """Train, or go on where `out` was left, and write the best encoder. Returns its folder.

    Args:
        data: what to learn from.
        schedule: how; one that differs from that of `out` is refused.
        out: folder of the run: checkpoint, log, the best weights, the encoder.
        views: makes the views.
        start: `.pth` weights of EfficientNet-Lite0, or the `.onnx` file of an encoder made here.
        device: "cpu" or "cuda".
        validation: what to choose the best weights by; None: the last are the best.
        validate_every: steps between two validations.
        save_every: steps between two checkpoints: as many are lost at most, and learned again the same way.
        name: id of the encoder.
        licence: of the encoder.
        report: gets the progress.

    Raises:
        SourceError: `out` holds a run with other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out, {"schedule": asdict(schedule), "start": start.name, "pictures": len(data)})
    network = LogoNetwork().to(device)
    trainer = Trainer(network, data, schedule, views)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists():
        trainer.load(checkpoint)
    else:
        _begin(network, data, schedule, start)
        trainer = Trainer(network, data, schedule, views)
        count = len(data)
        bank = embed_files(network, data.files, schedule.side, lambda done: report("embed", done, count))
        trainer.begin(bank.astype(np.float16))
        trainer.save(checkpoint)
    with (out / LOG).open("a", encoding="utf8") as log:

        def on_step(news: dict[str, float]) -> None:
            log.write(json.dumps(news) + "\n")
            report("learn", trainer.step, schedule.steps)
            if trainer.step % save_every == 0:
                log.flush()
                trainer.save(checkpoint)

        while trainer.step < schedule.steps:
            trainer.run(min(schedule.steps, (trainer.step // validate_every + 1) * validate_every), on_step)
            if validation is not None:
                found = validation.measure(trainer.averaged(), schedule.side)
                log.write(json.dumps({"step": trainer.step, **found}) + "\n")
                _keep_best(out, trainer, found)
            log.flush()
            draw_curves(out / LOG, out / CURVES)
            trainer.save(checkpoint)
    network = trainer.averaged()
    if validation is not None:
        network.load_state_dict(load_file(out / BEST))
    description = (
        f"EfficientNet-Lite0, {schedule.side} px, contrastive, {schedule.steps} steps of {schedule.pairs} pairs"
    )
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(value.half())  # so that they can be stored in half the space
    report("second stage", 0, None)
    weight = fit_weight(network, data, schedule.side)
    card = Card(id=name, licence=licence, description=description, rerank_weight=weight)
    write_encoder(network, input_spec(schedule.side), out / ENCODER, card)
    report("int8", 0, None)
    shown = np.random.default_rng(schedule.seed).permutation(len(data))[:CALIBRATED]
    quantise_encoder(out / ENCODER, [load_image(data.files[row]) for row in shown], out / ENCODER_INT8)
    return out / ENCODER


def _begin(network: LogoNetwork, data: TrainingSet, schedule: Schedule, start: Path) -> None:
    if start.suffix == ".onnx":
        load_encoder(network, start)
        return
    network.backbone.load_state_dict(imagenet_backbone(start).state_dict())
    rows = np.sort(np.random.default_rng(schedule.seed).permutation(len(data))[:WHITENED])
    files = [data.files[row] for row in rows]
    whiten(network.head, torch.from_numpy(compute_files(network, network.pooled, files, schedule.side)))
    cells = torch.from_numpy(compute_files(network, network.cells, files[: WHITENED // 10], schedule.side)).flatten(
        0, 1
    )
    whiten(network.patch_head, cells, PATCH_SPREAD)
    whiten(network.layout, cells)


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    path = out / SETTINGS
    if path.exists():
        before = json.loads(path.read_bytes())
        if before != json.loads(json.dumps(settings)):
            raise SourceError(f"{out}: holds a training with other settings; name another folder, or delete it")
    else:
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def _keep_best(out: Path, trainer: Trainer, found: dict[str, float]) -> None:
    path = out / BEST
    best = json.loads((out / BEST_JSON).read_bytes()) if (out / BEST_JSON).exists() else None
    if best is None or found["map"] > best["map"]:
        save_file({name: value.cpu().contiguous() for name, value in trainer.averaged().state_dict().items()}, path)
        (out / BEST_JSON).write_text(json.dumps({"step": trainer.step, **found}) + "\n", encoding="utf8")
