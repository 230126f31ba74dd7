from __future__ import annotations

import io
from pathlib import Path

import pytest

from logo_similarity.catalog.sources.registers import elements
from logo_similarity.catalog.sources.registers.documents import PIECE_BYTES, Document, read_documents
from logo_similarity.catalog.sources.registers.elements import Root, XmlRecord, has_element, read_elements, read_root
from logo_similarity.domain import Reject

LIMIT = 1 << 40


def document(text: str | bytes) -> Document:
    return Document("a.xml", text.encode() if isinstance(text, str) else text, io.BytesIO(), LIMIT)


def read(text: str | bytes, *names: str) -> list[str]:
    """The text of every record, or "where: reason" of a reject."""
    return [
        f"{row.where}: {row.reason}" if isinstance(row, Reject) else "".join(map(str, row.element.itertext()))
        for row in read_elements(document(text), *(names or ("r",)))
    ]


def test_records_of_any_prefix() -> None:
    text = '<x:a xmlns:x="u"><x:r>1</x:r><y:r xmlns:y="v">2</y:r><r k="&lt;">3</r><r/><rr>no</rr><x:s>4</x:s></x:a>'
    assert read(text, "r", "s") == ["1", "2", "3", "", "4"]


def test_namespaces_are_those_of_the_elements_around() -> None:
    text = '<a xmlns="u"><b xmlns:p="v"><r><p:c/></r></b></a>'
    (record,) = read_elements(document(text), "r")
    assert isinstance(record, XmlRecord)
    assert [element.tag for element in record.element.iter()] == ["{u}r", "{v}c"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("AT & T", "xmlParseEntityRef: no name"),
        ("a\x1cb", "PCDATA invalid Char value 28"),
        ("&#x1C;", "xmlParseCharRef: invalid xmlChar value 28"),
        ("&nbsp;", "Entity 'nbsp' not defined"),
        ("<c>", "Opening and ending tag mismatch"),
        ("<" * 10, "StartTag: invalid element name"),
        ("<p:c/>", "Namespace prefix p on c is not defined"),
    ],
)
def test_a_broken_record_costs_only_itself(bad: str, reason: str) -> None:
    text = f"<a>\n<r>1</r>\n<r>\n{bad}</r>\n<r>3</r></a>"
    first, fault, third = read(text)
    assert (first, third) == ("1", "3")
    assert fault.startswith(f"a.xml[1]: the record at line 4 is not well-formed ({reason}")


def test_bytes_that_are_not_utf8_cost_only_their_record() -> None:
    first, fault = read(b"<a><r>1</r><r>\xff</r></a>")
    assert first == "1"
    assert "is not well-formed" in fault


def test_a_record_that_is_not_closed_costs_only_itself() -> None:
    text = "<a><r>1</r>\n<r><c>2</c>\n<r>3</r></a>"
    assert read(text) == ["1", "a.xml[1]: the record at line 2 is not closed before the next one", "3"]


@pytest.mark.parametrize("cut", ["<a><r>1</r><r>2</", "<a><r>1</r><r>2</r", "<a><r>1</r><r>2"])
def test_a_file_that_breaks_off_in_a_record(cut: str) -> None:
    assert read(cut) == ["1", "a.xml[1]: the record at line 1 is not closed at the end of the file"]


def test_a_file_that_breaks_off_between_records() -> None:
    assert read("<a><r>1</r>\n") == ["1", "a.xml: the file ends without </a>; records may be missing"]


def test_comments_and_cdata_hide_tags() -> None:
    text = "<a><!-- <r>0</r> --><r>1<!-- </r><r> --></r><r><![CDATA[</r>]]></r><![CDATA[<r>]]></a>"
    assert read(text) == ["1", "</r>"]


def test_a_comment_that_is_not_closed_hides_nothing() -> None:
    rows = read("<a><!-- <r>1</r><r>2 <!-- </r><r>3</r></a>")
    assert rows[0] == "1"
    assert rows[-1] == "3"
    assert "a.xml[1]: the record at line 1" in rows[1]


def test_entities_are_never_declared(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    text = (
        f'<!DOCTYPE a [<!ENTITY f SYSTEM "file://{secret}"><!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'
        "<a><r>&f;</r><r>&c;</r><r>3</r></a>"
    )
    first, second, third = read(text)
    assert "Entity 'f' not defined" in first
    assert "Entity 'c' not defined" in second
    assert third == "3"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "iso-8859-1", "windows-1252", "utf-8-sig"])
def test_encodings(encoding: str) -> None:
    name = {"utf-8-sig": "utf-8", "utf-16-le": "utf-16"}.get(encoding, encoding)
    text = f'<?xml version="1.0" encoding="{name}"?>\n<a><r>Café</r></a>'
    assert read(text.encode(encoding)) == ["Café"]


def test_an_unknown_encoding() -> None:
    assert read('<?xml version="1.0" encoding="klingon"?><a/>') == ["a.xml: the encoding 'klingon' is unknown"]


def test_the_root_is_behind_the_document_type() -> None:
    text = "<?xml version='1.0'?>\n<!-- <no/> -->\n<!DOCTYPE x [\n<!ELEMENT x (y)>\n]>\n<p:x q='1' xmlns:p='urn:u'>"
    assert read_root(document(text)) == Root("x", "urn:u")
    assert read_root(document("<x xmlns='urn:v'/>")) == Root("x", "urn:v")
    assert read_root(document("<x/>")) == Root("x", "")
    assert read_root(document('{"a": "<x>"}')) is None


def test_an_element_in_the_head() -> None:
    found = document("<a><p:Mark k='1'/><!-- <Other/> --></a>")
    assert has_element(found, "Mark")
    assert not has_element(found, "Mar")


def test_records_may_lie_on_the_border_of_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    inner = "".join(f"<r n='{i}'><c>{'x' * (i % 977)}</c></r>\n" for i in range(6_000))
    path.write_text(f"<a>{inner}</a>")
    assert path.stat().st_size > 2 * PIECE_BYTES
    (rows,) = (list(read_elements(one, "r")) for one in read_documents(path))
    assert [row.element.get("n") for row in rows if isinstance(row, XmlRecord)] == [str(i) for i in range(6_000)]


def test_a_record_that_is_too_long_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "LONGEST_RECORD", 1 << 20)
    path = tmp_path / "a.xml"
    path.write_text(f"<a><r>1</r>\n<r>{'<c/>' * (1 << 20)}</r><r>3</r></a>")
    (rows,) = (list(read_elements(one, "r")) for one in read_documents(path))
    assert [row.where for row in rows] == ["a.xml[0]", "a.xml[1]", "a.xml[2]"]
    assert isinstance(rows[1], Reject)
    assert rows[1].reason == "the record at line 2 is longer than 1 MB or not closed"
    assert isinstance(rows[2], XmlRecord)


@pytest.mark.parametrize("start", ["<r>", "<!--", "<r><!--", "<r><![CDATA[", "<r", "<r "])
def test_hostile_repetitions_take_linear_time(tmp_path: Path, start: str) -> None:
    """Work is counted by the characters that are searched for the ends of comments."""
    path = tmp_path / "a.xml"
    path.write_text("<a>" + start * (300_000 // len(start)))
    (rows,) = (list(read_elements(one, "r")) for one in read_documents(path))
    assert not any(isinstance(row, XmlRecord) for row in rows)


def test_a_record_with_too_many_tags_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MOST_TAGS", 10)
    rows = read(f"<a><r>{'<c/>' * 8}</r><r>{'<c/>' * 9}</r></a>")
    assert rows == ["", "a.xml[1]: the record at line 1 has more than 10 tags"]


def test_the_content_of_a_skipped_element_is_not_parsed() -> None:
    text = "<a><r>1<s>&\n\n</s>2</r><r>\n&</r></a>"
    first, second = read_elements(document(text), "r", skip="s")
    assert isinstance(first, XmlRecord)
    assert "".join(map(str, first.element.itertext())) == "1\n\n2"
    assert isinstance(second, Reject)
    assert "at line 4" in second.reason


def test_the_number_of_namespaces_is_limited() -> None:
    declared = "".join(f'<e xmlns:p{number}="u"/>' for number in range(200))
    first, second = read(f"<a>{declared}<r><p99:c/>1</r><r><p100:c/>2</r></a>")
    assert first == "1"
    assert "Namespace prefix p100 on c is not defined" in second
