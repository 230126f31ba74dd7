from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.catalog.sources.columns import choose_columns
from logo_similarity.catalog.sources.mapping import parse_columns, read_mapping, write_mapping
from logo_similarity.errors import SourceError
from logo_similarity.fields import Record


def test_a_mapping_that_is_written_is_read_as_the_same(tmp_path: Path) -> None:
    columns = choose_columns(
        ['Bild "x"', "Nr\x7f", "Class1", "Class2", "colour"], {"filename": 'Bild "x"', "logo_id": "Nr\x7f"}
    )
    text = write_mapping(
        columns, {"encoding": "cp1252", "separator": "semicolon", "date_order": "month-day", "form": "x"}
    )
    (tmp_path / "mapping.toml").write_text(text)
    options = read_mapping(tmp_path / "mapping.toml")
    assert options.columns == {"filename": 'Bild "x"', "logo_id": "Nr\x7f"}
    assert (options.encoding, options.separator, options.notation.day_first) == ("cp1252", ";", False)
    assert '# kept in metadata.extra: "colour"' in text
    assert '# nice_classes: from the columns "Class1", "Class2"' in text


def test_columns_of_the_command_line() -> None:
    assert parse_columns(["filename=Picture file", "text=a=b"]) == {"filename": "Picture file", "text": "a=b"}
    for wrong in ("filename", "filename=", "name=x", "=x"):
        with pytest.raises(SourceError, match="is not of the form FIELD=COLUMN; the fields are logo_id, filename"):
            parse_columns([wrong])


def test_what_the_command_line_states_goes_before_the_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "marks.csv").write_bytes("Scan;Word;Zeichen\na.jpg;x;Łódź\n".encode("cp1250"))
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[columns]\nfilename = "Scan"\ntext = "Word"\n[format]\nencoding = "cp1252"\nseparator = ";"\n')
    stated = open_source(tmp_path / "marks.csv", mapping=mapping, columns={"text": "zeichen"}, encoding="cp1250")
    (record,) = stated.rows()
    assert isinstance(record, Record)
    assert (record.text, record.extra) == ("Łódź", {"Word": "x"})


def test_options_of_a_table_are_refused_for_other_sources(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="read as folder; leave out --map and --encoding, for tables only"):
        open_source(tmp_path, columns={"text": "x"}, encoding="cp1252")


def test_a_column_that_does_not_exist_is_named_with_the_option(tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text("filename,n\n")
    with pytest.raises(SourceError, match=r"has no column 'x' for text; .* name the right one, as --map text=.Column."):
        list(open_source(tmp_path / "marks.csv", columns={"text": "x"}).rows())


def test_everything_that_a_mapping_states_is_in_the_one_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text("filename,vienna_codes,application_date\na.jpg,1.1.1/2.2.2,2019 31 12\n")
    stated = {
        "encoding": "utf-8",
        "separator": "comma",
        "list_separator": "/",
        "date": "%Y %d %m",
        "date_order": "month-day",
    }
    text = "[format]\n" + "".join(f'{name} = "{value}"\n' for name, value in stated.items())
    (tmp_path / "mapping.toml").write_text(text)
    description = open_source(tmp_path / "marks.csv", mapping=tmp_path / "mapping.toml").description()
    assert description.facts == stated
    (tmp_path / "again.toml").write_text(description.mapping or "")
    assert open_source(tmp_path / "marks.csv", mapping=tmp_path / "again.toml").description().facts == stated
