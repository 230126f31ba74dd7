"""`model.json`: the description of an encoder's ONNX file, with its input and outputs."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from logo_similarity.errors import EncoderError
from logo_similarity.image.preprocess import InputSpec

MODEL_JSON = "model.json"
BUNDLED = Path(__file__).parent.parent / "models"

Side = Annotated[int, Field(ge=16, le=1024)]
Triple = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelInput(_Part):
    """The input tensor, (n, 3, height, width) or (n, height, width, 3) float32, and the preprocessing of an image."""

    name: str
    width: Side
    height: Side
    crop: Literal["content", "none"]
    resize: Literal["letterbox", "cover"]
    mean: Triple
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    margin: Annotated[float, Field(ge=0, le=0.4)] = 0.0


class ModelOutputs(_Part):
    """Names of the output tensors."""

    embedding: str
    """(n, dimension) float32 of any length; `Encoder` normalises it."""
    patches: str | None = None
    """(n, cells, channels) float32, a vector no longer than 1 for each cell of a square grid; None: no such output."""


class EncoderModel(_Part):
    """The content of `model.json`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\-]{1,100}$")]
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*\.onnx$")]
    """Name of the ONNX file in the same folder; it must contain its weights."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    input: ModelInput
    outputs: ModelOutputs
    dimension: Annotated[int, Field(ge=2, le=8192)]
    rerank_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the patch agreement in a score; 0: the patches are not used."""
    licence: str = "unknown"
    description: str = ""

    @cached_property
    def input_spec(self) -> InputSpec:
        """The input as `image.preprocess` needs it."""
        return InputSpec(**self.input.model_dump(exclude={"name"}))


def load_model(folder: Path) -> EncoderModel:
    """Read `model.json`, and check the sha256 of the ONNX file.

    Raises:
        EncoderError: a file cannot be read, a field is not valid, or the ONNX file has another sha256.
    """
    path = folder / MODEL_JSON
    try:
        model = EncoderModel.model_validate_json(path.read_bytes())
        digest = hashlib.sha256((folder / model.file).read_bytes()).hexdigest()
    except OSError as error:
        raise EncoderError(
            f"{error.filename}: cannot be read ({error.strerror}); an encoder folder has {MODEL_JSON} and an ONNX file"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise EncoderError(f"{path}: {'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}") from None
    if digest != model.sha256:
        raise EncoderError(f"{folder / model.file}: has the sha256 {digest}; {MODEL_JSON} declares {model.sha256}")
    return model


def default_model_folder() -> Path:
    """The folder of the encoder that the package includes."""
    return BUNDLED / "default"


def model_folder(model: Path | None) -> Path:
    """An encoder folder, by its path or by the name of an encoder that the package includes; None: the default one."""
    if model is None:
        return default_model_folder()
    return model if model.exists() or model.name != str(model) or not (BUNDLED / model).is_dir() else BUNDLED / model
