from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from logo_similarity.catalog.sources import open_source
from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record
from tests.registers import REAL, Row, read_one, read_text

VIENNA = (
    "<tmk:ViennaClassification><tmk:ViennaCategory>1</tmk:ViennaCategory><tmk:ViennaDivision>3</tmk:ViennaDivision>"
    "<tmk:ViennaSection>2</tmk:ViennaSection></tmk:ViennaClassification>"
)
IMAGES = f"""
<tmk:MarkImage><com:FileName>1000184-01.png</com:FileName></tmk:MarkImage>
<tmk:MarkImage><com:FileName>1000184.png</com:FileName><tmk:MarkImageClassification>
  <tmk:FigurativeElementClassificationBag><tmk:ViennaClassificationBag>{VIENNA}</tmk:ViennaClassificationBag>
  </tmk:FigurativeElementClassificationBag></tmk:MarkImageClassification></tmk:MarkImage>"""
MARK = f"""
<com:RegistrationOfficeCode>CA</com:RegistrationOfficeCode>
<com:ApplicationNumber><com:ST13ApplicationNumber>300000100018400</com:ST13ApplicationNumber></com:ApplicationNumber>
<tmk:ApplicationDate>1999-01-05</tmk:ApplicationDate>
<tmk:MarkCurrentStatusCode>Registration published</tmk:MarkCurrentStatusCode>
<tmk:MarkRepresentation><tmk:MarkFeatureCategory>Figurative</tmk:MarkFeatureCategory><tmk:MarkReproduction>
  <tmk:WordMarkSpecification><tmk:MarkVerbalElementText>SUN</tmk:MarkVerbalElementText></tmk:WordMarkSpecification>
  <tmk:MarkImageBag>{IMAGES}</tmk:MarkImageBag></tmk:MarkReproduction></tmk:MarkRepresentation>
<tmk:GoodsServicesBag><tmk:GoodsServices><tmk:ClassificationKindCode>Nice</tmk:ClassificationKindCode>
  <tmk:ClassDescriptionBag><tmk:ClassDescription><tmk:ClassNumber>25</tmk:ClassNumber>
  <tmk:GoodsServicesDescriptionText>Hats</tmk:GoodsServicesDescriptionText></tmk:ClassDescription></tmk:ClassDescriptionBag>
</tmk:GoodsServices></tmk:GoodsServicesBag>
<tmk:ApplicantBag><tmk:Applicant><com:Contact><com:Name><com:EntityName>Sun Inc.</com:EntityName></com:Name></com:Contact>
</tmk:Applicant></tmk:ApplicantBag>"""


def cipo(mark: str, operation: str = "amend") -> str:
    return (
        '<tmk:TrademarkApplication xmlns:tmk="http://www.wipo.int/standards/XMLSchema/ST96/Trademark" '
        'xmlns:com="http://www.wipo.int/standards/XMLSchema/ST96/Common"><tmk:TrademarkBag>'
        f'<tmk:Trademark com:operationCategory="{operation}">{mark}</tmk:Trademark></tmk:TrademarkBag>'
        "</tmk:TrademarkApplication>"
    )


def one(folder: Path, text: str) -> Row:
    (row,) = read_text(folder, text)
    return row


def test_a_real_answer_of_tsdr() -> None:
    record = read_one(REAL / "tsdr-st96.xml")
    assert isinstance(record, Record)
    assert (record.logo_id, record.filename, record.company) == ("US-77478018", "77478018.png", "Haydel's Bakery")
    assert (record.mark_feature, record.status, record.office_status) == ("figurative", "registered", "701")
    assert record.us_design_codes == ("03.01.08", "03.01.24", "17.03.02", "26.11.21")
    assert record.nice_classes == (14, 25, 30)
    assert record.goods == "King Cake Pastries; CLOTHING, NAMELY, SHIRTS, HATS, AND BABY JUMPSUITS; Jewelry"
    assert (record.application_date, record.registration_date) == (dt.date(2008, 5, 19), dt.date(2009, 12, 1))


def test_a_real_answer_of_the_first_generation() -> None:
    row = read_one(REAL / "tsdr-st96-old.xml")
    assert isinstance(row, Reject)
    assert (row.logo_id, row.reason) == ("US-78002299", "a mark with the drawing code '1' has no image")


def test_the_first_generation_has_the_same_fields(tmp_path: Path) -> None:
    real = (REAL / "tsdr-st96-old.xml").read_text()
    figurative = real.replace("MarkFeatureCode>1<", "MarkFeatureCode>2<")
    record = one(tmp_path, figurative)
    assert isinstance(record, Record)
    assert (record.filename, record.mark_feature) == ("78002299", "figurative")  # "No image available" is not a name
    assert record.registration_number == "2713476"
    assert record.nice_classes == (9,)


def test_a_mark_of_cipo(tmp_path: Path) -> None:
    assert one(tmp_path, cipo(MARK)) == Record(
        logo_id="CA-1000184",
        filename="1000184.png",
        text="SUN",
        company="Sun Inc.",
        applicant="Sun Inc.",
        vienna_codes=("01.03.02",),
        nice_classes=(25,),
        goods="Hats",
        mark_feature="figurative",
        status="registered",
        office_status="Registration published",
        office="CA",
        application_date=dt.date(1999, 1, 5),
        year=1999,
    )


def test_an_extension_is_part_of_the_number(tmp_path: Path) -> None:
    record = one(tmp_path, cipo(MARK.replace("300000100018400", "300000100018403")))
    assert isinstance(record, Record)
    assert record.logo_id == "CA-1000184-03"


def test_pictures_of_the_mark_in_use_are_not_the_mark(tmp_path: Path) -> None:
    (tmp_path / "mark.xml").write_text(cipo(MARK))
    (tmp_path / "1000184-01.png").touch()
    (row,) = open_source(tmp_path).rows()
    assert isinstance(row, Record)
    assert row.filename == ""
    (tmp_path / "1000184.png").touch()
    (row,) = open_source(tmp_path).rows()
    assert isinstance(row, Record)
    assert row.filename == "1000184.png"


@pytest.mark.parametrize("operation", ["delete", "Delete"])
def test_a_deletion(tmp_path: Path, operation: str) -> None:
    assert one(tmp_path, cipo(MARK, operation)) == Removal("CA-1000184", "register.xml[0]")


def test_a_mark_without_a_number(tmp_path: Path) -> None:
    row = one(tmp_path, cipo("<com:RegistrationOfficeCode>CA</com:RegistrationOfficeCode>"))
    assert row == Reject("register.xml[0]", "the mark has no ApplicationNumber")
