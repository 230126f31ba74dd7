"""`logo-similarity train` on real logos, with torch."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from logo_similarity.embed.describe import quantize_patches
from logo_similarity.embed.encoder import Encoder
from logo_similarity.errors import EncoderError
from logo_similarity.evaluation.copies import CHANGES
from logo_similarity.image.decode import decode
from logo_similarity.search import score
from logo_similarity.search.score import nearness
from logo_similarity.training.network import LogoNetwork, load_encoder
from logo_similarity.training.objective import agreement, contrastive_loss, distillation_loss
from tests.pictures import embed

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "images").glob("*.jpg"))[::25][:80]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Marks of forty brands, two files of each."""
    made = tmp_path_factory.mktemp("marks")
    (made / "images").mkdir()
    labels = {}
    for number, path in enumerate(SAMPLES):
        shutil.copy(path, made / "images" / path.name)
        split = "train" if number < 60 else "public"
        labels[path.name] = {"brand": f"brand {number // 2}", "kind": "mark", "set": "one", "split": split}
    (made / "labels.json").write_text(json.dumps(labels))
    return made


def command(folder: Path, out: Path, *more: str) -> list[str]:
    options = [
        "--steps",
        "6",
        "--pairs",
        "8",
        "--side",
        "64",
        "--validate-every",
        "3",
        "--save-every",
        "2",
        "--threads",
        "1",
    ]
    start = [sys.executable, "-m", "logo_similarity.cli", "train", str(folder), "--out", str(out)]
    return [*start, "--validate", str(folder), *options, *more]


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole training."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    subprocess.run(command(folder, out), check=True, capture_output=True)
    return out


def log(run: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_it_ends_in_encoders_that_work(run: Path) -> None:
    images = [decode(path.read_bytes()) for path in SAMPLES[:6]]
    whole, small = (Encoder.open(run / name, device="cpu") for name in ("encoder", "encoder-int8"))
    assert (whole.dimension, whole.model.input_spec) == (256, small.model.input_spec)
    first, second = embed(whole, images), embed(small, images)
    assert (first @ second.T).argmax(axis=1).tolist() == list(range(6))
    assert (run / "encoder-int8" / "model.onnx").stat().st_size < (run / "encoder" / "model.onnx").stat().st_size
    again = embed(whole, [CHANGES["in a corner"](image) for image in images])
    assert (first @ again.T).argmax(axis=1).tolist() == list(range(6))


def test_its_log_its_curves_and_its_best_weights(run: Path) -> None:
    assert list(log(run)) == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(loss) for loss in log(run).values())
    assert {"map", "hard_map", "step"} == set(json.loads((run / "best.json").read_bytes()))
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert decode((run / "curves.png").read_bytes()).std() > 1


def test_killed_and_run_again_it_ends_the_same(folder: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    with subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not ((out / "log.jsonl").exists() and (out / "log.jsonl").stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not (out / "encoder").exists(), "it was done before it could be killed"
    subprocess.run(command(folder, out), check=True, capture_output=True)
    assert log(out) == log(run)
    assert (out / "encoder" / "model.onnx").read_bytes() == (run / "encoder" / "model.onnx").read_bytes()


@pytest.mark.parametrize("more", [["--seed", "5"], ["--start", "fp32"], ["--keep", "0.5"], ["--teacher", "fp32"]])
def test_other_settings_are_refused(folder: Path, run: Path, more: list[str]) -> None:
    before = (run / "encoder" / "model.onnx").read_bytes()
    ended = subprocess.run(command(folder, run, *more), check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "other settings" in ended.stderr
    assert (run / "encoder" / "model.onnx").read_bytes() == before


def test_bfloat16_learns_nearly_the_same(folder: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "bfloat16"
    subprocess.run(command(folder, out, "--bfloat16", "--steps", "2"), check=True, capture_output=True)
    exact, rounded = log(run)[1], log(out)[1]
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.05)


def test_an_encoder_can_be_trained_on(run: Path, tmp_path: Path) -> None:
    network = LogoNetwork()
    load_encoder(network, run / "encoder" / "model.onnx")
    images = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        found = torch.nn.functional.normalize(network.eval()(images)[0], dim=1).numpy()
    np.testing.assert_allclose(found, Encoder.open(run / "encoder", device="cpu").infer(images.numpy()), atol=1e-4)
    with pytest.raises(EncoderError, match="not this network"):
        load_encoder(network, run / "encoder-int8" / "model.onnx")


def test_agreement_is_the_one_that_a_search_computes() -> None:
    random = torch.Generator().manual_seed(0)
    patches = torch.randn(9, 16, 5, generator=random)
    patches /= torch.sqrt(1 + patches.square().sum(dim=2, keepdim=True))
    ours = agreement(patches[:1], patches[None], torch.tensor(nearness(4)))[0]
    gallery = quantize_patches(patches.numpy())
    np.testing.assert_allclose(ours, score.agreement(gallery[0], gallery), atol=0.01)


def test_the_loss_falls_as_pairs_come_together() -> None:
    random = torch.Generator().manual_seed(0)
    centres, noise = torch.randn(8, 32, generator=random), torch.randn(16, 32, generator=random)
    groups = torch.arange(8).repeat_interleave(2)
    losses = [
        float(contrastive_loss(centres.repeat_interleave(2, dim=0) + scale * noise, groups, groups, 0.07))
        for scale in (2.0, 1.0, 0.5, 0.1)
    ]
    assert losses == sorted(losses, reverse=True)
    one_family = contrastive_loss(noise, groups, torch.zeros(16, dtype=torch.long), 0.07)
    assert float(one_family) == pytest.approx(0, abs=1e-6), "pictures of one family were told apart"


def test_a_teacher_is_followed() -> None:
    random = torch.Generator().manual_seed(0)
    taught = torch.nn.functional.normalize(torch.randn(16, 32, generator=random), dim=1)
    noise, rows = torch.randn(16, 32, generator=random), torch.arange(16)
    losses = [float(distillation_loss(taught + scale * noise, taught, rows, 0.07)) for scale in (2.0, 0.5, 0.1, 0.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=1e-6)
    # The distance between two views of one image is not compared with the teacher.
    halves = torch.arange(8).repeat_interleave(2)
    pairs = taught[::2].repeat_interleave(2, dim=0)
    turned = torch.cat((pairs, torch.zeros(16, 1)), dim=1)
    turned[1::2, -1] = 1e-3
    assert float(distillation_loss(turned, pairs, halves, 0.07)) == pytest.approx(0, abs=1e-3)


def test_initial_weights_are_kept_in_part(folder: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    start = ["--start", str(run / "encoder"), "--steps", "2", "--learning-rate", "10", "--keep", "0.25"]
    subprocess.run(command(folder, out, *start), check=True, capture_output=True)
    initial, mixed, learned = LogoNetwork(), LogoNetwork(), LogoNetwork()
    load_encoder(initial, run / "encoder" / "model.onnx")
    load_encoder(mixed, out / "encoder" / "model.onnx")
    learned.load_state_dict(load_file(out / "best.safetensors"))
    before, between, after = (network.head.weight.detach().numpy() for network in (initial, mixed, learned))
    assert np.abs(after - before).max() > 2e-3
    np.testing.assert_allclose(between, 0.25 * before + 0.75 * after, rtol=1e-3, atol=2e-4)


def test_a_run_with_a_teacher(folder: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "taught"
    teacher = ["--teacher", str(run / "encoder")]
    subprocess.run(command(folder, out, *teacher, "--steps", "2"), check=True, capture_output=True)
    alone, taught = log(run), log(out)
    assert taught[1] > alone[1], "the difference from the teacher adds to the loss"
    stored = np.load(out / "teacher.npy")
    assert stored.shape == (60, 256)
    np.testing.assert_allclose(np.linalg.norm(stored.astype(np.float32), axis=1), 1, atol=1e-3)
    other = [*command(folder, out, "--steps", "2"), "--teacher", str(run / "encoder-int8")]
    ended = subprocess.run(other, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "other settings" in ended.stderr
