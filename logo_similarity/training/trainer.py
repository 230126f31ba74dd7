"""The training loop: contrastive, and resumable at any checkpoint with the same result."""

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

from logo_similarity.cpu import usable_cores
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import InputSpec, preprocess
from logo_similarity.search.score import nearness
from logo_similarity.training.network import LogoNetwork
from logo_similarity.training.objective import contrastive_loss, distillation_loss, patch_loss
from logo_similarity.training.sampler import PairSampler
from logo_similarity.training.views import GENTLE, STRONG, Views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from logo_similarity.embed.encoder import Encoder
    from logo_similarity.training.dataset import TrainingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The hyperparameters of a run."""

    steps: int
    side: int = 128
    """Width and height of the images in pixels, a multiple of 32."""
    pairs: int = 128
    """Pairs per step."""
    seeds: int = 16
    """Groups per step that are drawn at random; the others are their nearest neighbours."""
    certain: float = 0.5
    """Share of the random groups that have several images of one subject (see `TrainingSet`)."""
    named: float = 0.35
    """Share of the random groups whose images only share a name; the rest are single images."""
    least: float = 0.3
    """Smallest cosine of two images of different subjects that may form a pair."""
    learning_rate: float = 2e-3
    """Highest rate; for each tensor relative to the root mean square of its initial values."""
    warm_up: int = 100
    """Steps over which the learning rate rises linearly."""
    final_rate: float = 0.02
    """Learning rate of the last step, relative to the highest."""
    weight_decay: float = 0.0
    temperature: float = 0.07
    short: int = 128
    """The first dimensions of the embedding that are also trained to rank alone (Kusupati et al., arXiv 2205.13147)."""
    short_weight: float = 0.3
    """Weight of the loss on these dimensions."""
    patch_weight: float = 0.5
    """Weight of the loss on the patches."""
    teacher_weight: float = 1.0
    """Weight of the difference from a teacher, if there is one."""
    ema: float = 0.998
    """Decay per step of the moving average of the weights."""
    frozen_blocks: int = 3
    """First blocks of the backbone that are not trained, with the stem."""
    filters: bool = False
    """Whether the depthwise filters are trained."""
    bfloat16: bool = False
    """Whether the layers compute in bfloat16 where that is safe; weights and losses remain float32."""
    seed: int = 0


FILES_AT_ONCE = 64
SMALLEST_SCALE = 1e-3
"""Lower bound on the scale of a tensor's learning rate, for tensors that start near zero."""
MEAN = (127 / 255,) * 3
STD = (128 / 255,) * 3


def input_spec(side: int) -> InputSpec:
    """The network's preprocessing: crop to the content, letterbox, (pixel - 127) / 128 as for EfficientNet-Lite."""
    return InputSpec(width=side, height=side, crop="content", resize="letterbox", mean=MEAN, std=STD, margin=0.06)


def load_image(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image file, (h, w, 3) uint8 RGB."""
    return decode(path.read_bytes())


def compute_files(
    network: LogoNetwork,
    compute: Callable[[torch.Tensor], torch.Tensor],
    files: Sequence[Path],
    side: int,
    report: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Apply a part of the network to image files.

    Args:
        network: its device is used.
        compute: the part of `network` to apply, from (m, 3, side, side) to (m, ...).
        files: n image files.
        side: width and height of the images in pixels.
        report: called with the number of files done.

    Returns:
        (n, ...) float32.
    """
    spec = input_spec(side)
    device = next(network.parameters()).device
    outputs = []

    def load(start: int) -> torch.Tensor:
        batch = files[start : start + FILES_AT_ONCE]
        return torch.from_numpy(np.stack([preprocess(load_image(path), spec) for path in batch]))

    with ThreadPoolExecutor(1) as pool, torch.inference_mode():
        next_images = pool.submit(load, 0)
        for start in range(0, len(files), FILES_AT_ONCE):
            images = next_images.result().to(device, memory_format=torch.channels_last)
            if start + FILES_AT_ONCE < len(files):
                next_images = pool.submit(load, start + FILES_AT_ONCE)
            outputs.append(compute(images).cpu().numpy())
            report(min(start + FILES_AT_ONCE, len(files)))
    return np.concatenate(outputs)


def embed_files(
    network: LogoNetwork, files: Sequence[Path], side: int, report: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """The embeddings of n image files, (n, dimension) float32, unit length."""
    return compute_files(network, lambda images: functional.normalize(network(images)[0], dim=1), files, side, report)


def encode_files(
    encoder: Encoder, files: Sequence[Path], report: Callable[[int], None] = lambda _: None
) -> NDArray[np.float32]:
    """The embeddings of n image files by an encoder, (n, dimension) float32, unit length."""
    embeddings = np.empty((len(files), encoder.dimension), np.float32)

    def encode(number: int) -> None:
        pixels = preprocess(load_image(files[number]), encoder.model.input_spec)
        embeddings[number] = encoder.infer(pixels[np.newaxis])[0]

    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, _ in enumerate(pool.map(encode, range(len(files))), 1):
            if done % FILES_AT_ONCE == 0 or done == len(files):
                report(done)
    return embeddings


class Trainer:
    """The state of a run: network, optimiser, averaged weights, latest embeddings, and number of steps done.

    Args:
        network: is trained.
        data: the n images to learn from.
        schedule: the hyperparameters.
        views: makes the views.
        taught: a teacher's embeddings of the images, (n, e) float16, unit length; None: no teacher.
    """

    def __init__(
        self,
        network: LogoNetwork,
        data: TrainingSet,
        schedule: Schedule,
        views: Views,
        taught: NDArray[np.float16] | None = None,
    ) -> None:
        self.network, self.data, self.schedule, self.views, self.taught = network, data, schedule, views, taught
        self.device = next(network.parameters()).device
        self.network.to(memory_format=torch.channels_last)
        for part in (network.backbone.stem, *network.backbone.blocks[: schedule.frozen_blocks]):
            part.requires_grad_(requires_grad=False)
        # The gradient of the depthwise filters takes 40 % of the time of a step, for 4 % of the weights.
        if not schedule.filters:
            for block in network.backbone.blocks:
                block.depthwise.requires_grad_(requires_grad=False)
        self.nearness = torch.tensor(nearness(network.grid)).to(self.device)
        self.parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        # Learning rates are relative to the size of each tensor, because folding batch normalisation into the weights
        # leaves tensors of very different sizes.
        self.scales = [
            max(SMALLEST_SCALE, float(value.detach().pow(2).mean().sqrt())) for value in self.parameters.values()
        ]
        self.optimizer = torch.optim.AdamW(
            [{"params": [value], "lr": 0.0} for value in self.parameters.values()],
            betas=(0.9, 0.98),
            weight_decay=schedule.weight_decay,
        )
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.sampler = PairSampler(
            data,
            pairs=schedule.pairs,
            seeds=schedule.seeds,
            multiple=(schedule.certain, schedule.named),
            least=schedule.least,
        )
        self.step = 0
        self.bank: NDArray[np.float16] = np.zeros((len(data), network.head.out_features), np.float16)
        self.next_pairs: NDArray[np.int64] = np.empty((0, 2), np.int64)
        self.spec = input_spec(schedule.side)

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear warm-up, then a cosine decay to `final_rate`."""
        s = self.schedule
        if step < s.warm_up:
            return s.learning_rate * (step + 1) / s.warm_up
        progress = (step - s.warm_up) / max(1, s.steps - s.warm_up)
        decay = 0.5 * (1 + float(np.cos(np.pi * min(1, progress))))
        return s.learning_rate * (s.final_rate + (1 - s.final_rate) * decay)

    def start(self, bank: NDArray[np.float16]) -> None:
        """Set the initial embeddings of all images, (n, d) float16, unit length, and sample the first pairs."""
        self.bank = bank
        self.next_pairs = self._sample(0)

    def run(self, until: int, on_step: Callable[[dict[str, float]], None]) -> None:
        """Train up to step `until`.

        Args:
            until: number of the last step, counted from the start of the run.
            on_step: called after each step with `step`, `loss`, `rate` and `seconds`.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        with ThreadPoolExecutor(1) as pool:
            next_batch = pool.submit(self.views_of, self.next_pairs, self.step)
            while self.step < until:
                rows, images = next_batch.result()
                # Sampled with the embeddings before this step, so that the views are computed during it.
                self.next_pairs = self._sample(self.step + 1)
                if self.step + 1 < until:
                    next_batch = pool.submit(self.views_of, self.next_pairs, self.step + 1)
                start = time.perf_counter()
                loss = self._learn(rows, images)
                self.step += 1
                seconds = time.perf_counter() - start
                on_step({"step": self.step, "loss": loss, "rate": self.rate(self.step - 1), "seconds": seconds})

    def _sample(self, step: int) -> NDArray[np.int64]:
        return self.sampler.batch(self.bank, np.random.default_rng((self.schedule.seed, step))).pairs

    def views_of(self, pairs: NDArray[np.int64], step: int) -> tuple[NDArray[np.int64], torch.Tensor]:
        """The rows of pairs, (2 n,) int64, and their views, (2 n, 3, side, side) float32.

        The views are a function of the pairs, the seed and the step.
        """
        rows = pairs.ravel()
        images = np.empty((len(rows), 3, self.spec.height, self.spec.width), np.float32)
        for number, row in enumerate(rows):
            random = np.random.default_rng((self.schedule.seed, step, number))
            first, second = pairs[number // 2]
            odds = STRONG if first == second and number % 2 else GENTLE
            other = None
            if random.random() < odds.joined:
                other = load_image(self.data.files[int(random.integers(len(self.data)))])
            view = self.views.make(load_image(self.data.files[row]), other, odds, random)
            images[number] = preprocess(view, self.spec)
        return rows, torch.from_numpy(images)

    def _learn(self, rows: NDArray[np.int64], images: torch.Tensor) -> float:
        s = self.schedule
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = self.rate(self.step) * scale
        with torch.autocast(self.device.type, torch.bfloat16, enabled=s.bfloat16):
            outputs = self.network(images.to(self.device, memory_format=torch.channels_last))
        embeddings, patches = (output.float() for output in outputs)
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
        if self.taught is not None:
            taught = torch.from_numpy(self.taught[rows].astype(np.float32)).to(self.device)
            loss = loss + s.teacher_weight * distillation_loss(
                embeddings, taught, torch.from_numpy(rows).to(self.device), s.temperature
            )
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"step {self.step}: the loss is not finite; start a new run with a smaller learning rate"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), 10.0)
        self.optimizer.step()
        decay = min(s.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, value in self.parameters.items():
                self.average[name].lerp_(value, 1 - decay)
        self.bank[rows] = functional.normalize(embeddings.detach(), dim=1).cpu().numpy().astype(np.float16)
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on; the file is replaced atomically."""
        tensors = {f"network.{name}": value.contiguous() for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value.contiguous() for name, value in self.average.items()}
        for name, value in self.parameters.items():
            state = self.optimizer.state.get(value, {})
            tensors |= {f"optimizer.{name}.{key}": torch.as_tensor(item).contiguous() for key, item in state.items()}
        tensors["bank"] = torch.from_numpy(self.bank)
        tensors["planned"] = torch.from_numpy(self.next_pairs)
        tensors["scales"] = torch.tensor(self.scales, dtype=torch.float64)
        tensors["step"] = torch.tensor(self.step)
        partial = path.with_name(path.name + ".part")
        save_file(tensors, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Restore the state written by `save`."""
        tensors = load_file(path, device=str(self.device))
        self.network.load_state_dict(_with_prefix(tensors, "network."))
        self.average = _with_prefix(tensors, "average.")
        for name, value in self.parameters.items():
            if state := _with_prefix(tensors, f"optimizer.{name}."):
                self.optimizer.state[value] = state
        self.bank = tensors["bank"].cpu().numpy()
        self.next_pairs = tensors["planned"].cpu().numpy()
        self.scales = tensors["scales"].tolist()
        self.step = int(tensors["step"])

    def average_network(self) -> LogoNetwork:
        """A copy of the network with the moving average of its weights, in evaluation mode."""
        network = LogoNetwork(self.network.head.out_features, self.network.patch_head.out_channels)
        network.load_state_dict({**self.network.state_dict(), **self.average})
        return network.eval()


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
