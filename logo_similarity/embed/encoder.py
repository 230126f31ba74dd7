"""An encoder: an ONNX Runtime session with checked inputs and outputs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.model import MODEL_JSON, EncoderModel, load_model
from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import inked_cells, preprocess

Floats = NDArray[np.float32]

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


class Encoder:
    """Computes embeddings, and patches if the model has them. Safe to call from many threads at once."""

    def __init__(self, model: EncoderModel, session: Any) -> None:  # noqa: ANN401 - ONNX Runtime ships no types
        self.model = model
        self._session = session

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto", threads: int = 1) -> Self:
        """Load an encoder folder.

        Args:
            folder: contains `model.json` and its ONNX file.
            device: "cpu", "cuda", or "auto": CUDA if it is available, else the CPU.
            threads: threads of one call. Several callers on one thread each have a higher throughput than one caller on
                several threads.

        Raises:
            EncoderError: the folder, the model or the device cannot be used.
        """
        model = load_model(folder)
        try:
            import onnxruntime  # heavy, and provided by one of two packages
        except ImportError:
            raise EncoderError(
                "ONNX Runtime is not installed: run pip install '.[cpu]' (or '.[gpu]') in the source folder"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Spinning threads would take CPU time from other searches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The sha256 does not cover weights in a second file. With a file as their folder, loading them fails.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder / model.file)
        )
        options.log_severity_level = 3
        if device != "cpu" and CUDA in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()  # CUDA's libraries from Python packages if installed, else from the system
        providers = [CUDA, CPU] if device != "cpu" and CUDA in onnxruntime.get_available_providers() else [CPU]
        try:
            session = onnxruntime.InferenceSession(folder / model.file, options, providers=providers)
        except _runtime_errors() as error:
            raise EncoderError(f"{folder / model.file}: cannot be loaded: {_first_line(error)}") from None
        # ONNX Runtime falls back to the CPU without an error.
        if device == "cuda" and CUDA not in session.get_providers():
            raise EncoderError("LOGO_DEVICE=cuda, but CUDA cannot be loaded; run `logo-similarity doctor`")
        encoder = cls(model, session)
        encoder._check_tensors(folder)
        return encoder

    @property
    def dimension(self) -> int:
        """Number of dimensions of an embedding."""
        return self.model.dimension

    @property
    def provider(self) -> str:
        """The device in use: "cuda" or "cpu"."""
        return "cuda" if CUDA in self._session.get_providers() else "cpu"

    @property
    def has_patches(self) -> bool:
        """Whether the model has patches with a weight above 0."""
        return self.model.outputs.patches is not None and self.model.rerank_weight > 0

    def infer(self, batch: Floats) -> Floats:
        """The embeddings of a batch, (n, dimension) float32, unit length.

        Args:
            batch: n results of `preprocess`, stacked.

        Raises:
            EncoderError: inference failed, or an embedding has the wrong shape, is zero or is not finite.
        """
        return self._normalise(self._run([self.model.outputs.embedding], batch)[0], len(batch))

    def infer_with_patches(self, batch: Floats) -> tuple[Floats, Floats]:
        """The embeddings of a batch as from `infer`, and its patches, (n, cells, channels) float32.

        A patch is a vector no longer than 1 for each cell of a square grid. It is zero if the cell shows only the
        background, because a match of two backgrounds says nothing about the marks.

        Raises:
            EncoderError: see `infer`; or the model has no patches, or a patch is longer than 1 or not finite, or the
                cells do not form a square grid.
        """
        if self.model.outputs.patches is None:
            raise EncoderError(f"{self.model.id}: the model has no patches")
        embeddings, patches = self._run([self.model.outputs.embedding, self.model.outputs.patches], batch)
        if patches.ndim != 3 or len(patches) != len(batch) or math.isqrt(patches.shape[1]) ** 2 != patches.shape[1]:
            raise EncoderError(f"{self.model.id}: the patches have the shape {patches.shape}; expected a square grid")
        if not (np.einsum("nij,nij->ni", patches, patches) < 1 + 1e-3).all():  # NaN compares false
            raise EncoderError(f"{self.model.id}: a patch is longer than 1 or not finite")
        inked = inked_cells(batch, self.model.input_spec, math.isqrt(patches.shape[1]))
        return self._normalise(embeddings, len(batch)), patches * inked[..., np.newaxis]

    def _normalise(self, embeddings: Floats, count: int) -> Floats:
        if embeddings.shape != (count, self.dimension):
            raise EncoderError(
                f"{self.model.id}: the embeddings have the shape {embeddings.shape}; expected {(count, self.dimension)}"
            )
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and (lengths > 1e-6).all()):
            raise EncoderError(f"{self.model.id}: an embedding is zero or not finite")
        return np.asarray(embeddings / lengths, np.float32)

    def warm_up(self) -> None:
        """Run once, so that the first search does not pay for one-time initialisation."""
        spec = self.model.input_spec
        self.infer(
            preprocess(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))[..., np.newaxis].repeat(3, 2), spec)[None]
        )

    def _run(self, outputs: list[str], batch: Floats) -> list[Floats]:
        # ONNX Runtime computes all outputs: `only_execute_path_to_fetches` works in training builds only.
        try:
            return [np.asarray(output) for output in self._session.run(outputs, {self.model.input.name: batch})]
        except _runtime_errors() as error:
            raise EncoderError(f"{self.model.id}: inference failed: {_first_line(error)}") from None

    def _check_tensors(self, folder: Path) -> None:
        """Compare the tensors of the ONNX file with `model.json`."""
        path, declared = folder / self.model.file, self.model.input
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if set(inputs) != {declared.name}:
            raise EncoderError(f"{path}: the inputs are {sorted(inputs)}; {MODEL_JSON} declares {declared.name!r}")
        sides = (declared.height, declared.width)
        shape = (3, *sides) if declared.layout == "nchw" else (*sides, 3)
        tensor = inputs[declared.name]
        if tensor.type != "tensor(float)" or len(tensor.shape) != 4 or isinstance(tensor.shape[0], int):
            raise EncoderError(
                f"{path}: the input is {tensor.type} {tensor.shape}; expected float32, 4 axes, a dynamic batch axis"
            )
        if any(isinstance(size, int) and size != side for size, side in zip(tensor.shape[1:], shape, strict=True)):
            raise EncoderError(
                f"{path}: the input is {tensor.shape}; {MODEL_JSON} declares (n, {', '.join(map(str, shape))})"
            )
        for name in filter(None, (self.model.outputs.embedding, self.model.outputs.patches)):
            if name not in outputs:
                raise EncoderError(f"{path}: has no output {name!r}; its outputs are {sorted(outputs)}")
            if outputs[name].type != "tensor(float)":
                raise EncoderError(f"{path}: the output {name!r} is {outputs[name].type}; expected float32")
        dimension = outputs[self.model.outputs.embedding].shape[-1]
        if isinstance(dimension, int) and dimension != self.dimension:
            raise EncoderError(
                f"{path}: embeddings have {dimension} dimensions; {MODEL_JSON} declares {self.dimension}"
            )


def _runtime_errors() -> tuple[type[Exception], ...]:
    """The exceptions that ONNX Runtime raises: a dozen classes without a common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    classes = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*classes, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
