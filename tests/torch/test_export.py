"""`logo-similarity export`: the architectures that people bring, with weights at random, since no hub is asked here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from logo_similarity.cli import app
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.model import load_model
from logo_similarity.errors import EncoderError
from logo_similarity.image.decode import decode
from logo_similarity.image.preprocess import preprocess
from tests.pictures import embed

SAMPLE = next(iter(sorted((Path(__file__).parents[2] / "samples" / "images").glob("*.jpg"))))
VISION = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**VISION, "vocab_size": 99}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def export(*arguments: str) -> None:
    result = CliRunner().invoke(app, ["export", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def check(folder: Path, dimension: int, side: int) -> Encoder:
    encoder = Encoder.open(folder, device="cpu")
    (embedding,) = embed(encoder, [decode(SAMPLE.read_bytes())])
    assert embedding.shape == (dimension,)
    assert (encoder.model.input.width, encoder.model.input.height) == (side, side)
    return encoder


@pytest.mark.parametrize(
    ("name", "dimension", "side", "mean"),
    [
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 192, 96, 0.5),
        ("vit_small_patch14_dinov2.lvd142m", 384, 70, 0.485),
        ("vit_base_patch16_siglip_224.webli", 768, 64, 0.5),
        ("vit_base_patch32_clip_224.openai", 768, 64, 0.48145466),
        ("resnet18.a1_in1k", 512, 64, 0.485),
    ],
)
def test_timm(tmp_path: Path, name: str, dimension: int, side: int, mean: float) -> None:
    export(f"timm:{name}", "--out", str(tmp_path), "--side", str(side), "--random")
    encoder = check(tmp_path, dimension, side)
    assert encoder.model.input.mean[0] == pytest.approx(mean)
    assert encoder.model.id == name
    assert "random" in encoder.model.description


def configuration(kind: str, folder: Path) -> str:
    """A small model of the family, as a folder that transformers reads."""
    from transformers import CLIPConfig, ConvNextConfig, Dinov2Config, SiglipConfig

    sides = {"image_size": 64, "patch_size": 16}
    made = {
        "clip": lambda: CLIPConfig(vision_config={**VISION, **sides}, text_config=TEXT, projection_dim=48),
        "siglip": lambda: SiglipConfig(vision_config={**VISION, **sides}, text_config=TEXT),
        "dinov2": lambda: Dinov2Config(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14
        ),
        "convnext": lambda: ConvNextConfig(hidden_sizes=[16, 32, 48, 56], depths=[1, 1, 1, 1], image_size=64),
    }
    made[kind]().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]})
    )
    return f"hf:{folder}"


@pytest.mark.parametrize(
    ("kind", "dimension", "side"), [("clip", 48, 64), ("siglip", 64, 64), ("dinov2", 64, 70), ("convnext", 56, 64)]
)
def test_transformers(tmp_path: Path, kind: str, dimension: int, side: int) -> None:
    model = configuration(kind, tmp_path / "config")
    export(model, "--out", str(tmp_path / "out"), "--random", "--name", kind, "--licence", "MIT")
    encoder = check(tmp_path / "out", dimension, side)
    assert encoder.model.input.mean == (0.1, 0.2, 0.3)
    assert (encoder.model.id, encoder.model.licence) == (kind, "MIT")


def test_another_side_than_the_models_own(tmp_path: Path) -> None:
    export(configuration("dinov2", tmp_path / "config"), "--out", str(tmp_path / "out"), "--random", "--side", "98")
    check(tmp_path / "out", 64, 98)


def test_stored_weights_are_the_ones_that_are_exported(tmp_path: Path) -> None:
    """From a folder with weights: what torch computes is what the encoder gives."""
    from transformers import AutoConfig, AutoModel

    model = configuration("dinov2", tmp_path / "config")
    network = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path / "config")).eval()
    network.save_pretrained(tmp_path / "config")
    export(model, "--out", str(tmp_path / "out"), "--crop", "none", "--resize", "cover")
    encoder = check(tmp_path / "out", 64, 70)
    prepared = preprocess(decode(SAMPLE.read_bytes()), encoder.model.input_spec)[np.newaxis]
    with torch.inference_mode():
        pooled = network(pixel_values=torch.from_numpy(prepared)).pooler_output[0].numpy()
    np.testing.assert_allclose(encoder.infer(prepared)[0], pooled / np.linalg.norm(pooled), atol=1e-4)
    assert (load_model(tmp_path / "out").input.crop, load_model(tmp_path / "out").input.resize) == ("none", "cover")


@pytest.mark.parametrize("model", ["hf:nobody/nothing", "timm:resnet18.a1_in1k", "timm:nothing"])
def test_what_cannot_be_had_is_said(tmp_path: Path, model: str) -> None:
    with pytest.raises(EncoderError, match=model.partition(":")[2]):
        export(model, "--out", str(tmp_path))


def test_a_model_of_nowhere(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "resnet18", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "timm: or hf:" in result.output


def test_the_hub_is_sent_no_telemetry() -> None:
    from huggingface_hub import constants

    assert constants.HF_HUB_DISABLE_TELEMETRY
