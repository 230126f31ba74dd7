"""Registers: the order and the split of files do not matter, and no content is fatal."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from logo_similarity.build.records import read_records, write_records
from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.images import NamesAsWritten
from logo_similarity.domain import Reject
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record
from tests.registers import REAL, case_file, read_text, uspto, zip_of

tried = settings(derandomize=True, deadline=None, max_examples=60)
written = settings(tried, max_examples=20)
"""Each example waits for the disk."""


@st.composite
def case_files(draw: st.DrawFn) -> list[str]:
    """Updates of a few marks, each of another day."""
    days = draw(st.lists(st.integers(10, 28), unique=True, min_size=1, max_size=8))
    updates = []
    for day in days:
        serial = draw(st.sampled_from(["90000001", "90000002", "90000003"]))
        header = draw(st.sampled_from(["", "<mark-identification>{}</mark-identification>"])).format(day)
        header += draw(st.sampled_from(["", "<status-code>700</status-code>", "<status-code>710</status-code>"]))
        inner = draw(
            st.sampled_from(
                ["", "<design-searches><design-search><code>0201{}</code></design-search></design-searches>"]
            )
        )
        updates.append(case_file(serial, inner.format(day), header, date=f"202401{day}"))
    return updates


def records_of(*files: list[str], zipped: bool) -> list[Record]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "register"
        folder.mkdir()
        for number, updates in enumerate(files):
            if zipped:
                (folder / f"{number}.zip").write_bytes(zip_of(a__xml=uspto(*updates)))
            else:
                (folder / f"{number}.xml").write_text(uspto(*updates))
        source = open_source(folder, kind="register", names=NamesAsWritten)
        write_records(source, Path(made) / "records", Path(made) / "rejects")
        return list(read_records(Path(made) / "records"))


@written
@given(case_files(), st.data())
def test_any_order_and_split_of_the_updates_gives_the_same_records(updates: list[str], data: st.DataObject) -> None:
    expected = records_of(updates, zipped=False)
    shuffled = data.draw(st.permutations(updates))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(updates)), max_size=3)))
    files = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(updates)], strict=True)]
    assert records_of(*files, zipped=data.draw(st.booleans())) == expected


@tried
@given(st.sampled_from(sorted(path.name for path in REAL.glob("*.xml"))), st.data())
def test_a_damaged_file_is_read_or_rejected(name: str, data: st.DataObject) -> None:
    content = bytearray((REAL / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=10))
    with tempfile.TemporaryDirectory() as made:
        try:
            rows = read_text(Path(made), bytes(content[: data.draw(st.integers(1, len(content)))]))
        except SourceError:
            return
        assert all(row.where for row in rows)


@tried
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"<trademark-applications-daily>", b"PK\x03\x04", b"\x1f\x8b\x08", b"{"]),
)
def test_any_bytes_are_read_or_rejected(content: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as made:
        try:
            rows = read_text(Path(made), start + content)
        except SourceError as error:
            assert "register.xml" in str(error)  # noqa: PT017 - the rows may also be good
        else:
            assert not any(isinstance(row, Reject) and not row.reason for row in rows)
