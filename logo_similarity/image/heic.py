"""The size of an HEIC file (ISO/IEC 23008-12), by its boxes and by the headers of its HEVC data (ITU-T H.265)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from logo_similarity.image.av1 import Bits
from logo_similarity.image.boxes import boxes, nested

_SPS = 33
"""NAL unit type of a sequence parameter set."""
_LONGEST_SPS = 4096


def read_size(data: bytes) -> tuple[int, int]:
    """The largest width and height that any part of the file claims: a picture, or a tile of one, as the decoder sees it.

    Raises:
        EOFError, IndexError, struct.error: cut off.
        ValueError: damaged, or without a size.
    """
    sizes: list[tuple[int, int]] = []
    for kind, body, end in boxes(data, 0, len(data)):
        for name, at, property_end in nested(data, body + 4, end, b"iprp", b"ipco") if kind == b"meta" else ():
            if name == b"ispe":
                sizes.append(struct.unpack_from(">II", data, at + 4))
            elif name == b"hvcC":
                sizes += [_sps_size(unit) for unit in _sequence_parameter_sets(data[at:property_end])]
    if not sizes:
        raise ValueError("no size")
    width, height = (max(side) for side in zip(*sizes, strict=True))
    return width, height


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


def _sps_size(unit: bytes) -> tuple[int, int]:
    """Width and height (section 7.3.2.2), up to pic_height_in_luma_samples."""
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
    return bits.read_uvlc(), bits.read_uvlc()
