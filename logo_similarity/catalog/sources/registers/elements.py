"""XML documents of any size, one record at a time; a record that is not well-formed costs only itself.

Offices publish XML with control characters, unescaped ampersands, and files that break off. A parser of the whole document
stops at the first fault, or repairs it by guessing. So the text of each record is cut out by its tags and parsed alone, by
lxml without recovery. The document type declaration is skipped, so no entity is ever declared: a reference to one is a
fault of its record, it cannot expand, and no file or address is read because of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from logo_similarity.catalog.sources.registers.documents import Document
from logo_similarity.domain import Reject

if TYPE_CHECKING:
    from lxml.etree import XMLParser
    from lxml.etree import _Element as Element

LONGEST_RECORD = 16 << 20
"""Bytes of a record. The longest known one, of the USPTO, has 10.9 MB."""
MOST_TAGS = 1_000_000
"""Start and end tags of a record: a parsed element takes 30 times the memory of its tag."""
MOST_NAMESPACES = 100
LONGEST_TAG = 4_096
PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>)*", re.DOTALL)
ROOT_TAG = re.compile(rb"<((?:([\w.-]+):)?([\w.-]+))([^>]*)>")
NAMESPACE = re.compile(rb"""\bxmlns(?::([\w.-]+))?\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""")
DECLARED_ENCODING = re.compile(rb"""^<\?xml[^>]*?\bencoding\s*=\s*["']([\w.-]+)["']""")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"<\0", b"\0<")
HIDDEN = {b"<!--": b"-->", b"<![CDATA[": b"]]>"}
"""Starts and ends of sections in which tags are not tags."""


@dataclass(frozen=True, slots=True)
class Root:
    """The root element of a document."""

    name: str
    """Without its prefix."""
    namespace: str
    """Empty if it has none."""


@dataclass(frozen=True, slots=True)
class XmlRecord:
    """An element of a document that is a record."""

    where: str
    """The document's name and the position of the record in it, counted from 0."""
    element: Element


def read_root(document: Document) -> Root | None:
    """The root element of a document; None if its head contains none."""
    tag = _root_tag(document)
    if tag is None:
        return None
    namespaces = dict(_namespaces(tag[4]))
    return Root(tag[3].decode("utf8", "replace"), namespaces.get(tag[2] or b"", b"").decode("utf8", "replace"))


def has_element(document: Document, name: str) -> bool:
    """Whether an element of this name starts in the head of the document."""
    return any(match[1] for match in _starts((name,)).finditer(_head(document)))


def read_elements(document: Document, *names: str, skip: str | None = None) -> Iterator[XmlRecord | Reject]:
    """The elements with one of these names, in any namespace, but not those inside another one of them.

    An element that is not well-formed, not closed, or longer than 16 MB becomes a reject, and so does a document that is not
    closed.

    Args:
        document: an XML document.
        names: names of elements, without prefixes.
        skip: an element inside them whose content is not parsed, since nothing is read from it.

    Raises:
        SourceError: the document cannot be decompressed.
    """
    try:
        pieces = _transcode(document)
    except LookupError:
        yield Reject(document.name, f"the encoding {_encoding(document.head)!r} is unknown")
        return
    cutter = _Cutter(document.name, names, skip, pieces)
    yield from cutter.records()
    root = _root_tag(document)
    if root is not None and not root[4].endswith(b"/") and not cutter.broke_off and b"</" + root[1] not in cutter.tail:
        yield Reject(
            document.name, f"the file ends without </{root[1].decode('utf8', 'replace')}>; records may be missing"
        )


class _Cutter:
    """Cuts the records out of a text that arrives in pieces."""

    def __init__(self, name: str, names: tuple[str, ...], skip: str | None, pieces: Iterator[bytes]) -> None:
        self._name = name
        self._pieces = pieces
        self._starts = _starts(names)
        self._skip = None if skip is None else (f"<{skip}>".encode(), f"</{skip}>".encode())
        self._buffer = b""
        self._position = 0
        self._line = 1
        self._namespaces: dict[bytes, bytes] = {}
        # False after a comment that is not closed: to look for the end of each one in vain would take quadratic time.
        self._hidden = True
        self.broke_off = False
        """Whether the text ended inside a record."""
        self.tail = b""
        """The end of the text after the last record."""

    def records(self) -> Iterator[XmlRecord | Reject]:
        number = 0
        while (start := self._next_start()) is not None:
            where = f"{self._name}[{number}]"
            number += 1
            line = self._line
            text = self._cut(start)
            if self._skip is not None and isinstance(text, bytes):
                text = _leave_out(text, *self._skip)
            if isinstance(text, bytes) and text.count(b"<") > MOST_TAGS:
                text = f"has more than {MOST_TAGS:,} tags"
            if isinstance(text, bytes):
                record = _parse(text, self._namespaces)
                if not isinstance(record, tuple):
                    yield XmlRecord(where, record)
                    continue
                line, text = line + record[0], f"is not well-formed ({record[1]})"
            yield Reject(where, f"the record at line {line:,} {text}")

    def _next_start(self) -> re.Match[bytes] | None:
        """Move to the next record. Returns its start tag; None: there are no more."""
        while True:
            match = self._starts.search(self._buffer, self._position)
            if match is not None and match[1]:
                self._advance(match.start())
                return match
            if match is None:
                self._advance(max(self._position, len(self._buffer) - LONGEST_TAG))
            elif not self._hidden:
                self._advance(match.end())
                continue
            elif (end := self._buffer.find(HIDDEN[match[0]], match.end())) >= 0:
                self._advance(end)
                continue
            elif len(self._buffer) - match.start() > LONGEST_RECORD:
                self._hidden = False
                continue
            if not self._read_more():
                if match is not None:
                    self._hidden = False
                    continue
                self.tail = self._buffer[self._position :]
                return None

    def _cut(self, start: re.Match[bytes]) -> bytes | str:
        """The text of the record that starts at the position, or its fault. Moves behind it, or else behind its start tag."""
        length = len(start[0])
        if start[2].endswith(b"/"):
            return self._take(self._position + length)
        tokens = _tokens(start[1])
        searched = length
        while True:
            match = tokens.search(self._buffer, self._position + searched)
            if match is None:
                searched = max(searched, len(self._buffer) - self._position - LONGEST_TAG)
            elif match[0] in HIDDEN:
                end = self._buffer.find(HIDDEN[match[0]], match.end()) if self._hidden else match.end()
                if end >= 0:
                    searched = end - self._position
                    continue
                searched = match.start() - self._position
            elif match[0].startswith(b"</"):
                end = self._buffer.find(b">", match.end())
                if end >= 0:
                    return self._take(end + 1)
                searched = match.start() - self._position
            else:
                self._advance(match.start())
                return "is not closed before the next one"
            if len(self._buffer) - self._position > LONGEST_RECORD:
                fault = f"is longer than {LONGEST_RECORD >> 20} MB or not closed"
            elif self._read_more():
                continue
            else:
                self.broke_off = True
                fault = "is not closed at the end of the file"
            self._hidden = self._hidden and (match is None or match[0] not in HIDDEN)
            self._advance(self._position + length)
            return fault

    def _take(self, end: int) -> bytes:
        text = self._buffer[self._position : end]
        self._advance(end, declare=False)
        return text

    def _advance(self, position: int, *, declare: bool = True) -> None:
        self._line += self._buffer.count(b"\n", self._position, position)
        if declare and self._buffer.find(b"xmlns", self._position, position) >= 0:
            for prefix, uri in _namespaces(self._buffer[self._position : position]):
                if prefix in self._namespaces or len(self._namespaces) < MOST_NAMESPACES:
                    self._namespaces[prefix] = uri
        self._position = position

    def _read_more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._buffer = self._buffer[self._position :] + piece
        self._position = 0
        return True


def _leave_out(text: bytes, start: bytes, end: bytes) -> bytes:
    """A text without the content between the first `start` and the last `end`, but with its line ends."""
    first, last = text.find(start), text.rfind(end)
    if not 0 <= first < last:
        return text
    first += len(start)
    return text[:first] + b"\n" * text.count(b"\n", first, last) + text[last:]


def _parse(text: bytes, namespaces: dict[bytes, bytes]) -> Element | tuple[int, str]:
    """The element that a text contains; or the line of its fault, counted from 0, and the fault."""
    from lxml import etree

    # The namespaces are those that the elements around the record declare.
    wrapped = b"<_%s>%s</_>" % (b"".join(b' %s="%s"' % item for item in _as_attributes(namespaces)), text)
    try:
        return etree.fromstring(wrapped, _parser())[0]
    except etree.XMLSyntaxError as error:
        return max((error.lineno or 1) - 1, 0), " ".join(error.msg.partition(", line ")[0].split())


@cache
def _parser() -> XMLParser:
    from lxml import etree

    return etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )


def _as_attributes(namespaces: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for prefix, uri in namespaces.items():
        yield (b"xmlns:" + prefix if prefix else b"xmlns"), uri.replace(b'"', b"&quot;")


def _namespaces(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The namespaces that a text declares, by prefix; the prefix of the default one is empty."""
    for match in NAMESPACE.finditer(text):
        yield match[1] or b"", match[2] or match[3] or b""


@cache
def _starts(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """Start tags of these elements, with or without a prefix (groups 1 and 2: its name, the rest), and hidden sections."""
    alternatives = "|".join(map(re.escape, names)).encode()
    return re.compile(rb"<!--|<!\[CDATA\[|<((?:[\w.-]+:)?(?:%s))((?:\s[^<>]*)?/?)>" % alternatives)


@cache
def _tokens(name: bytes) -> re.Pattern[bytes]:
    """What decides where an element of this name ends."""
    return re.compile(rb"<!--|<!\[CDATA\[|</?%s(?=[\s/>])" % re.escape(name))


def _root_tag(document: Document) -> re.Match[bytes] | None:
    head = _head(document)
    prolog = PROLOG.match(head)
    return None if prolog is None else ROOT_TAG.match(head, prolog.end())


def _head(document: Document) -> bytes:
    """The head of a document in UTF-8, without its byte order mark."""
    try:
        decoder = codecs.getincrementaldecoder(_encoding(document.head))("replace")
    except LookupError:
        return b""
    return decoder.decode(document.head).lstrip("\ufeff").encode("utf8", "replace")


def _encoding(head: bytes) -> str:
    if head.startswith(UTF_16):
        return "utf-16" if head.startswith(UTF_16[:2]) else "utf-16-le" if head.startswith(b"<") else "utf-16-be"
    declared = DECLARED_ENCODING.match(head.removeprefix(codecs.BOM_UTF8).lstrip())
    return declared[1].decode().lower() if declared else "utf-8"


def _transcode(document: Document) -> Iterator[bytes]:
    """The text in UTF-8. UTF-8 itself is not decoded, so that bytes that are none are a fault of their record.

    Raises:
        LookupError: the encoding is unknown.
    """
    encoding = _encoding(document.head)
    if codecs.lookup(encoding).name in ("utf-8", "ascii"):
        return document.pieces()
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return (decoder.decode(piece).encode("utf8", "replace") for piece in document.pieces())
