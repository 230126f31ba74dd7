"""The sequence header at the start of AV1 data: the size that the decoder sees (AV1 specification, section 5)."""

from __future__ import annotations

SEQUENCE_HEADER = 1
_MOST_UNITS = 16
_MOST_BYTES = 4096


def frame_size(data: bytes, start: int) -> tuple[int, int]:
    """Largest width and height of a frame, by the first sequence header at or after `start`.

    Raises:
        ValueError: the first units contain none, or it is cut off.
    """
    for _ in range(_MOST_UNITS):
        header = int.from_bytes(data[start : start + 1])
        kind, has_extension, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        if header & 0x81 or not has_size or start >= len(data):
            break
        length, body = _leb128(data, start + 1 + has_extension)
        if kind == SEQUENCE_HEADER:
            return _sequence_frame_size(Bits(data[body : body + min(length, _MOST_BYTES)]))
        start = body + length
    raise ValueError("no sequence header")


class Bits:
    """Reads the bits of some bytes, from the highest to the lowest."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits as a number (f(n) in the specification)."""
        self._left -= count
        if self._left < 0:
            raise ValueError("the sequence header is cut off")
        return self._value >> self._left & ((1 << count) - 1)

    def read_uvlc(self) -> int:
        """A number of variable length (uvlc() in the specification)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return self.read(zeros) + (1 << zeros) - 1 if zeros < 32 else (1 << 32) - 1


def _sequence_frame_size(bits: Bits) -> tuple[int, int]:
    """Section 5.5.1, up to max_frame_height_minus_1."""
    bits.read(4)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)  # seq_level_idx
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1


def _skip_operating_points(bits: Bits) -> None:
    delay_bits = 0
    if bits.read(1):  # timing_info_present_flag
        bits.read(64)  # num_units_in_display_tick, time_scale
        if bits.read(1):  # equal_picture_interval
            bits.read_uvlc()
        if bits.read(1):  # decoder_model_info_present_flag
            delay_bits = bits.read(5) + 1
            bits.read(42)  # num_units_in_decoding_tick and two lengths
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)  # operating_point_idc
        if bits.read(5) > 7:  # seq_level_idx
            bits.read(1)
        if delay_bits and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)


def _leb128(data: bytes, start: int) -> tuple[int, int]:
    """A length in groups of seven bits (section 4.10.5), and the offset after it."""
    value = 0
    for place in range(8):
        byte = int.from_bytes(data[start + place : start + place + 1])
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value, start + place + 1
    raise ValueError("a length of more than eight bytes")
