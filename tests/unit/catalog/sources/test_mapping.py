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


def test_facets_are_read_from_a_mapping_in_every_way_to_write_them(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    for text in (
        'extra.colour = "Colour claim"\nextra."a b." = "x"\n',
        '"extra.colour" = "Colour claim"\n"extra.a b." = "x"\n',
        '[columns.extra]\ncolour = "Colour claim"\n"a b." = "x"\n',
    ):
        mapping.write_text("[columns]\n" + text)
        options = read_mapping(mapping)
        assert options.columns == {"extra.colour": "Colour claim", "extra.a b.": "x"}
    assert parse_columns(["extra.colour=Colour claim", "extra.a b.=x"]) == options.columns
    written = write_mapping(choose_columns(["Colour claim", "x"], options.columns), {})
    mapping.write_text(written)
    assert read_mapping(mapping).columns == options.columns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extra.colour = 1", "a value is not text"),
        ('extra = "x"', "unknown: extra; .*extra.NAME for a facet"),
        ('extra.a.b = "x"', "a value is not text"),
        ('extra."" = "x"', "'' cannot be the name of a facet"),
        ("extra.'a=b' = 'x'", "'a=b' cannot be the name of a facet"),
    ],
)
def test_facets_that_cannot_be_declared(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mapping.toml").write_text(f"[columns]\n{text}\n")
    with pytest.raises(SourceError, match=message):
        read_mapping(tmp_path / "mapping.toml")
    with pytest.raises(SourceError, match=r"--map 'extra\.=x': '' cannot be the name of a facet"):
        parse_columns(["extra.=x"])


def test_a_facet_is_named_apart_from_a_column_that_is_kept(tmp_path: Path) -> None:
    (tmp_path / "marks.csv").write_text("filename,Colour,colour claim\na.jpg,x,red\n")
    with pytest.raises(
        SourceError, match=r"extra.Colour is mapped to the column 'colour claim', but the table has a col"
    ):
        list(open_source(tmp_path / "marks.csv", columns={"extra.Colour": "colour claim"}).rows())
    many = {f"extra.{number}": "Colour" for number in range(21)}
    with pytest.raises(SourceError, match="21 columns are mapped as facets; a catalog has at most 20"):
        open_source(tmp_path / "marks.csv", columns=many)


def test_facets_of_a_table_are_lists_and_united(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    rows = "id;filename;c\n1;a.jpg;red/light blue\n1;a.jpg;green/red\n2;a.jpg;a,b\n3;a.jpg;\n"
    (tmp_path / "marks.csv").write_text(rows)
    (tmp_path / "mapping.toml").write_text('[columns]\nextra.colour = "C"\n[format]\nlist_separator = "/"\n')
    source = open_source(tmp_path / "marks.csv", mapping=tmp_path / "mapping.toml")
    assert source.description().facets == ("colour",)
    extras = [record.extra for record in source.rows() if isinstance(record, Record)]
    assert extras == [{"colour": ["green", "light blue", "red"]}, {"colour": "a,b"}, {}]


def test_columns_with_few_different_values_are_possible_facets(tmp_path: Path) -> None:
    names: list[object] = ["filename", "Farbe", "two words", "a=b", "count", "same", "empty", "tags", "long"]
    rows: list[list[object]] = [
        [
            f"{n}.jpg",
            "rot" if n % 2 else "blau",
            "x y" if n % 3 else "z",
            n % 2,
            n,
            1,
            "",
            f"t{n % 7}; t{n % 5}",
            "x" * (101 + n % 2),
        ]
        for n in range(60)
    ]
    text = "\n".join("\t".join(map(str, row)) for row in [names, *rows])
    (tmp_path / "marks.tsv").write_text(text)
    description = open_source(tmp_path / "marks.tsv").description()
    assert description.possible_facets == ("Farbe", "two words", "tags")
    mapping = description.mapping or ""
    assert '# extra.Farbe = "Farbe"\n# extra."two words" = "two words"\n# extra.tags = "tags"\n' in mapping
    assert '# kept in metadata.extra: "count"' in mapping
    (tmp_path / "mapping.toml").write_text(mapping.replace("# extra.", "extra."))
    again = open_source(tmp_path / "marks.tsv", mapping=tmp_path / "mapping.toml").description()
    assert (again.facets, again.possible_facets) == (("Farbe", "two words", "tags"), ())
