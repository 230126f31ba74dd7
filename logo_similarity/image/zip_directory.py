"""The directory of a ZIP file, entry by entry, with names that are safe (PKWARE, APPNOTE.TXT 6.3.10, sections 4.3 to 4.5)."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import IO, NamedTuple

LOCAL_HEADER, LOCAL_SIGNATURE = struct.Struct("<4s5H3L2H"), b"PK\x03\x04"
_HEADER, _SIGNATURE = struct.Struct("<4s4B4H3L5H2L"), b"PK\x01\x02"
_END, _END_SIGNATURE = struct.Struct("<4s4H2LH"), b"PK\x05\x06"
_END64, _END64_SIGNATURE = struct.Struct("<4sQ2H2L4Q"), b"PK\x06\x06"
_LOCATOR, _LOCATOR_SIGNATURE = struct.Struct("<4sLQL"), b"PK\x06\x07"
_FIELD = struct.Struct("<2H")
_NUMBER64 = struct.Struct("<Q")
_LONGEST_COMMENT = (1 << 16) - 1
_IN_ZIP64_FIELD = 0xFFFFFFFF
_ZIP64_FIELD = 1
_UNIX = 3
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_LARGEST = 1 << 62
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class DamagedZipError(Exception):
    """The directory is damaged or missing, and why."""


class Way(IntEnum):
    """How the content of an entry is read, or why it is not."""

    STORED = 0
    DEFLATED = 1
    ENCRYPTED = 2
    UNSUPPORTED = 3
    REPEATED = 4


_METHODS = {0: Way.STORED, 8: Way.DEFLATED}


class ZipEntry(NamedTuple):
    """An entry that is a file, or that is not read."""

    name: str
    """"/" between its parts, without "." and empty parts; as it is written if it has a problem."""
    problem: str | None
    """Why it must not be read; None: it may."""
    way: Way
    offset: int
    """Of its local header, in bytes from the start of the ZIP file."""
    packed: int
    """Bytes that its content takes in the ZIP file."""
    size: int
    """Bytes of its content."""
    crc: int


def read_directory(file: IO[bytes]) -> Iterator[ZipEntry]:
    """The entries in the order of the directory, without folders and hidden files.

    Raises:
        DamagedZipError: the file is not a complete ZIP file.
        OSError: it cannot be read.
    """
    start, size, count, shift = _find_directory(file)
    file.seek(start)
    entries = 0
    while size > 0:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_SIGNATURE):
            raise DamagedZipError(f"its directory is damaged after {entries:,} entries")
        values = _HEADER.unpack(header)
        rest = sum(values[12:15])  # the name, the extra fields and the comment
        size -= _HEADER.size + rest
        text = file.read(rest)
        if size < 0 or len(text) < rest:
            raise DamagedZipError(f"its directory is damaged after {entries:,} entries")
        entries += 1
        if (entry := _entry(values, text, shift)) is not None:
            yield entry
    # Programs without ZIP64 write the last 16 bits of a count that is larger.
    if entries & 0xFFFF != count & 0xFFFF:
        raise DamagedZipError(f"its directory has {entries:,} of {count:,} entries")


def _find_directory(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Start and bytes of the directory, the number of its entries, and the bytes that precede the ZIP file in the file."""
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read()
    place = _find_end(tail)
    if place < 0 or len(tail) - place < _END.size:
        raise DamagedZipError("it is not a ZIP file, or its end is missing")
    _, disk, _, _, count, size, offset, _ = _END.unpack_from(tail, place)
    end = tail_start + place
    locator = place - _LOCATOR.size
    if locator >= 0 and tail.startswith(_LOCATOR_SIGNATURE, locator):
        end = tail_start + locator - _END64.size
        file.seek(max(end, 0))
        end64 = file.read(_END64.size)
        if end < 0 or not end64.startswith(_END64_SIGNATURE):
            raise DamagedZipError("its ZIP64 directory is damaged")
        _, _, _, _, disk, _, _, count, size, offset = _END64.unpack(end64)
    if disk:
        raise DamagedZipError("it is one part of several; join them")
    start = end - size
    if start < offset:
        raise DamagedZipError("its directory is damaged")
    return start, size, count, start - offset


def _find_end(tail: bytes) -> int:
    """Where the record at the end begins: the last whose comment ends with the file, or else the last; -1: nowhere."""
    last = place = tail.rfind(_END_SIGNATURE)
    while place >= 0:
        if len(tail) - place >= _END.size and place + _END.size + _END.unpack_from(tail, place)[-1] == len(tail):
            return place
        place = tail.rfind(_END_SIGNATURE, 0, place)
    return last


def _entry(values: tuple[int, ...], text: bytes, shift: int) -> ZipEntry | None:
    """An entry; None: it is a folder or hidden."""
    flags, method, crc, packed, size = values[5], values[6], *values[9:12]
    name_length, extra_length = values[12:14]
    system, attributes, offset = values[2], values[17], values[18]
    written = _decode(text[:name_length])
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
    if written.endswith(("/", "\\")) or any(part.startswith(".") and part != ".." for part in parts):
        return None
    if _IN_ZIP64_FIELD in (packed, size, offset):
        numbers = _zip64_numbers(text[name_length : name_length + extra_length])
        size, packed, offset = (
            next(numbers, value) if value == _IN_ZIP64_FIELD else value for value in (size, packed, offset)
        )
    kind = stat.S_IFMT(attributes >> 16) if system == _UNIX else 0
    problem = _problem(written, parts, kind)
    if max(size, packed, offset) > _LARGEST:
        problem = "its size or position is not valid"
    way = Way.ENCRYPTED if flags & _ENCRYPTED else _METHODS.get(method, Way.UNSUPPORTED)
    return ZipEntry("/".join(parts) if problem is None else written, problem, way, offset + shift, packed, size, crc)


def _problem(written: str, parts: list[str], kind: int) -> str | None:
    if stat.S_ISLNK(kind):
        return "links in ZIP files are not followed"
    if kind not in (0, stat.S_IFREG):
        return "not a regular file"
    if not parts or ".." in parts or written.startswith(("/", "\\")) or _DRIVE.match(written):
        return "its name leads out of the ZIP file"
    if _CONTROL.search(written):
        return "its name contains control characters"
    if parts[-1].lower().endswith(".zip"):
        return "ZIP files inside ZIP files are not read; unpack the outer one"
    return None


def _decode(name: bytes) -> str:
    # Many programs write UTF-8 without the flag for it; names in code page 437 are hardly ever valid UTF-8.
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _zip64_numbers(extra: bytes) -> Iterator[int]:
    """The 64-bit numbers in the extra fields of an entry: of size, packed size and offset those that need them."""
    place = 0
    while place + _FIELD.size <= len(extra):
        field, length = _FIELD.unpack_from(extra, place)
        place += _FIELD.size
        if field == _ZIP64_FIELD:
            numbers = extra[place : place + length]
            yield from (number for (number,) in _NUMBER64.iter_unpack(numbers[: len(numbers) // 8 * 8]))
        place += length
