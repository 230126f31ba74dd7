from __future__ import annotations

from collections import Counter

import pytest

from logo_similarity.catalog.sources.columns import USUAL_COLUMNS, choose_columns, is_marked, names_other_class
from logo_similarity.field_kinds import words


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("logo_id,filename,text,company", "logo_id,filename,text,company"),
        (" File Name ,LOGO-ID,Vienna Classes", "filename,logo_id,vienna_codes"),
        (
            "Aktenzeichen,Bilddatei,Inhaber,Anmeldetag,Nizzaklassen",
            "logo_id,filename,company,application_date,nice_classes",
        ),
        ("Numéro de dépôt,Fichier,Titulaire,Date de dépôt", "logo_id,filename,company,application_date"),
        ("NUMERO DE SOLICITUD,Imagen,Titular,Clases de Niza,Estado", "logo_id,filename,company,nice_classes,status"),
        ("Application Number,Image,Owner Name,Filing Date,Status", "logo_id,filename,company,application_date,status"),
        ("Serial Number,Picture file,Applicant,Registration Number", "logo_id,filename,applicant,registration_number"),
        ("filename,colour", "filename,"),
    ],
)
def test_usual_names_in_four_languages(header: str, fields: str) -> None:
    names = header.split(",")
    columns = choose_columns(names, {})
    assert [",".join(columns.fields_of(name)) for name in names] == fields.split(",")


def test_its_own_name_goes_before_a_usual_one_and_the_likelier_before_the_other() -> None:
    columns = choose_columns(["file", "filename", "holder", "owner"], {})
    assert (columns.by_field["filename"], columns.by_field["company"]) == ("filename", "owner")
    assert (columns.reasons["filename"], columns.reasons["company"]) == ("its name", "a usual name")
    assert columns.fields_of("holder") == []


def test_a_mapping_goes_before_every_name() -> None:
    columns = choose_columns(["filename", "Scan", "Owner"], {"filename": "scan", "company": "none"})
    assert columns.by_field == {"filename": "Scan"}
    assert columns.reasons["filename"] == "mapped"


def test_the_id_names_the_image_and_a_number_is_the_id_if_nothing_else_does() -> None:
    columns = choose_columns(["Registration No", "text"], {})
    assert {columns.by_field[field] for field in ("registration_number", "logo_id", "filename")} == {"Registration No"}
    assert columns.reasons["filename"] == "the id names the image"


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["Class1", "Class45"], [1, 45]),
        (["class_01", "class_09"], [1, 9]),
        (["IC 009", "IC 035"], [9, 35]),
        (["Klasse 9", "Klasse 35"], [9, 35]),
        (["Nice Class 3", "Nice Class 4"], [3, 4]),
        (["Class1", "Class46"], []),
        (["nice_classes", "Class1", "Class2"], []),
    ],
)
def test_columns_of_single_classes(names: list[str], classes: list[int]) -> None:
    assert list(choose_columns(names, {}).classes.values()) == classes


@pytest.mark.parametrize("value", ["x", "X", 1, "1", 1.0, True, "yes", "ja", "Software"])
def test_a_class_is_marked(value: object) -> None:
    assert is_marked(value)


@pytest.mark.parametrize("value", [None, "", " ", 0, "0", 0.0, "0.0", False, "no", "Nein", "-", float("nan")])
def test_a_class_is_not_marked(value: object) -> None:
    assert not is_marked(value)


@pytest.mark.parametrize(
    ("value", "other"), [("9", True), (9.0, True), (2, False), (1, False), ("x", False), ("46", False)]
)
def test_a_cell_may_hold_another_class(value: object, other: bool) -> None:
    assert names_other_class(value, 2) == other


def test_a_usual_name_belongs_to_one_field() -> None:
    names = ["".join(words(name)) for field, spellings in USUAL_COLUMNS.items() for name in (field, *spellings)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
