from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from logo_similarity.catalog.metadata import INDEXES, SCHEMA, Metadata, write_metadata
from logo_similarity.errors import BuildError, CatalogError
from logo_similarity.field_kinds import JsonValue
from logo_similarity.fields import Record

RECORDS = (
    Record(
        logo_id="EM-018000001",
        filename="a b/ü.jpg",
        text="CAFÉ «Zürich» <b>",
        company="Example Corp",
        vienna_codes=("26.01.01", "27.05.01"),
        nice_classes=(9, 42),
        status="registered",
        office="EM",
        application_date=dt.date(2019, 2, 28),
        year=2019,
        extra={"seniority": ["DE", None], "pages": 3},
    ),
    Record(logo_id="x'; DROP TABLE logos; --", filename="b.jpg"),
    Record(logo_id="EM/018/3", filename="c.jpg", year=2001, vienna_codes=("01.01",)),
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "with space & ?%23.db"
    write_metadata(path, RECORDS)
    return path


@pytest.fixture
def metadata(database: Path) -> Iterator[Metadata]:
    opened = Metadata(database)
    yield opened
    opened.close()


def test_everything_comes_back_as_it_went_in(metadata: Metadata) -> None:
    assert [(logo.id, logo.record) for logo in metadata.fetch([0, 1, 2])] == [*enumerate(RECORDS)]
    assert metadata.count() == 3


def test_order_is_that_of_the_rows_asked_for(metadata: Metadata) -> None:
    assert [logo.id for logo in metadata.fetch([2, 0, 1, 0])] == [2, 0, 1, 0]
    assert metadata.fetch([]) == []


def test_a_row_that_is_not_there_is_damage(metadata: Metadata) -> None:
    with pytest.raises(CatalogError, match="has no row 3"):
        metadata.fetch([0, 3])


@pytest.mark.parametrize("record", RECORDS)
def test_found_by_its_id(metadata: Metadata, record: Record) -> None:
    found = metadata.find(record.logo_id)
    assert found is not None
    assert found.record == record


@pytest.mark.parametrize("logo_id", ["", "..", "EM-018000001\0", "%", "em-018000001", "' OR 1=1 --"])
def test_unknown_ids_find_nothing(metadata: Metadata, logo_id: str) -> None:
    assert metadata.find(logo_id) is None


def test_an_id_is_found_in_any_form_of_unicode(tmp_path: Path) -> None:
    write_metadata(tmp_path / "one.db", [Record(logo_id="Käse", filename="a.jpg")])
    metadata = Metadata(tmp_path / "one.db")
    assert metadata.find("Ka\u0308se") == metadata.find("Käse") is not None
    metadata.close()


def test_fields_are_those_that_occur(tmp_path: Path) -> None:
    assert write_metadata(tmp_path / "few.db", RECORDS[1:]) == ("vienna_codes", "year")
    assert "company" in write_metadata(tmp_path / "all.db", RECORDS)


def test_same_records_make_the_same_file(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        write_metadata(tmp_path / name, RECORDS)
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("one.db", "two.db")}
    assert len(digests) == 1


@pytest.mark.parametrize(("words", "rows"), [("cafe", [0]), ("zurich", [0]), ("corp", [0]), ("nothing", [])])
def test_full_text_finds_words_without_their_accents(database: Path, words: str, rows: list[int]) -> None:
    connection = sqlite3.connect(database)
    found = connection.execute("SELECT rowid FROM logos_text WHERE logos_text MATCH ?", (words,)).fetchall()
    connection.close()
    assert [row for (row,) in found] == rows


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT logo FROM vienna_codes WHERE code >= '27.05' AND code < '27.06'",
        "SELECT logo FROM nice_classes WHERE class = 9",
        "SELECT id FROM logos WHERE status = 'registered'",
        "SELECT id FROM logos WHERE office = 'EM'",
        "SELECT id FROM logos WHERE company = 'Example Corp'",
        "SELECT id FROM logos WHERE year = 2019",
        "SELECT id FROM logos WHERE application_date >= '2019-01-01'",
    ],
)
def test_what_is_filtered_has_an_index(database: Path, sql: str) -> None:
    connection = sqlite3.connect(database)
    plan = " ".join(row[-1] for row in connection.execute("EXPLAIN QUERY PLAN " + sql))
    rows = connection.execute(sql).fetchall()
    connection.close()
    assert "USING" in plan
    assert "SCAN" not in plan
    assert rows == [(0,)]


def test_it_cannot_be_written(metadata: Metadata) -> None:
    with pytest.raises(CatalogError, match="readonly"):
        metadata._query("DELETE FROM logos")


def test_many_threads_read_at_once(metadata: Metadata) -> None:
    wrong: list[object] = []

    def read() -> None:
        for turn in range(200):
            row = turn % 3
            try:
                found = metadata.fetch([row])
                if [logo.record for logo in found] != [RECORDS[row]] or metadata.find(RECORDS[row].logo_id) != found[0]:
                    wrong.append(found)
            except CatalogError as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closing_gives_back_every_descriptor(database: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(20):
        opened = Metadata(database)
        thread = threading.Thread(target=opened.count)
        thread.start()
        thread.join()
        opened.count()
        opened.close()
    assert descriptors() == before


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(CatalogError, match=r"broken\.db"):
        Metadata(path).count()


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"missing\.db: unable to open"):
        Metadata(tmp_path / "missing.db")


def test_the_text_of_the_schema_has_not_changed() -> None:
    """It is compared with that of a catalog: if it differs in a line break, no published catalog can be opened."""
    digest = hashlib.sha256((SCHEMA + INDEXES).encode()).hexdigest()
    assert digest == "db12e94bf5a4133223019805036c4e9c92cf37e46e5c7b5c4f3c5fce809f026e"


def test_an_existing_file_is_not_written_again(database: Path) -> None:
    with pytest.raises(BuildError, match="cannot be written: table logos already exists"):
        write_metadata(database, RECORDS)


def test_metadata_is_stored_as_readable_text(metadata: Metadata) -> None:
    (logo,) = metadata.fetch([0])
    assert '"text":"CAFÉ «Zürich» <b>"' in logo.metadata_json


def test_no_records(tmp_path: Path) -> None:
    write_metadata(tmp_path / "empty.db", [])
    assert Metadata(tmp_path / "empty.db").count() == 0


def alter(database: Path, sql: str) -> Metadata:
    connection = sqlite3.connect(database)
    connection.executescript(sql)
    connection.close()
    return Metadata(database)


def test_complete_rows_pass_the_check(metadata: Metadata) -> None:
    metadata.check_rows()


def test_missing_rows_are_counted(database: Path) -> None:
    with pytest.raises(CatalogError, match="damaged: 1 row missing"):
        alter(database, "DELETE FROM logos WHERE id = 1").check_rows()


def test_the_first_row_must_be_row_0(database: Path) -> None:
    with pytest.raises(CatalogError, match="begins with row 1; row 0 is missing"):
        alter(database, "DELETE FROM logos WHERE id = 0").count()


def test_metadata_that_is_not_an_object_is_counted(database: Path) -> None:
    changed = alter(database, "UPDATE logos SET metadata = '[]' WHERE id = 0")
    with pytest.raises(CatalogError, match="the metadata of 1 row is not a JSON object"):
        changed.check_rows()


def test_further_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    records = [
        Record(logo_id="1", filename="1.jpg", text="text", extra={"pages": 3, "a b": None}),
        Record(logo_id="2", filename="2.jpg", extra={"pages": 4, "year_unreadable": "?", "colour": {"inner": 1}}),
    ]
    write_metadata(tmp_path / "m.db", records)
    assert Metadata(tmp_path / "m.db").extra_columns() == ["a b", "colour", "pages", "year_unreadable"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        write_metadata(tmp_path / "none" / "m.db", RECORDS)
    assert str(caught.value) == f"{tmp_path / 'none'}: the folder does not exist; create it before writing m.db"


def test_unreadable_values_are_counted_by_field(tmp_path: Path) -> None:
    damaged = "A\ufffd"
    unreadable: dict[str, JsonValue] = {"year_unreadable": "MMXX", "text_unreadable": [1]}
    records = (
        Record(logo_id="0", filename="0.jpg", text=damaged, company="Example"),
        Record(logo_id="1", filename="1.jpg", text=damaged, company=damaged, extra=unreadable),
        Record(logo_id="2", filename="2.jpg", extra={"year_unreadable": "?", "note": "year_unreadable"}),
    )
    write_metadata(tmp_path / "m.db", records)
    assert Metadata(tmp_path / "m.db").unreadable() == {"year": 2, "text": 3, "company": 1}
