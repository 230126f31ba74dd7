from __future__ import annotations

import hashlib
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from logo_similarity.embed.encoder import CPU, CUDA, Encoder
from logo_similarity.embed.model import default_model_folder, load_model, model_folder
from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import preprocess
from tests.pictures import embed


def picture(seed: int = 0, height: int = 90, width: int = 160) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_model(folder: Path, **changes: object) -> Path:
    """A second encoder, unlike ours in all that model.json can say: mean colour of each quarter, times two."""
    folder.mkdir()
    scale = numpy_helper.from_array(np.array([2.0], np.float32), "scale")
    rows = numpy_helper.from_array(np.array([0, -1], np.int64), "rows")
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["quarters"], kernel_shape=[24, 16], strides=[24, 16]),
        helper.make_node("Reshape", ["quarters", "rows"], ["flat"]),
        helper.make_node("Mul", ["flat", "scale"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quarters",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 48, 32, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 12])],
        [scale, rows],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "quarters.onnx")
    described: dict[str, object] = {
        "id": "quarters",
        "file": "quarters.onnx",
        "sha256": hashlib.sha256((folder / "quarters.onnx").read_bytes()).hexdigest(),
        "input": {
            "name": "pixels",
            "width": 32,
            "height": 48,
            "crop": "none",
            "resize": "cover",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.5, 1.0],
            "channels": "bgr",
            "layout": "nhwc",
        },
        "outputs": {"embedding": "features"},
        "dimension": 12,
    }
    for name, value in changes.items():
        part = described["input"] if name in ("name", "width", "height", "layout", "margin", "std") else described
        assert isinstance(part, dict)
        part[name] = value
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def write_patches(folder: Path, *, shape: tuple[int, ...], weight: float = 0.5) -> Path:
    """The same with the features as patches, too, in this shape; -1: what remains."""
    write_model(folder)
    model = onnx.load(folder / "quarters.onnx")
    model.graph.node.append(helper.make_node("Reshape", ["features", "cells"], ["patches"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "cells"))
    model.graph.output.append(helper.make_tensor_value_info("patches", TensorProto.FLOAT, None))
    onnx.save(model, folder / "quarters.onnx")
    described = json.loads((folder / "model.json").read_text())
    described["sha256"] = hashlib.sha256((folder / "quarters.onnx").read_bytes()).hexdigest()
    described["outputs"]["patches"] = "patches"
    described["rerank_weight"] = weight
    (folder / "model.json").write_text(json.dumps(described))
    return folder


def write_linear(
    folder: Path,
    *,
    batch: str | int = "n",
    takes: int = TensorProto.FLOAT,
    gives: int = TensorProto.FLOAT,
    width: int = 12,
    external: bool = False,
    batch_summed: bool = False,
) -> Path:
    """One matrix product of 16 x 16 pixels, for faults in the ONNX file itself; model.json says 12 dimensions, float32."""
    folder.mkdir()
    weights = numpy_helper.from_array(np.ones((3 * 16 * 16, width), np.float32), "weights")
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Cast", ["product"], ["rows" if batch_summed else "features"], to=gives),
    ]
    if batch_summed:
        nodes.append(helper.make_node("ReduceSum", ["rows", "batch_axis"], ["features"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("pixels", takes, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("features", gives, None)],
        [weights, numpy_helper.from_array(np.array([0], np.int64), "batch_axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "linear.onnx", save_as_external_data=external, location="weights.bin")
    described = {
        "id": "linear",
        "file": "linear.onnx",
        "sha256": hashlib.sha256((folder / "linear.onnx").read_bytes()).hexdigest(),
        "input": {
            "name": "pixels",
            "width": 16,
            "height": 16,
            "crop": "none",
            "resize": "cover",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "outputs": {"embedding": "features"},
        "dimension": 12,
    }
    (folder / "model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.open(default_model_folder(), device="cpu")


def test_default_gives_unit_vectors(encoder: Encoder) -> None:
    embeddings = embed(encoder, [picture(seed) for seed in range(5)])
    assert embeddings.shape == (5, 256)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_a_batch_gives_what_single_pictures_give(encoder: Encoder) -> None:
    pictures = [picture(seed) for seed in range(6)]
    batch = np.stack([preprocess(one, encoder.model.input_spec) for one in pictures])
    np.testing.assert_allclose(encoder.infer(batch), embed(encoder, pictures), atol=1e-5)


def test_same_picture_same_bits_from_every_thread(encoder: Encoder) -> None:
    expected = embed(encoder, [picture()])
    different: list[int] = []

    def work() -> None:
        different.extend(n for n in range(10) if not np.array_equal(embed(encoder, [picture()]), expected))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not different


def test_every_encoder_can_warm_up(encoder: Encoder, tmp_path: Path) -> None:
    encoder.warm_up()
    Encoder.open(write_model(tmp_path / "other"), device="cpu").warm_up()


def test_patches_are_one_vector_for_each_cell(encoder: Encoder) -> None:
    batch = np.stack([preprocess(picture(seed), encoder.model.input_spec) for seed in range(3)])
    embeddings, patches = encoder.infer_with_patches(batch)
    np.testing.assert_array_equal(embeddings, encoder.infer(batch))
    assert patches.shape == (3, 64, 16)
    lengths = np.linalg.norm(patches, axis=2)
    assert lengths.max() < 1
    blank = np.full((90, 90, 3), 255, np.uint8)
    blank[40:50, 40:50] = 0
    prepared = preprocess(blank, replace(encoder.model.input_spec, crop="none"))[np.newaxis]
    lengths = np.linalg.norm(encoder.infer_with_patches(prepared)[1][0], axis=1).reshape(8, 8)
    assert (lengths[3:5, 3:5] > 0.3).all()
    lengths[3:5, 3:5] = 0
    assert not lengths.any(), "a cell with nothing in it counts"


def test_onnx_file_is_whole_and_its_batch_is_free() -> None:
    folder = default_model_folder()
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    assert not [tensor.name for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    output = load_model(folder).outputs.embedding
    for count in (1, 3):
        outputs = session.run([output], {"image": np.zeros((count, 3, 128, 128), np.float32)})
        assert outputs[0].shape == (count, 256)


def test_encoders_of_the_package_go_by_name_and_others_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder(None) == default_model_folder()
    assert load_model(model_folder(Path("fp32"))).id == "logo-lite0-128"
    assert model_folder(Path("nothing")) == Path("nothing")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fp32").mkdir()
    assert model_folder(Path("fp32")) == Path("fp32"), "a folder of the user's own is hidden by ours"


def test_the_two_forms_of_our_encoder_see_the_same(encoder: Encoder) -> None:
    images = [picture(seed) for seed in range(3)]
    whole = embed(Encoder.open(model_folder(Path("fp32")), device="cpu"), images)
    assert np.einsum("nd,nd->n", embed(encoder, images), whole).min() > 0.9


def test_another_model_works_by_its_description(tmp_path: Path) -> None:
    other = Encoder.open(write_model(tmp_path / "other"), device="cpu")
    image = np.zeros((96, 64, 3), np.uint8)  # the shape of the input, doubled: nothing is cut off
    image[:48, :32] = (255, 128, 0)
    (embedding,) = embed(other, [image])
    values = np.array([0, 128 / 255, 1], np.float32)  # blue, green, red
    expected = np.zeros((3, 2, 2), np.float32)
    for channel, (value, std) in enumerate(zip(values, (0.25, 0.5, 1.0), strict=True)):
        expected[channel] = -0.5 / std
        expected[channel, 0, 0] = (value - 0.5) / std
    np.testing.assert_allclose(embedding, expected.ravel() / np.linalg.norm(expected), atol=1e-4)
    with pytest.raises(EncoderError, match="the model has no patches"):
        other.infer_with_patches(np.zeros((1, 48, 32, 3), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "image"}, "the inputs are"),
        ({"width": 33}, "the input is"),
        ({"layout": "nchw"}, "the input is"),
        ({"dimension": 13}, "12 dimensions"),
        ({"outputs": {"embedding": "nothing"}}, "no output 'nothing'"),
        ({"outputs": {"embedding": "features", "patches": "cells"}}, "no output 'cells'"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"file": "../quarters.onnx"}, r"model\.json: file: "),
        ({"surprise": 1}, "surprise"),
        ({"id": "no good"}, r"model\.json: id: "),
    ],
)
def test_a_wrong_description_says_what_is_wrong(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        Encoder.open(write_model(tmp_path / "wrong", **changes), device="cpu")


def test_what_a_description_may_leave_out(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "short"))
    assert (model.input.margin, model.rerank_weight, model.outputs.patches) == (0, 0, None)
    linear = load_model(write_linear(tmp_path / "linear")).input
    assert (linear.channels, linear.layout) == ("rgb", "nchw")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("width", (16, 1024), (15, 1025)),
        ("height", (16, 1024), (15, 1025)),
        ("margin", (0, 0.4), (-0.001, 0.401)),
        ("std", ([1e-6] * 3,), ([0, 1, 1], [1, 0, 1], [1, 1, 0])),
        ("dimension", (2, 8192), (1, 8193)),
        ("rerank_weight", (0, 1), (-0.001, 1.001)),
        ("id", ("x" * 100,), ("", "x" * 101)),
    ],
)
def test_the_bounds_of_a_description(tmp_path: Path, field: str, good: tuple[object], bad: tuple[object]) -> None:
    for number, value in enumerate(good):
        load_model(write_model(tmp_path / f"good-{number}", **{field: value}))
    for number, value in enumerate(bad):
        with pytest.raises(EncoderError, match=rf"model\.json: (input\.)?{field}"):
            load_model(write_model(tmp_path / f"bad-{number}", **{field: value}))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"batch": 1}, "dynamic batch axis"),
        ({"takes": TensorProto.DOUBLE}, r"input is tensor\(double\)"),
        ({"gives": TensorProto.INT64}, r"'features' is tensor\(int64\)"),
        ({"gives": TensorProto.FLOAT16}, r"'features' is tensor\(float16\)"),
        ({"external": True}, "External data path"),
        ({"width": 11}, "11 dimensions"),
    ],
)
def test_an_onnx_file_that_can_not_be_an_encoder_is_refused(
    tmp_path: Path, fault: dict[str, Any], message: str
) -> None:
    assert Encoder.open(write_linear(tmp_path / "sound"), device="cpu").dimension == 12
    with pytest.raises(EncoderError, match=message):
        Encoder.open(write_linear(tmp_path / "faulty", **fault), device="cpu")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.json"):
        load_model(tmp_path)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "broken")
    (folder / "quarters.onnx").write_bytes(b"nonsense")
    described = json.loads((folder / "model.json").read_text())
    described["sha256"] = hashlib.sha256(b"nonsense").hexdigest()
    (folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(EncoderError, match="cannot be loaded"):
        Encoder.open(folder, device="cpu")


def test_cuda_is_not_promised_where_it_does_not_load() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        assert Encoder.open(default_model_folder(), device="auto").provider == "cuda"
    else:
        with pytest.raises(EncoderError, match="LOGO_DEVICE"):
            Encoder.open(default_model_folder(), device="cuda")
        assert Encoder.open(default_model_folder(), device="auto").provider == "cpu"


@pytest.mark.parametrize(("device", "wanted"), [("cpu", [CPU]), ("auto", [CUDA, CPU]), ("cuda", [CUDA, CPU])])
def test_cuda_is_taken_where_it_is_there_and_wanted(
    monkeypatch: pytest.MonkeyPatch, device: str, wanted: list[str]
) -> None:
    """The package for CUDA is pretended: its libraries do not load, and the session falls back to the CPU."""
    real, asked, preloaded = onnxruntime.InferenceSession, [], []

    def open_session(path: Path, options: Any, providers: list[str]) -> Any:
        asked.append(providers)
        return real(path, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: preloaded.append(device))
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    if device == "cuda":
        with pytest.raises(EncoderError, match="CUDA cannot be loaded"):
            Encoder.open(default_model_folder(), device=device)
    else:
        assert Encoder.open(default_model_folder(), device=device).provider == "cpu"
    assert asked == [wanted]
    assert bool(preloaded) is (CUDA in wanted)


def test_without_onnx_runtime_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EncoderError, match="ONNX Runtime is not installed"):
        Encoder.open(default_model_folder(), device="cpu")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_output_that_is_no_embedding_is_an_error(tmp_path: Path, value: float) -> None:
    other = Encoder.open(write_model(tmp_path / "zero"), device="cpu")
    with pytest.raises(EncoderError, match="zero or not finite"):
        other.infer(np.full((1, 48, 32, 3), value, np.float32))
    assert other.infer(np.ones((1, 48, 32, 3), np.float32)).shape == (1, 12)


@pytest.mark.parametrize(("value", "wrong"), [(np.nan, True), (0.9, True), (0.2, False)])
def test_patches_longer_than_one_or_not_finite_are_an_error(tmp_path: Path, value: float, wrong: bool) -> None:
    other = Encoder.open(write_patches(tmp_path / "patches", shape=(-1, 4, 3)), device="cpu")
    batch = np.full((1, 48, 32, 3), value, np.float32)
    if wrong:
        with pytest.raises(EncoderError, match="longer than 1 or not finite"):
            other.infer_with_patches(batch)
    else:
        assert other.infer_with_patches(batch)[1].shape == (1, 4, 3)


@pytest.mark.parametrize("shape", [(-1, 2, 6), (1, 4, -1), (-1, 4, 1, 3)])
def test_patches_that_are_not_a_square_grid_for_each_picture_are_an_error(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    other = Encoder.open(write_patches(tmp_path / "patches", shape=shape), device="cpu")
    with pytest.raises(EncoderError, match="expected a square grid"):
        other.infer_with_patches(np.full((2, 48, 32, 3), 0.1, np.float32))


def test_patches_are_there_where_the_model_gives_them_and_they_count(tmp_path: Path) -> None:
    shape = (-1, 4, 3)
    assert Encoder.open(write_patches(tmp_path / "both", shape=shape), device="cpu").has_patches is True
    assert Encoder.open(write_patches(tmp_path / "unused", shape=shape, weight=0), device="cpu").has_patches is False
    assert Encoder.open(write_model(tmp_path / "none", rerank_weight=0.5), device="cpu").has_patches is False


def test_of_a_failure_while_it_runs_the_first_line_is_told() -> None:
    class Failing:
        def run(self, *_: object) -> None:
            raise RuntimeError("out of memory\nat node 7\nin a file")

    other = Encoder(load_model(default_model_folder()), Failing())
    with pytest.raises(EncoderError, match=r"inference failed: out of memory$"):
        other.infer(np.zeros((1, 3, 128, 128), np.float32))


def test_fewer_embeddings_than_pictures_are_an_error(tmp_path: Path) -> None:
    other = Encoder.open(write_linear(tmp_path / "summed", batch_summed=True), device="cpu")
    assert other.infer(np.ones((1, 3, 16, 16), np.float32)).shape == (1, 12)
    with pytest.raises(EncoderError, match=r"shape \(1, 12\)"):
        other.infer(np.ones((3, 3, 16, 16), np.float32))


def test_session_takes_the_threads_it_is_given_and_does_not_spin() -> None:
    options = Encoder.open(default_model_folder(), device="cpu", threads=2)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_call_takes_one_thread_unless_told_otherwise() -> None:
    options = Encoder.open(default_model_folder(), device="cpu")._session.get_session_options()
    assert options.intra_op_num_threads == 1
