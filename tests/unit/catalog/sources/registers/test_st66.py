from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from logo_similarity.domain import Reject, Removal
from logo_similarity.fields import Record
from tests.registers import REAL, read, read_one, read_text, st66

MARK = """
<TradeMarkDetails><TradeMark operationCode="Insert">
  <RegistrationOfficeCode>EM</RegistrationOfficeCode><ApplicationNumber>018123456</ApplicationNumber>
  <ApplicationDate>2019-09-10</ApplicationDate><ApplicationLanguageCode>de</ApplicationLanguageCode>
  <ExpiryDate>2029-09-10</ExpiryDate><MarkCurrentStatusCode>Registration surrendered</MarkCurrentStatusCode>
  <MarkFeature>Figurative</MarkFeature>
  <WordMarkSpecification><MarkVerbalElementText>Sonne</MarkVerbalElementText></WordMarkSpecification>
  <MarkImageDetails><MarkImage><MarkImageFilename>ABC123.JPG</MarkImageFilename><MarkImageCategory><CategoryCodeDetails>
    <CategoryCode>01.03.02</CategoryCode><CategoryCode>98.01</CategoryCode><CategoryCode>18.01.00</CategoryCode>
    <CategoryCode>260501</CategoryCode><CategoryCode>2605</CategoryCode>
  </CategoryCodeDetails></MarkImageCategory></MarkImage></MarkImageDetails>
  <GoodsServicesDetails><GoodsServices><ClassDescriptionDetails>
    <ClassDescription><ClassNumber>0</ClassNumber></ClassDescription>
    <ClassDescription><ClassNumber>9</ClassNumber>
      <GoodsServicesDescription languageCode="en">Computers</GoodsServicesDescription>
      <GoodsServicesDescription languageCode="de">Rechner</GoodsServicesDescription></ClassDescription>
  </ClassDescriptionDetails></GoodsServices></GoodsServicesDetails>
  <ApplicantDetails><ApplicantKey><Identifier>77</Identifier></ApplicantKey></ApplicantDetails>
</TradeMark></TradeMarkDetails>"""


def applicant(key: str, name: str, operation: str = "Insert") -> str:
    return (
        f'<Applicant operationCode="{operation}"><ApplicantIdentifier>{key}</ApplicantIdentifier><ApplicantAddressBook>'
        f"<FormattedNameAddress><Name><FormattedName>{name}</FormattedName></Name></FormattedNameAddress>"
        "</ApplicantAddressBook></Applicant>"
    )


def one(folder: Path, text: str) -> Record:
    (row,) = read_text(folder, text)
    assert isinstance(row, Record)
    return row


def test_a_real_answer_of_tsdr() -> None:
    record = read_one(REAL / "tsdr-st66.xml")
    assert isinstance(record, Record)
    assert (record.logo_id, record.mark_feature, record.status) == ("US-77478018", "figurative", "registered")
    assert record.us_design_codes == ("03.01.08", "03.01.24", "17.03.02", "26.11.21")
    assert record.vienna_codes == ()
    assert record.nice_classes == (14, 25, 30)
    assert record.application_date == dt.date(2008, 5, 19)  # written with an offset
    assert record.company == "REDACTED"  # of an applicant that is listed behind the mark
    assert record.applicant is None


def test_a_real_zip_file_of_tsdr() -> None:
    row = read_one(REAL / "tsdr.zip")
    assert row == Reject("tsdr.zip/status_st66.xml[0]", "a mark with the drawing code '1' has no image", "US-76044902")


def test_a_mark_of_euipo(tmp_path: Path) -> None:
    assert one(tmp_path, st66(MARK)) == Record(
        logo_id="EM-018123456",
        filename="ABC123.JPG",
        text="Sonne",
        vienna_codes=("01.03.02", "18.01", "26.05", "26.05.01", "98.01"),
        nice_classes=(9,),
        goods="Rechner",
        mark_feature="figurative",
        status="ended",
        office_status="Registration surrendered",
        office="EM",
        application_date=dt.date(2019, 9, 10),
        expiry_date=dt.date(2029, 9, 10),
        year=2019,
    )


def test_applicants_are_in_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(st66(MARK))
    (tmp_path / "b.xml").write_text(
        st66(
            applicant("77", "<OrganizationName>Alt GmbH</OrganizationName>") + applicant("78", "<LastName>X</LastName>")
        )
    )
    (tmp_path / "c.xml").write_text(st66(applicant("77", "<FirstName>Ann</FirstName><LastName>Lee</LastName>")))
    (record,) = read(tmp_path)
    assert isinstance(record, Record)
    assert (record.company, record.applicant) == ("Ann Lee", "Ann Lee")
    (tmp_path / "d.xml").write_text(st66(applicant("77", "", "Delete")))
    (record,) = read(tmp_path)
    assert isinstance(record, Record)
    assert record.company is None


def test_a_deleted_applicant_is_not_the_applicant(tmp_path: Path) -> None:
    both = applicant("1", "<LastName>Old</LastName>", "Delete") + applicant("2", "<LastName>New</LastName>")
    key = "<ApplicantKey><Identifier>77</Identifier></ApplicantKey>"
    assert one(tmp_path, st66(MARK.replace(key, both))).company == "New"


def test_applicants_behind_several_marks_belong_to_none(tmp_path: Path) -> None:
    behind = f"<ApplicantDetails>{applicant('1', '<LastName>A</LastName>')}</ApplicantDetails>"
    assert one(tmp_path, st66(MARK + behind)).company == "A"
    rows = read_text(tmp_path, st66(MARK + MARK + behind))
    assert [row.company for row in rows if isinstance(row, Record)] == [None, None]


@pytest.mark.parametrize("operation", ["Delete", "delete"])
def test_a_deletion(tmp_path: Path, operation: str) -> None:
    mark = f'<TradeMark operationCode="{operation}"><ApplicationNumber>18123456</ApplicationNumber></TradeMark>'
    assert read_text(tmp_path, st66(mark)) == [Removal("EM-018123456", "register.xml[0]")]


def test_a_mark_of_the_madrid_system(tmp_path: Path) -> None:
    codes = "<CategoryCodeDetails><CategoryCode>010302</CategoryCode></CategoryCodeDetails>"
    category = f"<MarkImageCategoryDetails><MarkImageCategory>{codes}</MarkImageCategory></MarkImageCategoryDetails>"
    mark = (
        "<TradeMark><RegistrationOfficeCode>WO</RegistrationOfficeCode><ApplicationNumber>1234567A</ApplicationNumber>"
        f"<MarkImageDetails><MarkImage>{category}</MarkImage></MarkImageDetails></TradeMark>"
    )
    image = tmp_path / "images" / "1234567.jpg"
    image.parent.mkdir()
    image.touch()
    (tmp_path / "a.xml").write_text(st66(mark, "http://www.wipo.int/standards/XMLSchema/trademarks"))
    from logo_similarity.catalog.sources import open_source

    (record,) = open_source(tmp_path / "a.xml").rows()
    assert isinstance(record, Record)
    assert (record.logo_id, record.filename, record.vienna_codes) == ("WO-1234567A", "1234567.jpg", ("01.03.02",))


def test_statuses_of_inpi_and_dates_that_break_off(tmp_path: Path) -> None:
    mark = (
        "<TradeMark><RegistrationOfficeCode>FR</RegistrationOfficeCode><ApplicationNumber>4600001</ApplicationNumber>"
        "<ApplicationDate>2020-10-</ApplicationDate><MarkCurrentStatusCode>Marque enregistrée</MarkCurrentStatusCode>"
        "</TradeMark>"
    )
    record = one(tmp_path, st66(mark, "http://www.wipo.int/standards/XMLSchema/trademarks"))
    assert (record.status, record.application_date) == ("registered", None)
    assert record.extra == {"application_date_unreadable": "2020-10-"}


def test_an_unknown_status_keeps_its_words(tmp_path: Path) -> None:
    record = one(tmp_path, st66(MARK.replace("Registration surrendered", "Sleeping")))
    assert (record.status, record.office_status) == ("unknown", "Sleeping")


def test_an_empty_document_has_no_rows(tmp_path: Path) -> None:
    assert read_text(tmp_path, st66("")) == []


def test_a_mark_without_a_number(tmp_path: Path) -> None:
    (row,) = read_text(tmp_path, st66("<TradeMark/>"))
    assert row == Reject("register.xml[0]", "the mark has no ApplicationNumber")
