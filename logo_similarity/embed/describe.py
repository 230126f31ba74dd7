"""From pixels to everything that a search compares: the one way for builds, searches and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.parts import cut_part, find_parts
from logo_similarity.image.content import cut, find_content
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Box
from logo_similarity.image.preprocess import find_shown, prepare, preprocess

Floats = NDArray[np.float32]
Patches = NDArray[np.int8]

STEPS = 127
"""A patch is no longer than 1; its coordinates are stored as int8 in steps of 1 / 127."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The described parts of one picture."""

    embeddings: Floats
    """(p, d) float32, unit length."""
    boxes: Floats
    """(p, 4) float32: left, top, right and bottom as shares of the picture's width and height, 0 to 1."""


class Place(NamedTuple):
    """The content of a picture."""

    left: float
    """Shares of the picture's width and height, 0 to 1."""
    top: float
    right: float
    bottom: float
    aspect: float
    """Width over height of the content, in pixels."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a search compares of one picture."""

    embedding: Floats
    """(d,) float32, unit length."""
    patches: Patches | None
    """(cells, channels) int8, a vector for each cell of a square grid; None if the encoder has none."""
    parts: Parts | None = None
    """None: the parts were not described."""
    place: Place | None = None
    """Where in the picture the encoder looked; None: not known."""


def describe(pixels: Pixels, encoder: Encoder, lap: Callable[[str], object] = lambda _: None) -> Description:
    """Describe one picture.

    One picture at a time, in builds as in searches: a batch gains nothing on one core, and might round differently.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        encoder: computes the embedding and the patches.
        lap: called with the name of each stage when it ends: "preprocess", "embed".

    Raises:
        EncoderError: the model's output is not an embedding.
    """
    spec = encoder.model.input_spec
    shown = find_shown(pixels, spec)
    prepared = prepare(pixels, spec, shown)[np.newaxis]
    lap("preprocess")
    left, top, right, bottom = shown.box
    height, width = pixels.shape[:2]
    place = Place(left / width, top / height, right / width, bottom / height, (right - left) / (bottom - top))
    if encoder.has_patches:
        embeddings, patches = encoder.infer_with_patches(prepared)
        description = Description(embeddings[0], quantize_patches(patches[0]), place=place)
    else:
        description = Description(encoder.infer(prepared)[0], None, place=place)
    lap("embed")
    return description


def describe_parts(pixels: Pixels, encoder: Encoder) -> Parts:
    """Find and embed the parts of one picture.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        encoder: computes the embeddings.

    Raises:
        EncoderError: the model's output is not an embedding.
    """
    content = find_content(pixels)
    mark = cut(pixels, content)
    parts = find_parts(mark, content.paper)
    embeddings = [
        encoder.infer(preprocess(cut_part(mark, part), encoder.model.input_spec)[np.newaxis])[0] for part in parts
    ]
    boxes = np.array([_in_picture(part.box, mark, content.box, pixels) for part in parts], np.float32)
    return Parts(np.array(embeddings, np.float32).reshape(-1, encoder.dimension), boxes.reshape(-1, 4))


def _in_picture(box: Box, mark: Pixels, content: Box, picture: Pixels) -> tuple[float, float, float, float]:
    """A box in the pixels of the content, as shares of the picture's width and height."""
    height, width = picture.shape[:2]
    across, down = (content.right - content.left) / mark.shape[1], (content.bottom - content.top) / mark.shape[0]
    left, right = (min(1.0, (content.left + across * side) / width) for side in (box.left, box.right))
    top, bottom = (min(1.0, (content.top + down * side) / height) for side in (box.top, box.bottom))
    return left, top, right, bottom


def quantize_patches(patches: Floats) -> Patches:
    """Patches, none longer than 1, as int8 of the same shape."""
    return np.rint(patches * STEPS).astype(np.int8)
