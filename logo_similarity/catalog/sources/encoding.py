"""The encoding of a text file: stated by its first bytes, or recognised with certainty, or asked for."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from logo_similarity.errors import SourceError

CHUNK_BYTES = 1 << 20
SEARCHED_BYTES = 1 << 20
CONTEXT_BYTES = 100
"""Before the first byte that is not UTF-8."""
EVIDENCE_BYTES = 16_384
"""Of lines with bytes beyond ASCII, for the statistics."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MOST_CHAOS = 0.4
"""Of charset-normalizer's measure."""
_WESTERN = frozenset(
    "àâäáåæçèéêëíìîïñóòôöøœùúûüßÀÂÄÁÅÆÇÈÉÊËÍÌÎÏÑÓÒÔÖØŒÙÚÛÜ\u2019\u2018“”„\u201a…\u2013—•€£§©®™°«»\xb4·¡¿ºª½¼¾¹²³µ±\xd7÷\xa0\xad"
)
"""Characters of English, German, French, Spanish, Italian, Portuguese, Dutch and the languages of Scandinavia. Those that are
letters of Eastern Europe or Turkey in the encodings of these are left out."""
_PORTUGUESE = re.compile(r"ã(?=[oe])|õ(?=e)", re.IGNORECASE)
"""In other places, these letters may be the Romanian ă and the Hungarian ő."""
_FOREIGN = re.compile(r"[^\W\d_][¡¿ºª½¼¾¹²³µ±\xd7÷£§°][^\W\d_]|[^\W\d_a-zA-Z]{3}")
"""As Polish words, and those of other scripts, look in Windows-1252."""
MOST_DOUBTFUL = 0.02
"""Share of the characters beyond ASCII: names from other countries."""
_MANY_NULS, _FEW_NULS = 0.4, 0.1
"""Shares of the even or odd bytes: in UTF-16, every second byte of a Latin text is 0."""


def find_encoding(path: Path, named: str | None = None) -> str:
    """The encoding of a text file, for `open`: the named one, or else UTF-8, UTF-16, UTF-32 or Windows-1252.

    Raises:
        SourceError: the named encoding does not exist, or the file's is not certain; the message has a guess.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(EVIDENCE_BYTES)
    marked = next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)
    if named is not None:
        return _checked(path, named, marked)
    if marked is not None:
        return marked
    if (wide := _utf16_without_mark(start)) is not None:
        return wide
    evidence = _lines_beyond_utf8(path)
    return "utf-8" if evidence is None else _guess(path, *evidence)


def _checked(path: Path, named: str, marked: str | None) -> str:
    try:
        "".encode(named)
    except (LookupError, ValueError):
        raise SourceError(f"{path}: unknown encoding {named!r}; name one such as utf-8, utf-16 or cp1252") from None
    same = marked is not None and codecs.lookup(marked.removesuffix("-sig")).name == codecs.lookup(named).name
    return marked if same and marked is not None else named  # the mark is not part of the text


def _utf16_without_mark(start: bytes) -> str | None:
    even, odd = start[::2], start[1::2]
    if not odd:
        return None
    evens, odds = even.count(0) / len(even), odd.count(0) / len(odd)
    if odds > _MANY_NULS and evens < _FEW_NULS:
        return "utf-16-le"
    return "utf-16-be" if evens > _MANY_NULS and odds < _FEW_NULS else None


def _lines_beyond_utf8(path: Path) -> tuple[int, bytes] | None:
    """The number of the first line that is not UTF-8, and lines from there on that are not ASCII; None: all is UTF-8.

    Raises:
        SourceError: lines before it are UTF-8, and not only ASCII.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, at, beyond_ascii = 1, 0, False
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                start = max(0, error.start - pending)
                line += chunk.count(b"\n", 0, start)
                if beyond_ascii or not chunk[:start].isascii():
                    raise SourceError(
                        f"{path}: line {line} is not UTF-8, but lines before it are; correct it, or replace the bytes that "
                        "are not UTF-8 with --encoding utf-8"
                    ) from None
                file.seek(max(0, at - pending + error.start - CONTEXT_BYTES))
                return line, _evidence(file.read(SEARCHED_BYTES))
            if not chunk:
                return None
            line += chunk.count(b"\n")
            at += len(chunk)
            beyond_ascii = beyond_ascii or not text.isascii()


def _evidence(data: bytes) -> bytes:
    return b"\n".join(line for line in data.splitlines() if not line.isascii())


def _guess(path: Path, line: int, evidence: bytes) -> str:
    """Windows-1252 if it is certain.

    The encodings of one region differ in few letters, so that the statistics of charset-normalizer leave several of them.
    Windows-1252 is taken if they do not exclude it, and its text has only letters of Western Europe where these have them.
    """
    from charset_normalizer import from_bytes

    sample = evidence[:EVIDENCE_BYTES]
    if _is_western(evidence) and from_bytes(sample, threshold=MOST_CHAOS, cp_isolation=["cp1252"]).best() is not None:
        return "cp1252"
    names = [match.encoding for match in from_bytes(sample, threshold=MOST_CHAOS)]
    guess = next((name for name in names if name.startswith("cp125")), names[0] if names else None)
    remedy = f"probably {guess}: name it with --encoding {guess}" if guess else "name it with --encoding"
    raise SourceError(
        f"{path}: line {line} is not UTF-8, and the encoding is not certain; {remedy}, or as `encoding` under [format] in "
        "a mapping (--encoding utf-8 replaces the bytes that are not UTF-8)"
    )


def _is_western(evidence: bytes) -> bool:
    text = _PORTUGUESE.sub("ç", evidence.decode("cp1252", "replace"))
    beyond_ascii = [character for character in text if not character.isascii()]
    doubtful = sum(character not in _WESTERN for character in beyond_ascii) + len(_FOREIGN.findall(text))
    return doubtful <= MOST_DOUBTFUL * len(beyond_ascii)
