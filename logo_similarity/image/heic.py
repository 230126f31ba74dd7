"""The boxes of an HEIC file (ISO/IEC 23008-12), and the headers of its HEVC data (ITU-T H.265)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from logo_similarity.image.av1 import Bits
from logo_similarity.image.boxes import boxes, nested

_SPS = 33
"""NAL unit type of a sequence parameter set."""
_LONGEST_SPS = 4096
_ALPHAS = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
"""Names of an auxiliary picture that is the opacity of another one."""


@dataclass(frozen=True, slots=True)
class HeicFacts:
    """What a file claims."""

    width: int
    height: int
    """As shown: of the largest picture that the boxes state, after cropping."""
    coded_pixels: int
    """The most that the decoder sees, in any picture or tile: HEVC pads its pictures."""
    has_alpha: bool


def read_heic(data: bytes) -> HeicFacts:
    """Read the boxes around the picture and the headers of its HEVC data.

    Raises:
        EOFError, IndexError, struct.error: cut off.
        ValueError: damaged, or without a size.
    """
    stated, cropped, coded = [], [], []
    for kind, body, end in boxes(data, 0, len(data)):
        for name, at, property_end in nested(data, body + 4, end, b"iprp", b"ipco") if kind == b"meta" else ():
            if name == b"ispe":
                stated.append(struct.unpack_from(">II", data, at + 4))
            elif name == b"clap":
                across, across_divisor, down, down_divisor = struct.unpack_from(">4I", data, at)
                cropped.append((across // max(1, across_divisor), down // max(1, down_divisor)))
            elif name == b"hvcC":
                coded += [_sps_pixels(unit) for unit in _sequence_parameter_sets(data[at:property_end])]
    if not stated:
        raise ValueError("no size")
    width, height = (max(side) for side in zip(*(cropped or stated), strict=True))
    coded += [across * down for across, down in stated]
    return HeicFacts(width, height, max(coded), any(name in data for name in _ALPHAS))


def _sequence_parameter_sets(configuration: bytes) -> Iterator[bytes]:
    """Of a decoder configuration record (ISO/IEC 14496-15, 8.3.3)."""
    at = 23
    for _ in range(configuration[22]):
        kind, count = struct.unpack_from(">BH", configuration, at)
        at += 3
        for _ in range(count):
            (size,) = struct.unpack_from(">H", configuration, at)
            if kind & 0x3F == _SPS:
                yield configuration[
                    at + 4 : at + 2 + min(size, _LONGEST_SPS)
                ]  # without the two bytes of its own header
            at += 2 + size


def _sps_pixels(unit: bytes) -> int:
    """Width times height (section 7.3.2.2), up to pic_height_in_luma_samples."""
    bits = Bits(unit.replace(b"\0\0\3", b"\0\0"))  # emulation prevention
    bits.read(4)  # sps_video_parameter_set_id
    layers = bits.read(3)
    bits.read(1 + 96)  # sps_temporal_id_nesting_flag, general profile and level
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    bits.read(2 * (8 - layers) if layers else 0)  # reserved
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)
    bits.read_uvlc()  # sps_seq_parameter_set_id
    if bits.read_uvlc() == 3:  # chroma_format_idc
        bits.read(1)  # separate_colour_plane_flag
    return bits.read_uvlc() * bits.read_uvlc()
