"""Image files made to cost seconds of CPU or gigabytes: known ones by name, and seeded variants of each format.

Each file is valid enough for a decoder to begin with it, or has a header that misstates its cost.
"""

from __future__ import annotations

import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

Entry = tuple[int, int, int, bytes]
"""Tag, type, count and value of an entry of a TIFF directory."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file, and the name of its recipe."""

    name: str
    data: bytes


# --- JPEG


def jpeg(
    width: int, height: int, scans: Sequence[bytes], *, progressive: bool = True, frame: int | None = None
) -> bytes:
    """A picture of one blank block whose header claims another size, with further scans behind its own."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data: bytes = cv2.imencode(".jpg", np.full((16, 16, 3), 255, np.uint8), options)[1].tobytes()
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    marker = bytes([0xFF, frame]) if frame is not None else data[at : at + 2]
    data = data[:at] + marker + data[at + 2 : at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    return data[: data.rindex(b"\xff\xd9")] + b"".join(scans) + b"\xff\xd9"


def scan(kind: str, component: int = 1, body: bytes = b"") -> bytes:
    """The header of a scan, "empty" (AC, first), "refine" (AC, bit 0) or "dc" (DC, bit 0), and its body."""
    if kind == "dc":
        return b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x00\x10" + body
    approximation = 0x10 if kind == "refine" else 0x00
    return b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, component, 0, 1, 63, approximation) + body


def jpeg_of_ten_thousand_scans() -> bytes:
    """98 kB: every ten bytes are another pass over 25 million pixels."""
    return jpeg(5000, 5000, [scan("empty", 1 + number % 3) for number in range(10_000)])


def jpeg_of_dc_refinements() -> bytes:
    return jpeg(5000, 5000, [scan("dc")] * 7_000)


def jpeg_of_three_hundred_thousand_scans() -> bytes:
    return jpeg(5000, 5000, [scan("refine")] * 300_000)


def jpeg_of_scans_behind_comments() -> bytes:
    """Ten thousand empty comments, after which a reader of segments may give up."""
    comments = b"\xff\xfe\0\2" * 10_000
    return jpeg(2440, 2440, [comments, *(scan("empty", 1 + number % 3) for number in range(5_900))])


def jpeg_of_scans_in_a_skipped_segment() -> bytes:
    """With restarts, libjpeg skips an unknown marker alone and reads the length that seems to follow it."""
    hidden = b"\xff\x02\xfe\0" + b"".join(scan("empty", 1 + number % 3) for number in range(6_450))
    data = jpeg(2440, 2440, [scan("empty"), hidden])
    at = data.index(b"\xff\xda")
    return data[:at] + b"\xff\xdd\0\4\0\1" + data[at:]


def jpeg_of_arithmetic_scans() -> bytes:
    """Arithmetic coding costs many times as much per pixel; the number of scans is one that is accepted."""
    return jpeg(5000, 5000, [scan("refine", 1 + number % 3, b"\x55" * 900) for number in range(90)], frame=0xCA)


# --- PNG


def png(
    width: int = 64,
    height: int = 48,
    *,
    depth: int = 8,
    colour: int = 2,
    before: Sequence[tuple[bytes, bytes]] = (),
    compressed: bytes | None = None,
) -> bytes:
    """A blank picture with chunks before its pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if compressed is None:
        packer = zlib.compressobj(9)
        row = bytes(1 + (width * channels * depth + 7) // 8)
        compressed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", compressed), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def deflated_zeros(megabytes: int) -> bytes:
    """Zeros, compressed a thousand to one: the same block repeated, and the checksum (Adler-32) of all zeros."""
    packer = zlib.compressobj(9)
    start, block = (packer.compress(_ZEROS) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    size = megabytes * len(_ZEROS)
    return start + block * (megabytes - 1) + b"\x03\x00" + struct.pack(">HH", size % 65521, 1)


def png_of_a_long_text() -> bytes:
    """A text of nine gigabytes in nine megabytes, before a picture of 64 x 48."""
    return png(before=[(b"zTXt", b"t\0\0" + deflated_zeros(9_000))])


def png_of_many_texts() -> bytes:
    return png(before=[(b"zTXt", b"t\0\0" + deflated_zeros(7))] * 1_200)


def png_of_a_long_profile() -> bytes:
    return png(before=[(b"iCCP", b"p\0\0" + deflated_zeros(2_000))])


def png_of_pixels_without_end() -> bytes:
    """Four gigabytes behind the last row, which libpng inflates and discards."""
    return png(compressed=deflated_zeros(4_000))


# --- TIFF


def tiff(entries: Sequence[Entry], data: bytes = b"", *, order: str = "<") -> bytes:
    """A directory, the values that do not fit into it, and the data after them."""
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    at = 8 + 2 + 12 * len(entries) + 4
    values = b""
    for tag, kind, count, value in entries:
        out += struct.pack(order + "HHI", tag, kind, count)
        out += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", at + len(values))
        values += value if len(value) > 4 else b""
    return out + bytes(4) + values + data


def short(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


def long(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def tiled_tiff(
    width: int, height: int, tile: tuple[int, int], block: bytes, *, bits: int = 16, samples: int = 4
) -> bytes:
    """All tiles are the same compressed block (Deflate)."""
    tiles = -(-width // tile[0]) * -(-height // tile[1])

    def entries(start: int) -> list[Entry]:
        return [
            *_structure(width, height, samples, bits),
            (259, 3, 1, short(8)),
            (322, 4, 1, long(tile[0])),
            (323, 4, 1, long(tile[1])),
            (324, 4, tiles, long(*[start] * tiles)),
            (325, 4, tiles, long(*[len(block)] * tiles)),
        ]

    return tiff(entries(len(tiff(entries(0)))), block)


def tiff_of_shared_tiles() -> bytes:
    """A strip of 240,000 x 8 with tiles of 16 x 4096: one block is decoded to 500 times the pixels of the picture."""
    return tiled_tiff(240_000, 8, (16, 4096), zlib.compress(bytes(16 * 4096 * 8), 9))


def tiff_of_signed_tile_sizes() -> bytes:
    """Tile sizes of a type that libtiff accepts and a strict reader ignores."""
    signed = 9
    tiles: list[Entry] = [
        (259, 3, 1, short(1)),
        (322, signed, 1, long(16_384)),
        (323, signed, 1, long(16_384)),
        (324, 4, 1, long(8)),
        (325, 4, 1, long(16)),
    ]
    return tiff([*_structure(64, 48, 1, 8), *tiles], bytes(16))


def tiff_of_doubles() -> bytes:
    """Samples of 64 bits: eight times the memory of the same pixels in bytes."""
    return strip_tiff(4000, 6000, 3, 64, zlib.compress(bytes(4000 * 3 * 8 * 60), 9), compression=8, sample_format=3)


def strip_tiff(
    width: int,
    height: int,
    samples: int,
    bits: int,
    block: bytes,
    *,
    compression: int = 8,
    sample_format: int = 1,
    rows: int | None = None,
) -> bytes:
    """All strips are the same block."""
    rows = rows or max(1, height // 100)
    strips = -(-height // rows)

    def entries(start: int) -> list[Entry]:
        return [
            *_structure(width, height, samples, bits),
            (259, 3, 1, short(compression)),
            (273, 4, strips, long(*[start] * strips)),
            (278, 4, 1, long(rows)),
            (279, 4, strips, long(*[len(block)] * strips)),
            (339, 3, samples, short(*[sample_format] * samples)),
        ]

    return tiff(entries(len(tiff(entries(0)))), block)


def _structure(width: int, height: int, samples: int, bits: int) -> list[Entry]:
    return [
        (256, 4, 1, long(width)),
        (257, 4, 1, long(height)),
        (258, 3, samples, short(*[bits] * samples)),
        (262, 3, 1, short(2 if samples > 2 else 1)),
        (277, 3, 1, short(samples)),
    ]


# --- AVIF, GIF, BMP, WebP


@cache
def avif(width: int, height: int, *, full_colour: bool = True, alpha: bool = True) -> bytes:
    """A blank picture: a few kilobytes at any size."""
    out = BytesIO()
    picture = Image.new("RGBA" if alpha else "RGB", (width, height), (200, 100, 50, 128) if alpha else (200, 100, 50))
    picture.save(out, "AVIF", quality=30, speed=10, subsampling="4:4:4" if full_colour else "4:2:0")
    return out.getvalue()


def avif_of_full_colour_and_alpha() -> bytes:
    return avif(5000, 5000)


def gif(width: int, height: int, codes: bytes, *, frames: int = 1) -> bytes:
    """Frames of the given LZW data."""
    blocks = b"".join(bytes([len(codes[at : at + 255])]) + codes[at : at + 255] for at in range(0, len(codes), 255))
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08" + blocks + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + bytes(768) + frame * frames + b";"


def blank_gif(width: int, height: int, *, frames: int) -> bytes:
    """A complete picture whose frame is repeated."""
    out = BytesIO()
    Image.new("P", (width, height), 1).save(out, "GIF")
    data = out.getvalue()
    at = data.index(b",\0\0\0\0" + struct.pack("<HH", width, height))
    frame = data[at:-1]
    return data[:at] + frame * min(frames, 9_000_000 // len(frame)) + b";"


def gif_of_clear_codes() -> bytes:
    """Codes that clear the table, eight in three bytes: OpenCV rebuilds it at each one."""
    codes = int("100" * 8, 2).to_bytes(3, "little") * 33_000
    blocks = b"".join(bytes([len(codes[at : at + 255])]) + codes[at : at + 255] for at in range(0, len(codes), 255))
    frame = b"," + struct.pack("<HHHHB", 0, 0, 64, 48, 0) + b"\2" + blocks + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", 64, 48, 0xF7, 0, 0) + bytes(768) + frame + b";"


def lzw_of_long_strings(size: int) -> bytes:
    """Codes that stand for longer and longer strings, then the longest one repeated."""
    codes, width, following = [(256, 9), (0, 9)], 9, 258
    while following < 4095:
        codes.append((following, width))
        following += 1
        width += following == 1 << width and width < 12
    start = _packed([*codes, *[(4094, 12)] * 8])[:-1]
    return start + start[-3:] * max(
        0, (size - len(start)) // 3
    )  # two codes of twelve bits are three bytes, wherever they begin


def _packed(codes: Sequence[tuple[int, int]]) -> bytes:
    value = bits = 0
    for code, width in codes:
        value |= code << bits
        bits += width
    return value.to_bytes(-(-bits // 8), "little")


def bmp_of_runs(width: int, height: int, runs: bytes) -> bytes:
    """Eight bits a pixel, run-length encoded."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(runs), 0, 0, 54 + 1024) + header + bytes(1024) + runs


# --- formats that Pillow decodes


def heic(stated: tuple[int, int], coded: tuple[int, int], *, alpha: bool = False) -> bytes:
    """The boxes of a file and the header of its HEVC data, without a picture."""
    sets = b"\x42\1" + sequence_parameter_set(*coded)
    configuration = bytes(22) + struct.pack(">BBHH", 1, 33, 1, len(sets)) + sets
    properties = _box(b"ispe", bytes(4) + struct.pack(">II", *stated)) + _box(b"hvcC", configuration)
    properties += _box(b"auxC", bytes(4) + b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0") if alpha else b""
    meta = _box(b"meta", bytes(4) + _box(b"iprp", _box(b"ipco", properties)))
    return _box(b"ftyp", b"heic\0\0\0\0mif1") + meta


def sequence_parameter_set(width: int, height: int, *, layers: int = 0, chroma: int = 1) -> bytes:
    """The start of one (ITU-T H.265, 7.3.2.2): layers of which each has a profile and a level."""
    bits = f"0000{layers:03b}1" + "01" * 48
    bits += "11" * layers + ("00" * (8 - layers) + "10" * 48 * layers if layers else "")
    bits += _exponential(0) + _exponential(chroma) + ("0" if chroma == 3 else "")
    bits += _exponential(width) + _exponential(height) + "1"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\0\0\1", b"\0\0\3\1")


def _exponential(value: int) -> str:
    """Of Golomb (section 9.2)."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def heic_of_alpha() -> bytes:
    return heic((5000, 4900), (5000, 4904), alpha=True)


def heic_of_a_hidden_size() -> bytes:
    """The boxes state 64 x 48, the picture itself 20,000 x 20,000."""
    return heic((64, 48), (20_000, 20_000))


def jpeg_2000(width: int, height: int, tile: tuple[int, int], *, components: int = 3) -> bytes:
    """The headers of a codestream without any tile."""
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, *tile, 0, 0, components) + b"\7\1\1" * components
    style = struct.pack(">BBHBBBBBB", 0, 0, 1, 0, 5, 4, 4, 0, 1)
    quantisation = b"\x40" + b"\x40" * 16
    segments = ((b"\x51", size), (b"\x52", style), (b"\x5c", quantisation))
    parts = [b"\xff" + kind + struct.pack(">H", 2 + len(content)) + content for kind, content in segments]
    return b"\xff\x4f" + b"".join(parts) + b"\xff\xd9"


def jpeg_2000_of_one_pixel_tiles() -> bytes:
    return jpeg_2000(4000, 4000, (1, 1))


def jpeg_2000_of_many_components() -> bytes:
    return jpeg_2000(64, 48, (64, 48), components=16_000)


def jpeg_2000_of_a_hidden_size() -> bytes:
    """The boxes state 64 x 48, the codestream 20,000 x 20,000."""
    header = struct.pack(">IIHBBBB", 48, 64, 3, 7, 7, 0, 0)
    colours = struct.pack(">BBBI", 1, 0, 0, 16)
    inner = _box(b"ihdr", header) + _box(b"colr", colours)
    stream = _box(b"jp2c", jpeg_2000(20_000, 20_000, (20_000, 20_000)))
    start = _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + _box(b"jp2h", inner) + stream


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def pnm_without_pixels() -> bytes:
    return b"P6\n5000 4000\n255\n"


def pnm_of_comments() -> bytes:
    return b"P3\n" + b"# \n" * 8_000_000 + b"5000 4000 255\n"


def tga_of_runs() -> bytes:
    """Seven bytes for each 128 pixels, and more than the picture needs."""
    return struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 6000, 5000, 32, 0) + b"\xff\1\2\3\4" * 300_000


def pcx_of_a_huge_size() -> bytes:
    return b"\n\5\1\x08" + struct.pack("<4H", 0, 0, 59_999, 59_999) + bytes(116)


def icon_of_a_huge_picture() -> bytes:
    """One of 200 entries, which all have the same few bytes."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 100, 6 + 16 * 200)
    return struct.pack("<HHH", 0, 1, 200) + entry * 200 + png(20_000, 20_000, compressed=bytes(200))


def tiff_of_a_huge_dictionary() -> bytes:
    """An LZMA block that asks for 1.5 GB before its first byte."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1_500_000_000}]
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    block = bytearray(packer.compress(bytes(64 * 48)) + packer.flush())
    at = 12  # the block header: its size, flags, the filter, the size of its properties, the dictionary
    properties = lzma._encode_filter_properties(filters[0])  # type: ignore[attr-defined]
    block[at + 4 : at + 5] = properties
    size = 4 * (block[at] + 1)
    block[at + size - 4 : at + size] = struct.pack("<I", zlib.crc32(block[at : at + size - 4]))
    return strip_tiff(64, 48, 1, 8, bytes(block), compression=34925, rows=48)


def tiff_of_blank_pages() -> bytes:
    """Each page is 24 million pixels of the same strip."""
    data = strip_tiff(6000, 4000, 1, 8, zlib.compress(bytes(6000 * 40), 9), rows=40)
    entries = struct.unpack_from("<H", data, 8)[0]
    directory, following = data[8 : 8 + 2 + 12 * entries], len(data)
    pages = [directory + struct.pack("<I", following + number * (len(directory) + 4)) for number in range(1, 19)]
    first = data[: 8 + len(directory)] + struct.pack("<I", following) + data[8 + len(directory) + 4 :]
    return first + b"".join(pages) + directory + bytes(4)


BOMBS: dict[Callable[[], bytes], str | None] = {
    jpeg_of_ten_thousand_scans: "at most 1,000 are",
    jpeg_of_dc_refinements: "at most 1,000 are",
    jpeg_of_three_hundred_thousand_scans: "at most 1,000 are",
    jpeg_of_scans_behind_comments: "at most 1,000 are",
    jpeg_of_scans_in_a_skipped_segment: "at most 1,000 are",
    gif_of_clear_codes: "LOGO_DECODE_SECONDS",
    jpeg_of_arithmetic_scans: "LOGO_DECODE_SECONDS",
    png_of_a_long_text: None,
    png_of_many_texts: None,
    png_of_a_long_profile: None,
    png_of_pixels_without_end: "LOGO_DECODE_SECONDS",
    tiff_of_shared_tiles: "LOGO_DECODE_MEMORY",
    tiff_of_signed_tile_sizes: "header cannot be read",
    tiff_of_doubles: "64 bits a sample",
    avif_of_full_colour_and_alpha: "LOGO_DECODE_MEMORY",
    heic_of_alpha: "LOGO_DECODE_MEMORY",
    heic_of_a_hidden_size: "LOGO_DECODE_MEMORY",
    jpeg_2000_of_one_pixel_tiles: "LOGO_DECODE_MEMORY",
    jpeg_2000_of_many_components: "header cannot be read",
    jpeg_2000_of_a_hidden_size: "LOGO_MAX_PIXELS",
    pnm_without_pixels: "LOGO_DECODE_MEMORY",
    pnm_of_comments: "header cannot be read",
    tga_of_runs: "LOGO_MAX_PIXELS",
    pcx_of_a_huge_size: "LOGO_MAX_PIXELS",
    icon_of_a_huge_picture: "LOGO_MAX_PIXELS",
    tiff_of_a_huge_dictionary: "damaged or cut off",
    tiff_of_blank_pages: "LOGO_DECODE_SECONDS",
}
"""With a word of the message that refuses each; None: it is decoded at low cost."""


def variants(seed: int, count: int, max_bytes: int = 25_000_000) -> Iterator[Hostile]:
    """`count` files of all formats in turn, of at most `max_bytes` each; the same files for the same seed."""
    chance = random.Random(seed)
    makers = (
        _jpeg_variant, _png_variant, _tiff_variant, _avif_variant, _gif_variant, _bmp_variant, _rare_variant
    )  # fmt: skip
    for number in range(count):
        maker = makers[number % len(makers)]
        yield Hostile(f"{seed}-{number}-{maker.__name__.split('_')[1]}", maker(chance)[:max_bytes])


def _sides(chance: random.Random) -> tuple[int, int]:
    """Width and height of a picture of a thousand to 25 million pixels."""
    pixels = 10 ** chance.uniform(3, 7.39)
    width = round(max(8, min(60_000, pixels ** chance.uniform(0.2, 0.8))))
    return width, max(8, min(60_000, round(pixels / width)))


def _jpeg_variant(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    count = round(10 ** chance.uniform(0, 4.5))
    kinds = chance.choices(("empty", "refine", "dc"), k=3)
    body = chance.randbytes(round(10 ** chance.uniform(0, 5))).replace(b"\xff", b"\xff\0")
    bodies = (b"", body, b"\0" * len(body), b"\xaa" * len(body))
    scans, size = [], 0
    for number in range(count):
        scans.append(scan(chance.choice(kinds), 1 + number % 3, chance.choice(bodies)))
        size += len(scans[-1])
        if size > 9_000_000:
            break
    frame = chance.choice((None, None, 0xC9, 0xCA, 0xC3))
    return jpeg(width, height, scans, progressive=chance.random() < 0.8, frame=frame)


def _png_variant(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    colour = chance.choice((0, 2, 3, 4, 6))
    depth = chance.choice((8, 16)) if colour != 3 else 8
    before: list[tuple[bytes, bytes]] = [(b"PLTE", bytes(768))] if colour == 3 else []
    for _ in range(chance.randint(0, 6)):
        kind = chance.choice((b"zTXt", b"iCCP", b"iTXt", b"tEXt", b"zzzz", b"fdAT", b"acTL", b"sPLT"))
        prefix = {b"iTXt": b"t\0\1\0\0\0", b"acTL": bytes(8)}.get(kind, b"t\0\0")
        before += [(kind, prefix + deflated_zeros(chance.choice((1, 7, 100, 1_000))))] * chance.randint(1, 20)
    compressed = deflated_zeros(chance.choice((30, 300, 3_000))) if chance.random() < 0.5 else None
    return png(width, height, depth=depth, colour=colour, before=before, compressed=compressed)


def _tiff_variant(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    samples, bits = chance.choice((1, 2, 3, 4, 5)), chance.choice((1, 8, 12, 16, 32, 64))
    if chance.random() < 0.5:
        tile = 16 * chance.randint(1, 256), 16 * chance.randint(1, 256)
        tile = (tile[0], max(16, tile[1])) if -(-width // tile[0]) * -(-height // tile[1]) < 200_000 else (4096, 4096)
        block = zlib.compress(bytes(min(64_000_000, tile[0] * tile[1] * samples * bits // 8)), 9)
        return tiled_tiff(width, height, tile, block, bits=bits, samples=samples)
    rows = chance.randint(1, height)
    blocks = [
        (8, zlib.compress(bytes(min(64_000_000, width * rows * samples * bits // 8)), 9)),
        (5, chance.randbytes(100_000)),
        (32773, b"\x81\0" * 50_000),
        (3, chance.randbytes(50_000)),
        (4, bytes(50_000)),
        (7, b"\xff\xd8"),
    ]
    compression, block = chance.choice(blocks)
    return strip_tiff(
        width,
        height,
        samples,
        bits,
        block,
        compression=compression,
        rows=rows,
        sample_format=chance.choice((1, 1, 2, 3)),
    )


def _avif_variant(chance: random.Random) -> bytes:
    sides = chance.choice(((5000, 5000), (5000, 1000), (3000, 3000)))
    data = bytearray(avif(*sides, full_colour=chance.random() < 0.5, alpha=chance.random() < 0.5))
    for _ in range(chance.choice((0, 0, 1, 3))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _gif_variant(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    if chance.random() < 0.5:
        return blank_gif(width, height, frames=chance.choice((1, 2, 1000)))
    codes = lzw_of_long_strings(round(10 ** chance.uniform(3, 6.5)))
    return gif(width, height, codes, frames=max(1, min(chance.choice((1, 1, 100)), 9_000_000 // len(codes))))


def _bmp_variant(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    runs = chance.choice((b"\xff\x01", b"\0\0", b"\0\2\1\0", b"\0\2\0\1", b"\x01\x02")) * round(
        10 ** chance.uniform(1, 6.3)
    )
    return bmp_of_runs(width, height, runs + b"\0\1")


def _rare_variant(chance: random.Random) -> bytes:
    """Of a format that Pillow decodes: a size and pixels that need not fit it."""
    width, height = _sides(chance)
    body = chance.choice((b"\xff\1\2\3\4", b"\x7f", b"1 0 ", b"\xc1\1", bytes(7))) * round(10 ** chance.uniform(1, 6))
    tile = 2 ** chance.randint(0, 12), 2 ** chance.randint(0, 12)
    kind = chance.choice((2, 3, 10, 11))
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width, height, 24 if kind & 1 == 0 else 8, 0)
    codestream = jpeg_2000(width, height, tile, components=chance.choice((1, 3, 4)))
    return chance.choice(
        (
            heic((width, height), (chance.choice((width, 64)), height)),
            codestream[:-2] + b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93" + body + b"\xff\xd9",
            b"P%d %d %d 255\n" % (chance.choice((2, 3, 5, 6)), width, height) + body,
            b"P%d %d %d\n" % (chance.choice((1, 4)), width, height) + body,
            tga + body,
            b"\n\5\1\x08" + struct.pack("<4H", 0, 0, width - 1, height - 1) + bytes(116) + body,
        )
    )
