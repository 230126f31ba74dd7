from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.classification import Language, load_classifications
from logo_similarity.classification.official import read_official
from logo_similarity.errors import ConfigError

OFFICIAL = Path(__file__).parent / "vienna.xml"


@pytest.mark.parametrize("language", Language)
def test_every_category_and_class_has_a_short_name(language: Language) -> None:
    names = load_classifications()
    assert list(names.vienna[language].names) == [*(f"{number:02}" for number in range(1, 30)), "98", "99"]
    assert list(names.nice[language].names) == [str(number) for number in range(1, 46)]
    for classification in (names.vienna[language], names.nice[language]):
        assert all(2 <= len(name.split()) <= 6 for name in classification.names.values())
        assert len(set(classification.names.values())) == len(classification.names)
        assert classification.source == "built-in"


def test_the_languages_differ() -> None:
    names = load_classifications()
    assert names.vienna[Language.EN].name("26") == "Geometric shapes and bodies"
    assert names.vienna[Language.DE].name("26") == "Geometrische Formen und Körper"
    assert names.nice[Language.DE].name("25") == "Kleider, Schuhe und Hüte"


@pytest.mark.parametrize(
    ("code", "nearest"),
    [
        ("26", "26"), ("26.1.1", "26"), ("27.99.05", "27"), ("98.01", "98"), ("99.99.99", "99"), ("1", "01"), ("30.1", None),
        ("x", None), ("", None),
    ],
)  # fmt: skip
def test_an_unknown_code_has_the_name_of_the_code_above(code: str, nearest: str | None) -> None:
    vienna = load_classifications().vienna[Language.EN]
    assert vienna.nearest(code) == nearest
    assert vienna.name(code) == (None if nearest is None else vienna.names[nearest])


@pytest.mark.parametrize(
    ("code", "listed"), [("9", "9"), ("09", "9"), ("45", "45"), ("46", None), ("0", None), ("²", None)]
)
def test_a_nice_class_is_a_number_from_1_to_45(code: str, listed: str | None) -> None:
    assert load_classifications().nice[Language.EN].nearest(code) == listed


def test_the_official_list_names_divisions_and_sections() -> None:
    assert read_official(OFFICIAL) == {
        "01": "Things of the sky",
        "01.01": "Shining things",
        "01.01.01": "Things that shine",
        "01.01.02": "One of them",
        "01.01.15": "Things with a tail (except 1.1.1)",
        "01.07": "Round things",
        "27": "Writing",
        "27.05": "Letters",
        "27.05.01": "A letter",
    }


def test_the_official_list_completes_the_built_in_names() -> None:
    names = load_classifications(OFFICIAL)
    english, german = names.vienna[Language.EN], names.vienna[Language.DE]
    assert english.source == german.source == "file"
    assert names.nice[Language.EN].source == "built-in"
    assert (english.name("1"), german.name("1")) == ("Things of the sky", "Himmel, Wetter und Landkarten")
    assert english.name("1.1.2") == german.name("1.1.2") == "One of them"
    assert english.name("1.1.99") == "Shining things"
    assert english.name("26.1") == "Geometric shapes and bodies"
    assert list(english.names) == sorted(english.names)
    assert [code for code, _ in english.below("01.01")] == ["01.01", "01.01.01", "01.01.02", "01.01.15"]
    assert len(list(english.below())) == len(english.names)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<index><category", "not well-formed"),
        (b"", "not well-formed"),
        (b"<index/>", "has no Vienna codes"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><index/>', "declares an entity"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><index>&a;</index>', "declares an entity"),
        (b"<a>" * 60 + b"</a>" * 60, "50 levels deep"),
    ],
)
def test_another_file_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "names.xml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"LOGO_VIENNA_NAMES: .*names.xml: .*{reason}"):
        read_official(path)


def test_a_file_of_too_many_bytes_or_codes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logo_similarity.classification.official.MOST_CODES", 5)
    with pytest.raises(ConfigError, match="more than 5 codes"):
        read_official(OFFICIAL)
    monkeypatch.setattr("logo_similarity.classification.official.MOST_BYTES", 100)
    with pytest.raises(ConfigError, match="more than 100 bytes"):
        read_official(OFFICIAL)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.xml: No such file"):
        load_classifications(tmp_path / "missing.xml")
