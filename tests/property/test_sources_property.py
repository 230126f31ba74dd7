from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logo_similarity.build.records import count_lines, read_records, write_records
from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Reject, Removal
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record

FIELDS = (
    "file",
    "filename",
    "logo_id",
    "text",
    "company",
    "vienna_codes",
    "nice_classes",
    "status",
    "application_date",
    "year",
)

# Lone surrogates are part of what JSON can write.
texts = st.one_of(
    st.sampled_from(["a.jpg", "A.JPG", "../a.jpg", "27.5.1", "2016", "2020-02-30", "9, 42", "", "\ud800", "\x00", '"']),
    st.text(max_size=20),
)
# The JSON parser takes the smallest number of 64 bits for an overflow.
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), st.floats(), texts)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=8)
named = st.builds(lambda row, name: {**row, name: "a.jpg"}, objects, st.sampled_from(["file", "filename"]))
rows = st.lists(st.one_of(named, objects, values), max_size=6)
cells = st.lists(st.lists(texts, min_size=2, max_size=3), max_size=6)

hostile = settings(derandomize=True, deadline=None, max_examples=150)


@contextmanager
def source(name: str, content: bytes) -> Iterator[Path]:
    """The path to open, beside three images of which two differ only in case."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "images").mkdir()
        for image in ("a.jpg", "A.jpg", "b.png"):
            (folder / "images" / image).write_bytes(b"")
        (folder / name).write_bytes(content)
        yield folder if name.endswith(".json") else folder / name


def read(path: Path) -> list[Record | Removal | Reject]:
    """The rows, the same in two readings, and written and read back without a loss."""
    found = list(open_source(path).rows())
    assert found == list(open_source(path).rows())
    with tempfile.TemporaryDirectory() as made:
        records, rejects = Path(made) / "records", Path(made) / "rejects"
        write_records(open_source(path), records, rejects)
        assert count_lines(records) + count_lines(rejects) == len(found)
        kept: dict[str, Record] = {}
        for row in found:
            if isinstance(row, Record):
                kept.setdefault(row.logo_id, row)
        assert list(read_records(records)) == list(kept.values())
    return found


def read_or_say(path: Path) -> None:
    try:
        read(path)
    except SourceError as error:
        assert path.name in str(error)  # noqa: PT017 - the rows may also be good


def is_number_that_json_lacks(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(is_number_that_json_lacks, value.values()))
    return isinstance(value, list) and any(map(is_number_that_json_lacks, value))


@hostile
@given(rows)
def test_every_item_of_results_json_is_one_record_or_reject(items: list[Any]) -> None:
    with source("results.json", json.dumps(items).encode()) as path:
        if any(map(is_number_that_json_lacks, items)):
            with pytest.raises(SourceError, match=r"results\.json"):
                read(path)
        else:
            assert len(read(path)) == len(items)


@hostile
@given(rows)
def test_every_json_line_is_one_record_or_reject(items: list[Any]) -> None:
    # The first row has the column of the images; without ids, no rows are merged.
    lines = [{"filename": "a.jpg"}, *items]
    for item in lines:
        if isinstance(item, dict):
            item.pop("logo_id", None)
    with source("marks.jsonl", b"\n".join(json.dumps(item).encode() for item in lines)) as path:
        assert len(read(path)) == len(lines)


@hostile
@given(cells)
def test_every_csv_row_is_one_record_or_reject(table: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([["filename", "vienna_codes"], *table])
    with source("marks.csv", written.getvalue().encode("utf8", "replace")) as path:
        assert len(read(path)) == sum(any(cell.strip() for cell in row) for row in table)


@hostile
@given(st.binary(max_size=200))
@example(b"[" * 3_000)
@example(b"[" * 3_000 + b"]" * 3_000)
@example(b'[{"file":' * 3_000)
def test_any_bytes_are_read_or_said(content: bytes) -> None:
    for name, start in (
        ("results.json", b""),
        ("results.json", b"["),
        ("marks.jsonl", b""),
        ("marks.csv", b"filename,text\n"),
    ):
        with source(name, start + content) as path:
            read_or_say(path)


@hostile
@given(rows, st.data())
def test_a_damaged_file_is_read_or_said(items: list[Any], data: st.DataObject) -> None:
    content = bytearray(json.dumps(items).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for name in ("results.json", "marks.jsonl"):
        with source(name, bytes(content[:cut])) as path:
            read_or_say(path)


@hostile
@given(st.text(max_size=100))
def test_any_mapping_is_read_or_said(text: str) -> None:
    with source("marks.csv", b"filename,text\na.jpg,x\n") as path:
        mapping = path.parent / "mapping.toml"
        for start in ("", "[columns]\nfilename = ", "columns = ", "[format]\ndate = "):
            mapping.write_bytes((start + text).encode())
            try:
                rows = list(open_source(path, mapping=mapping).rows())
            except SourceError:
                continue
            assert len(rows) == 1
