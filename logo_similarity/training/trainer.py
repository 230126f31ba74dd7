"""The training loop: contrastive, resumable to the step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import InputSpec, preprocess
from logo_similarity.search.score import nearness
from logo_similarity.training.network import LogoNetwork
from logo_similarity.training.objective import contrastive_loss, patch_loss
from logo_similarity.training.sampler import PairSampler
from logo_similarity.training.views import GENTLE, STRONG, Views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logo_similarity.training.dataset import TrainingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a training goes."""

    steps: int
    side: int = 128
    """Width and height of the pictures, a multiple of 32."""
    pairs: int = 128
    seeds: int = 16
    """Groups of a step that are drawn at random; the others are neighbours of these."""
    trusted: float = 0.35
    """Share of the groups that are known to look alike, and that have several pictures."""
    named: float = 0.4
    """Share of the groups that are only named alike, with several pictures; the rest are single pictures."""
    least: float = 0.3
    """Least cosine of two pictures that are only named alike, to count as a pair."""
    learning_rate: float = 2e-3
    """Of each tensor, relative to its size."""
    warm_up: int = 100
    final_rate: float = 0.02
    """What is left of the learning rate at the end."""
    weight_decay: float = 0.0
    temperature: float = 0.07
    short: int = 128
    """The first so many dimensions are learned to do alone, too (Kusupati et al., arXiv 2205.13147)."""
    short_weight: float = 0.3
    patch_weight: float = 0.5
    ema: float = 0.998
    """Share of the averaged weights that a step keeps."""
    frozen_blocks: int = 3
    filters: bool = False
    """Whether the depthwise filters are learned."""
    seed: int = 0


FILES_AT_ONCE = 64
SMALLEST_SCALE = 1e-3
"""A tensor that begins near zero moves as if it were of this size."""
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3


def input_spec(side: int) -> InputSpec:
    """What the network takes: cut to the content, fitted into a square; TensorFlow's Lite models take (pixel - 127) / 128."""
    return InputSpec(width=side, height=side, crop="content", resize="letterbox", mean=MEAN, std=STD, margin=0.06)


def load_image(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB."""
    return decode(path.read_bytes())


def compute_files(
    network: LogoNetwork,
    compute: Callable[[torch.Tensor], torch.Tensor],
    files: Sequence[Path],
    side: int,
    report: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """(n, ...) float32: what `compute`, a part of `network`, gives for each of n image files. `report` gets how many are done."""
    spec = input_spec(side)
    device = next(network.parameters()).device
    out = []

    def load(start: int) -> torch.Tensor:
        some = files[start : start + FILES_AT_ONCE]
        return torch.from_numpy(np.stack([preprocess(load_image(path), spec) for path in some]))

    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        coming = pool.submit(load, 0)
        for start in range(0, len(files), FILES_AT_ONCE):
            images = coming.result().to(device, memory_format=torch.channels_last)
            if start + FILES_AT_ONCE < len(files):
                coming = pool.submit(load, start + FILES_AT_ONCE)
            out.append(compute(images).cpu().numpy())
            report(min(start + FILES_AT_ONCE, len(files)))
    return np.concatenate(out)


def embed_files(
    network: LogoNetwork, files: Sequence[Path], side: int, report: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """(n, dimension) float32 unit vectors of image files."""
    return compute_files(network, lambda images: functional.normalize(network(images)[0], dim=1), files, side, report)


class Trainer:
    """A network, what it learns from, and how far it has come."""

    def __init__(self, network: LogoNetwork, data: TrainingSet, schedule: Schedule, views: Views) -> None:
        self.network, self.data, self.schedule, self.views = network, data, schedule, views
        self.device = next(network.parameters()).device
        self.network.to(memory_format=torch.channels_last)
        for part in (network.backbone.stem, *network.backbone.blocks[: schedule.frozen_blocks]):
            part.requires_grad_(requires_grad=False)
        # The gradient of these filters takes 40 % of a step's time and they hold 4 % of the weights.
        if not schedule.filters:
            for block in network.backbone.blocks:
                block.depthwise.requires_grad_(requires_grad=False)
        self.nearness = torch.tensor(nearness(network.grid)).to(self.device)
        self.named = {name: value for name, value in network.named_parameters() if value.requires_grad}
        # A step is relative to each tensor's size: folded batch normalisation leaves weights of very different sizes.
        self.scales = [max(SMALLEST_SCALE, float(value.detach().pow(2).mean().sqrt())) for value in self.named.values()]
        self.optimizer = torch.optim.AdamW(
            [{"params": [value], "lr": 0.0} for value in self.named.values()],
            betas=(0.9, 0.98),
            weight_decay=schedule.weight_decay,
        )
        self.average = {name: value.detach().clone() for name, value in self.named.items()}
        self.sampler = PairSampler(
            data,
            pairs=schedule.pairs,
            seeds=schedule.seeds,
            multiple=(schedule.trusted, schedule.named),
            least=schedule.least,
        )
        self.step = 0
        self.bank: NDArray[np.float16] = np.zeros((len(data), network.head.out_features), np.float16)
        self.planned: NDArray[np.int64] = np.empty((0, 2), np.int64)
        self.spec = input_spec(schedule.side)

    def rate(self, step: int) -> float:
        """Learning rate of a step: up in a line, then down along a cosine."""
        s = self.schedule
        if step < s.warm_up:
            return s.learning_rate * (step + 1) / s.warm_up
        done = (step - s.warm_up) / max(1, s.steps - s.warm_up)
        return s.learning_rate * (s.final_rate + (1 - s.final_rate) * 0.5 * (1 + float(np.cos(np.pi * min(1, done)))))

    def begin(self, bank: NDArray[np.float16]) -> None:
        """Take the embeddings of all pictures at the start, (n, d), by which the first pairs are chosen."""
        self.bank = bank
        self.planned = self._plan(0)

    def run(self, until: int, on_step: Callable[[dict[str, float]], None]) -> None:
        """Learn until a step; each one is reported."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.images, self.planned, self.step)
            while self.step < until:
                rows, images = coming.result()
                # Before this step's embeddings are known, so that its pictures can be made meanwhile.
                self.planned = self._plan(self.step + 1)
                if self.step + 1 < until:
                    coming = pool.submit(self.images, self.planned, self.step + 1)
                started = time.perf_counter()
                loss = self._learn(rows, images)
                self.step += 1
                seconds = time.perf_counter() - started
                on_step({"step": self.step, "loss": loss, "rate": self.rate(self.step - 1), "seconds": seconds})

    def _plan(self, step: int) -> NDArray[np.int64]:
        return self.sampler.batch(self.bank, np.random.default_rng((self.schedule.seed, step))).pairs

    def images(self, pairs: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], torch.Tensor]:
        """The rows of a step and their views, (2 pairs, 3, side, side) float32: a function of the seed and the step."""
        rows = pairs.ravel()
        out = np.empty((len(rows), 3, self.spec.height, self.spec.width), np.float32)
        for number, row in enumerate(rows):
            random = np.random.default_rng((self.schedule.seed, step, number))
            first, second = pairs[number // 2]
            odds = STRONG if first == second and number % 2 else GENTLE
            other = None
            if random.random() < odds.joined:
                other = load_image(self.data.files[int(random.integers(len(self.data)))])
            view = self.views.make(load_image(self.data.files[row]), other, odds, random)
            out[number] = preprocess(view, self.spec)
        return rows, torch.from_numpy(out)

    def _learn(self, rows: NDArray[np.int64], images: torch.Tensor) -> float:
        s = self.schedule
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = self.rate(self.step) * scale
        embeddings, patches = self.network(images.to(self.device, memory_format=torch.channels_last))
        groups, families = (
            torch.from_numpy(labels[rows]).to(self.device) for labels in (self.data.groups, self.data.families)
        )
        loss = contrastive_loss(embeddings, groups, families, s.temperature)
        if s.short_weight:
            loss = loss + s.short_weight * contrastive_loss(embeddings[:, : s.short], groups, families, s.temperature)
        if s.patch_weight:
            loss = loss + s.patch_weight * patch_loss(
                embeddings, patches, groups, families, s.temperature, self.nearness
            )
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"step {self.step}: the loss is not a number; start again with a smaller learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.named.values()), 10.0)
        self.optimizer.step()
        keep = min(s.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.named.items():
                self.average[name].lerp_(value, 1 - keep)
        self.bank[rows] = functional.normalize(embeddings.detach(), dim=1).cpu().numpy().astype(np.float16)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Everything that the next step depends on, renamed into place."""
        tensors = {f"network.{name}": value.contiguous() for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value.contiguous() for name, value in self.average.items()}
        for name, value in self.named.items():
            state = self.optimizer.state.get(value, {})
            tensors |= {f"optimizer.{name}.{key}": torch.as_tensor(part).contiguous() for key, part in state.items()}
        tensors["bank"] = torch.from_numpy(self.bank)
        tensors["planned"] = torch.from_numpy(self.planned)
        tensors["scales"] = torch.tensor(self.scales, dtype=torch.float64)
        tensors["step"] = torch.tensor(self.step)
        part = path.with_name(path.name + ".part")
        save_file(tensors, part)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on where `save` was called."""
        tensors = load_file(path, device=str(self.device))
        self.network.load_state_dict(_under(tensors, "network."))
        self.average = _under(tensors, "average.")
        for name, value in self.named.items():
            if state := _under(tensors, f"optimizer.{name}."):
                self.optimizer.state[value] = state
        self.bank = tensors["bank"].cpu().numpy()
        self.planned = tensors["planned"].cpu().numpy()
        self.scales = tensors["scales"].tolist()
        self.step = int(tensors["step"])

    def averaged(self) -> LogoNetwork:
        """The network with the moving average of its weights."""
        network = LogoNetwork(self.network.head.out_features, self.network.patch_head.out_channels)
        network.load_state_dict({**self.network.state_dict(), **self.average})
        return network.eval()


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
