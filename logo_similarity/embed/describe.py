"""From pixels to everything that a search compares: the one way for builds, searches and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from logo_similarity.description import TURNS, Description, Parts, Place
from logo_similarity.embed.encoder import Encoder
from logo_similarity.embed.parts import cut_part, find_parts
from logo_similarity.image.content import Content, cut, find_content
from logo_similarity.image.cut import complete
from logo_similarity.image.decode import Pixels
from logo_similarity.image.ink import Box
from logo_similarity.image.preprocess import find_shown, prepare, preprocess

Floats = NDArray[np.float32]
Patches = NDArray[np.int8]

STEPS = 127
"""A patch is no longer than 1; its coordinates are stored as int8 in steps of 1 / 127."""


def describe(
    pixels: Pixels,
    encoder: Encoder,
    lap: Callable[[str], object] = lambda _: None,
    content: Content | None = None,
) -> Description:
    """Describe one picture.

    One picture at a time, in builds as in searches: a batch gains nothing on one core, and might round differently.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        encoder: computes the embedding and the patches.
        lap: called with the name of each stage when it ends: "preprocess", "embed".
        content: of the picture, if that has been found before.

    Raises:
        EncoderError: the model's output is not an embedding.
    """
    spec = encoder.model.input_spec
    shown = find_shown(pixels, spec, content)
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


def describe_with_parts(pixels: Pixels, encoder: Encoder) -> Description:
    """Describe one picture and its parts. Arguments and errors as of `describe`."""
    content = find_content(pixels)
    return replace(describe(pixels, encoder, content=content), parts=describe_parts(pixels, encoder, content))


def describe_parts(pixels: Pixels, encoder: Encoder, content: Content | None = None) -> Parts:
    """Find and embed the parts of one picture.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        encoder: computes the embeddings.
        content: of the picture, if that has been found before.

    Raises:
        EncoderError: the model's output is not an embedding.
    """
    content = content or find_content(pixels)
    mark = cut(pixels, content)
    parts = find_parts(mark, content.paper)
    embeddings = [
        encoder.infer(preprocess(cut_part(mark, part), encoder.model.input_spec)[np.newaxis])[0] for part in parts
    ]
    boxes = np.array([_in_picture(part.box, mark, content.box, pixels) for part in parts], np.float32)
    return Parts(np.array(embeddings, np.float32).reshape(-1, encoder.dimension), boxes.reshape(-1, 4))


def describe_turned(pixels: Pixels, encoder: Encoder) -> list[Description]:
    """Describe one picture as it looks when it is turned by 90, 180 and 270 degrees, without parts.

    Arguments and errors as of `describe`.
    """
    return [
        replace(describe(np.ascontiguousarray(np.rot90(pixels, -turn // 90)), encoder), place=None, turned=turn)
        for turn in TURNS[1:]
    ]


def describe_completed(pixels: Pixels, encoder: Encoder) -> Description:
    """Describe one picture of a part of a mark as a part of a larger picture, without parts of its own.

    Arguments and errors as of `describe`.
    """
    content = find_content(pixels)
    picture = complete(cut(pixels, content), content)
    shown = Content(Box(0, 0, picture.shape[1], picture.shape[0]), content.paper)
    prepared = prepare(picture, encoder.model.input_spec, shown)[np.newaxis]
    embeddings, patches = encoder.infer_with_patches(prepared)
    return Description(embeddings[0], quantize_patches(patches[0]), completed=True)


def within(description: Description, crop: tuple[float, float, float, float]) -> Description:
    """The description of a crop, with boxes that refer to the whole picture.

    Args:
        description: of the cropped pixels.
        crop: left, top, right and bottom as shares of the picture's sides.
    """
    left, top, right, bottom = crop
    corner, sides = np.array([left, top] * 2), np.array([right - left, bottom - top] * 2)
    parts, place = description.parts, description.place
    if parts is not None:
        parts = replace(parts, boxes=(corner + parts.boxes * sides).astype(np.float32))
    if place is not None:
        place = Place._make([*(corner + np.array(place[:4]) * sides).tolist(), place.aspect])
    return replace(description, parts=parts, place=place, box=crop)


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
