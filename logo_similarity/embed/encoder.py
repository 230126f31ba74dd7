"""An ONNX Runtime session that gives unit vectors, and checks that it does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.model import EncoderModel, load_model
from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import inked_cells, preprocess

Floats = NDArray[np.float32]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class Encoder:
    """Pictures to embeddings. Safe to call from many threads at once."""

    def __init__(self, model: EncoderModel, session: Any) -> None:  # noqa: ANN401 - ONNX Runtime ships no types
        self.model = model
        self._session = session

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto", threads: int = 1) -> Self:
        """Load an encoder folder.

        Args:
            folder: holds `model.json` and its ONNX file.
            device: "cpu"; "cuda", which raises where CUDA does not load; or "auto", which takes it where it does.
            threads: of one call. More callers on one thread each give more images than one caller on many.

        Raises:
            EncoderError: the folder, the model or the device can't be used; says why.
        """
        model = load_model(folder)
        try:
            import onnxruntime  # heavy, and comes from one of two packages
        except ImportError:
            raise EncoderError(
                "ONNX Runtime is not installed: pip install '.[cpu]' (or '.[gpu]') in its source"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # A thread that spins while it waits takes the core from a search that could run.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights in a second file would not be covered by the sha256: they are looked for where no file can be.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder / model.file)
        )
        options.log_severity_level = 3
        if device != "cpu" and CUDA in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()  # CUDA's libraries where they were installed as packages; else the system's
        wanted = [CUDA, CPU] if device != "cpu" and CUDA in onnxruntime.get_available_providers() else [CPU]
        try:
            session = onnxruntime.InferenceSession(folder / model.file, options, providers=wanted)
        except _runtime_errors() as error:
            raise EncoderError(f"{folder / model.file}: not a model that can be run: {_first_line(error)}") from None
        # What was asked for is not what one gets: CUDA falls back to the CPU without an error.
        if device == "cuda" and CUDA not in session.get_providers():
            raise EncoderError("LOGO_DEVICE=cuda, but CUDA does not load here; see `logo-similarity doctor`")
        encoder = cls(model, session)
        encoder._check_tensors(folder)
        return encoder

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.model.dimension

    @property
    def provider(self) -> str:
        """Where it really runs: "cuda" or "cpu"."""
        return "cuda" if CUDA in self._session.get_providers() else "cpu"

    @property
    def has_patches(self) -> bool:
        """Whether it gives patches that count for something."""
        return self.model.outputs.patches is not None and self.model.rerank_weight > 0

    def infer(self, batch: Floats) -> Floats:
        """(n, dimension) float32 unit vectors of a prepared batch (as `preprocess` makes it, stacked).

        Raises:
            EncoderError: the model gave another shape, something not finite, or a zero vector.
        """
        return self._unit(self._run([self.model.outputs.embedding], batch)[0], len(batch))

    def infer_with_patches(self, batch: Floats) -> tuple[Floats, Floats]:
        """The same, and (n, cells, channels) float32: a vector no longer than 1 for each cell of a square grid.

        Zero where the cell shows nothing: paper is like any other paper, and that says nothing of a mark.

        Raises:
            EncoderError: see `infer`; or the model has no such output, or patches of another kind.
        """
        if self.model.outputs.patches is None:
            raise EncoderError(f"{self.model.id} has no output for patches")
        embeddings, patches = self._run([self.model.outputs.embedding, self.model.outputs.patches], batch)
        if patches.ndim != 3 or len(patches) != len(batch) or math.isqrt(patches.shape[1]) ** 2 != patches.shape[1]:
            raise EncoderError(f"{self.model.id}: gave patches of shape {patches.shape}; a square grid is needed")
        if not (np.einsum("nij,nij->ni", patches, patches) < 1 + 1e-3).all():  # NaN compares false
            raise EncoderError(f"{self.model.id}: gave patches that are longer than 1 or not finite")
        inked = inked_cells(batch, self.model.input_spec, math.isqrt(patches.shape[1]))
        return self._unit(embeddings, len(batch)), patches * inked[..., np.newaxis]

    def _unit(self, embeddings: Floats, count: int) -> Floats:
        if embeddings.shape != (count, self.dimension):
            raise EncoderError(f"{self.model.id}: gave embeddings of shape {embeddings.shape}")
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 1e-6).all()):
            raise EncoderError(f"{self.model.id}: gave an embedding that is zero or not finite")
        return np.asarray(embeddings / lengths, np.float32)

    def warm_up(self) -> None:
        """Run once, so that the first search does not pay for what is set up on first use."""
        spec = self.model.input_spec
        self.infer(
            preprocess(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., np.newaxis].repeat(3, 2), spec)[None]
        )

    def _run(self, outputs: list[str], batch: Floats) -> list[Floats]:
        # All outputs are computed whichever is asked for: `only_execute_path_to_fetches` works in training builds alone.
        try:
            return [np.asarray(found) for found in self._session.run(outputs, {self.model.input.name: batch})]
        except _runtime_errors() as error:
            raise EncoderError(f"{self.model.id}: failed: {_first_line(error)}") from None

    def _check_tensors(self, folder: Path) -> None:
        """Compare what the ONNX file says of its tensors with `model.json`."""
        place, described = folder / self.model.file, self.model.input
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if set(inputs) != {described.name}:
            raise EncoderError(f"{place}: its inputs are {sorted(inputs)}, model.json says {described.name!r}")
        sides = (described.height, described.width)
        shape = (3, *sides) if described.layout == "nchw" else (*sides, 3)
        tensor = inputs[described.name]
        if tensor.type != "tensor(float)" or len(tensor.shape) != 4 or isinstance(tensor.shape[0], int):
            raise EncoderError(
                f"{place}: its input is {tensor.type} {tensor.shape}; float32 with a free batch axis is needed"
            )
        if any(isinstance(found, int) and found != said for found, said in zip(tensor.shape[1:], shape, strict=True)):
            raise EncoderError(
                f"{place}: its input is {tensor.shape}, model.json says (n, {', '.join(map(str, shape))})"
            )
        for name in filter(None, (self.model.outputs.embedding, self.model.outputs.patches)):
            if name not in outputs:
                raise EncoderError(f"{place}: has no output {name!r}; it has {sorted(outputs)}")
            if outputs[name].type != "tensor(float)":
                raise EncoderError(f"{place}: its output {name!r} is {outputs[name].type}; float32 is needed")
        dimension = outputs[self.model.outputs.embedding].shape[-1]
        if isinstance(dimension, int) and dimension != self.dimension:
            raise EncoderError(f"{place}: its embeddings have {dimension} dimensions, model.json says {self.dimension}")


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: a dozen classes of its own that have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
