from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from logo_similarity.errors import BadImageError
from logo_similarity.image.decode import ImageLimits, Pixels, decode, decode_checked
from logo_similarity.image.formats import Format
from logo_similarity.image.header import KEPT_PIXELS, read_header
from logo_similarity.image.preprocess import InputSpec, border_colour, content_box, preprocess
from tests.pictures import FORMATS, encode, encode_turned, noise, quarters, tiff

LIMITS = ImageLimits(max_pixels=1_000_000)
REPEATABLE = settings(
    derandomize=True, deadline=None, max_examples=300, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@cache
def samples() -> dict[str, bytes]:
    """Files that lead through every path of the decoder."""
    picture = quarters() // 2 + noise() // 4
    clear = np.dstack((picture, noise(seed=1)[..., 0]))
    files = {name: encode(picture, name) for name in FORMATS}
    files |= {f"{name} with alpha": encode(clear, name) for name in ("PNG", "WEBP", "TIFF", "AVIF")}
    files |= {f"{name} turned": encode_turned(picture, name, 6) for name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")}
    files |= {f"{name} grey with alpha": encode(Image.fromarray(clear).convert("LA"), name) for name in ("PNG", "TIFF")}
    files |= {f"{name} palette": encode(Image.fromarray(picture).quantize(8), name) for name in ("PNG", "TIFF", "BMP")}
    files |= {f"{name} CMYK": encode(Image.fromarray(picture).convert("CMYK"), name) for name in ("JPEG", "TIFF")}
    files |= {f"TIFF {name}": encode(picture, "TIFF", compression=name) for name in ("tiff_lzw", "packbits", "jpeg")}
    files |= {
        f"{name} animated": encode(picture, name, save_all=True, append_images=[Image.fromarray(noise())])
        for name in ("GIF", "WEBP", "PNG", "AVIF", "TIFF")
    }
    files["JPEG progressive"] = encode(picture, "JPEG", progressive=True)
    files["WEBP lossy"] = encode(picture, "WEBP", lossless=False)
    files |= {
        f"TIFF of {bits} bits": tiff(picture.astype(np.uint32) * (2**bits - 1) // 255, bits, 2) for bits in (4, 12)
    }
    files["TIFF of planes"] = tiff(picture.astype(np.uint16) * 257, 16, 2, separate=True, compression=8, tile=(32, 32))
    files["TIFF of shares"] = tiff((picture / 255).astype(np.float32), 32, 2, sample_format=3, compression=34925)
    files["PNG transparent grey"] = encode(picture[..., 0], "PNG", transparency=50)
    return files


@cache
def others() -> tuple[bytes, ...]:
    """Other people's pictures, of the same size in each format: memory that they leave behind fits exactly."""
    return tuple(encode(np.full((48, 64, 3), (255, 0, 255), np.uint8), name) for name in FORMATS)


def outcome(data: bytes) -> Pixels | str:
    """A valid picture, or the refusal."""
    try:
        got = decode(data, LIMITS)
    except BadImageError as error:
        return f"{error.status} {type(error).__name__}: {error}"
    assert got.ndim == 3
    assert got.shape[2] == 3
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert min(got.shape[:2]) >= 1
    assert got.shape[0] * got.shape[1] <= KEPT_PIXELS
    return got


def check(data: bytes) -> None:
    """The outcome depends on the bytes alone: never on what the process decoded before."""
    first = outcome(data)
    assert not isinstance(first, str) or first.startswith("4")
    kept = first.copy() if isinstance(first, np.ndarray) else first
    del first
    for other in others():
        decode(other)
    second = outcome(data)
    assert type(second) is type(kept)
    np.testing.assert_array_equal(second, kept)


CONTAINERS = [
    b"RIFF\0\0\0\0WEBP",
    b"\0\0\0\x14ftypavif",
    b"\0\0\0\x14ftypheic",
    b"\0\0\2\0\0\0\0\0\0\0\0\0\x10\0\x10\0\x18\0",
]
NAMES = st.deferred(lambda: st.sampled_from(sorted(samples())))
PLACES = st.floats(0, 1, exclude_max=True)


@REPEATABLE
@given(NAMES, PLACES)
def test_a_cut_file_is_a_picture_or_refused(name: str, place: float) -> None:
    data = samples()[name]
    check(data[: int(place * len(data))])


@REPEATABLE
@given(NAMES, st.lists(st.tuples(PLACES, st.integers(1, 255)), min_size=1, max_size=8))
def test_flipped_bytes_are_a_picture_or_refused(name: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(samples()[name])
    for place, mask in flips:
        data[int(place * len(data))] ^= mask
    check(bytes(data))


@REPEATABLE
@given(NAMES, st.integers(0, 400), st.integers(1, 255))
def test_one_flipped_byte_near_the_start_is_a_picture_or_refused(name: str, place: int, mask: int) -> None:
    data = bytearray(samples()[name])
    data[place % len(data)] ^= mask
    check(bytes(data))


@REPEATABLE
@given(NAMES, PLACES, PLACES, st.binary(max_size=40))
def test_replaced_stretches_are_a_picture_or_refused(name: str, start: float, end: float, filling: bytes) -> None:
    data = samples()[name]
    first, last = sorted((int(start * len(data)), int(end * len(data))))
    check(data[:first] + filling + data[last:])


@REPEATABLE
@given(
    st.sampled_from([magic for kind in Format for magic in kind.magic] + CONTAINERS),
    st.binary(max_size=300),
)
def test_a_start_with_anything_behind_is_a_picture_or_refused(start: bytes, rest: bytes) -> None:
    check(start + rest)


@REPEATABLE
@given(NAMES, PLACES, st.integers(1, 255))
def test_what_is_decoded_has_the_size_that_was_checked(name: str, place: float, mask: int) -> None:
    data = bytearray(samples()[name])
    data[int(place * len(data))] ^= mask
    got = outcome(bytes(data))
    if isinstance(got, str):
        return
    try:
        header = read_header(bytes(data))
        if header.format in (Format.JPEG, Format.PNG):
            decode_checked(bytes(data), header)
    except BadImageError:
        return  # repaired: only the rows that are readable
    if header.format in (Format.TIFF, Format.HEIC):
        return  # another page, or a part of the picture
    scale = min(1.0, math.sqrt(KEPT_PIXELS / (header.width * header.height)))
    wanted = sorted((int(header.width * scale), int(header.height * scale)))
    assert sorted(got.shape[:2]) == [max(1, side) for side in wanted]


SIDES = st.integers(1, 400)


@settings(REPEATABLE, max_examples=150)
@given(
    SIDES, SIDES, st.integers(0, 1000), st.sampled_from(["content", "none"]), st.sampled_from(["letterbox", "cover"])
)
def test_any_image_becomes_an_input(height: int, width: int, seed: int, crop: Any, resize: Any) -> None:
    image = np.full((height, width, 3), seed % 256, np.uint8)
    image[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = noise(1, 1, seed)
    spec = InputSpec(64, 48, crop, resize, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    got = preprocess(image, spec)
    assert got.shape == (3, 48, 64)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        assert got[channel].min() >= -mean / std - 1e-5
        assert got[channel].max() <= (1 - mean) / std + 1e-5
    box = content_box(image, border_colour(image))
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height
