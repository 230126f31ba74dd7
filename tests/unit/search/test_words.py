"""Search by words: candidates, similarity, and damaged files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logo_similarity.build.words import WordsWriter
from logo_similarity.errors import CatalogError, InvalidRequestError
from logo_similarity.fields import Record
from logo_similarity.search import words as words_module
from logo_similarity.search.word_file import FIELDS, NONE, WordArrays
from logo_similarity.search.words import SOUND, WordIndex

TEXTS = (
    "QUICK", "Quick Lunch", "Quicktime", "Kodak", "Kodak Express", "Xerox", "Müller", "Peugeot", "Sun Rise", "Газпром",
    "Adidas", "Nike", None, "!?", "Golden Sun Bakery", "Golden Moon Bakery", "Golden", "I.B.M.", "x",
)  # fmt: skip
COMPANY = {2: "Apple Inc", 7: "Stellantis", 13: "Kodak"}


@pytest.fixture(scope="module")
def arrays() -> WordArrays:
    writer = WordsWriter()
    for row, text in enumerate(TEXTS):
        writer.add(Record(logo_id=str(row), filename="", text=text, company=COMPANY.get(row)))
    return writer.arrays()


@pytest.fixture(scope="module")
def index(arrays: WordArrays) -> WordIndex:
    return WordIndex(arrays)


def found(index: WordIndex, words: str, limit: int = 3) -> list[tuple[str | None, float]]:
    matches = index.search(words, limit)
    return [(TEXTS[row], round(float(one), 2)) for row, one in zip(matches.rows, matches.similarities, strict=True)]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        *[("quick", "QUICK"), ("MULLER", "Müller"), ("sunrise", "Sun Rise"), ("sun-rise", "Sun Rise")],
        *[("SUN  RISE", "Sun Rise"), ("gazprom", "Газпром"), ("IBM", "I.B.M."), ("i b m", "I.B.M."), ("X", "x")],
        ("bakery golden sun", "Golden Sun Bakery"),
    ],
)
def test_the_same_letters_have_the_similarity_1(index: WordIndex, words: str, text: str) -> None:
    assert found(index, words)[0] == (text, 1.0)


@pytest.mark.parametrize(
    ("words", "text"),
    [("kwik", "QUICK"), ("codac", "Kodak"), ("zerox", "Xerox"), ("mueller", "Müller"), ("pejo", "Peugeot")],
)
def test_words_that_sound_alike_come_first(index: WordIndex, words: str, text: str) -> None:
    assert found(index, words)[0] == (text, SOUND)


@pytest.mark.parametrize(
    ("words", "text"),
    [("addidas", "Adidas"), ("nikke", "Nike"), ("xerx", "Xerox"), ("qiuck", "QUICK"), ("peugoet", "Peugeot")],
)
def test_spelling_errors(index: WordIndex, words: str, text: str) -> None:
    first, similarity = found(index, words)[0]
    assert first == text
    assert 0.7 < similarity < 1


def test_a_beginning_finds_the_words_that_begin_with_it(index: WordIndex) -> None:
    assert found(index, "kod")[0][0] == "Kodak"
    assert dict(found(index, "quick"))["Quicktime"] == pytest.approx(0.6 + 0.4 * 5 / 9, abs=0.01)


def test_a_short_beginning_of_a_long_word() -> None:
    writer = WordsWriter()
    for text in ("Xylophones", "Violins"):
        writer.add(Record(logo_id="", filename="", text=text))
    assert WordIndex(writer.arrays()).search("xy", 2).rows.tolist() == [0]


def test_further_words_of_the_logo_lower_the_similarity_and_missing_ones_more(index: WordIndex) -> None:
    more, fewer = dict(found(index, "quick"))["Quick Lunch"], dict(found(index, "kodak quartz", 5))["Kodak"]
    assert 0.7 < more < 1
    assert fewer < 0.7


def test_a_rare_word_weighs_more_than_a_frequent_one() -> None:
    writer = WordsWriter()
    for text in (*(f"Bakery {letter * 5}" for letter in "abcdefghi"), "Zulu Kilos", "Mango Kilos"):
        writer.add(Record(logo_id="", filename="", text=text))
    matches = WordIndex(writer.arrays()).search("bakery zulu", 5)
    assert matches.rows[0] == 9
    assert matches.similarities[0] > matches.similarities[1]


def test_one_word_of_several_that_differs_is_not_made_up_for_by_the_others(index: WordIndex) -> None:
    writer = WordsWriter()
    for number in range(9):
        writer.add(Record(logo_id="", filename="", text=f"Company {number}"))
    matches = WordIndex(writer.arrays()).search("company 5", 5)
    assert matches.similarities.tolist()[0] == 1
    assert matches.similarities[1] < 0.5


def test_a_further_word_like_that_of_the_query_is_a_further_word() -> None:
    writer = WordsWriter()
    for text in ("Kodak", "Kodak Kojak"):
        writer.add(Record(logo_id="", filename="", text=text))
    matches = WordIndex(writer.arrays()).search("kodak", 2)
    assert matches.rows.tolist() == [0, 1]
    assert matches.similarities[1] < 0.9


def test_words_with_nothing_in_common_are_not_found(index: WordIndex) -> None:
    assert found(index, "zzyzx") == []
    assert None not in dict(found(index, "golden", 100))


def test_the_company_is_searched_after_the_text(index: WordIndex) -> None:
    matches = index.search("kodak", 10)
    assert [(TEXTS[row], FIELDS[field]) for row, field in zip(matches.rows[:3], matches.fields[:3], strict=True)] == [
        ("Kodak", "text"), ("!?", "company"), ("Kodak Express", "text"),
    ]  # fmt: skip
    assert FIELDS[index.search("aple", 1).fields[0]] == "company"


def test_a_filter_keeps_only_the_rows_that_pass(index: WordIndex) -> None:
    allowed = np.zeros(len(TEXTS), np.bool_)
    allowed[[4, 11]] = True
    assert index.search("kodak", 10, allowed).rows.tolist() == [4]
    assert index.search("quick", 10, allowed).rows.tolist() == []


def test_a_filter_reaches_past_the_names_that_fit_best(index: WordIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "COMPARED", 1)
    allowed = np.arange(len(TEXTS)) == TEXTS.index("Golden Moon Bakery")
    assert index.search("golden", 1, allowed).rows.tolist() == [TEXTS.index("Golden Moon Bakery")]


def test_every_row_can_be_compared(index: WordIndex) -> None:
    rows = np.arange(len(TEXTS))
    compared = index.compare("kwik", rows)
    assert compared.rows.tolist() == rows.tolist()
    assert compared.similarities[0] == pytest.approx(SOUND)
    assert compared.fields[TEXTS.index(None)] == -1
    assert compared.similarities[TEXTS.index(None)] == 0
    best = index.search("kwik", 10)
    assert best.similarities.tolist() == compared.similarities[best.rows].tolist()


@pytest.mark.parametrize("words", ["", "  ", "!?", "-'"])
def test_words_without_a_letter_are_refused(index: WordIndex, words: str) -> None:
    with pytest.raises(InvalidRequestError, match="no letter or digit; send at least one"):
        index.search(words, 1)


def test_many_logos_with_the_same_words_fill_an_answer_in_the_order_of_the_rows() -> None:
    writer = WordsWriter()
    for row in range(50):
        writer.add(Record(logo_id=str(row), filename="", text="Kodak" if row % 2 else "Codac", company="Kodak"))
    matches = WordIndex(writer.arrays()).search("kodak", 30)
    assert matches.rows.tolist() == [*range(1, 50, 2), 0, 2, 4, 6, 8]
    assert set(matches.similarities.tolist()) == {1.0}
    allowed = np.arange(50) >= 30
    few = WordIndex(writer.arrays()).search("kodak", 30, allowed).rows
    assert few.tolist() == [*range(31, 50, 2), *range(30, 50, 2)]


def test_a_register_without_words_finds_nothing(tmp_path: Path) -> None:
    writer = WordsWriter()
    writer.add(Record(logo_id="1", filename=""))
    writer.write(tmp_path / "index")
    index = WordIndex.open(tmp_path / "index", 1)
    assert index.search("kodak", 10).rows.tolist() == []
    assert index.compare("kodak", np.array([0])).fields.tolist() == [-1]


def test_nearly_all_similar_words_of_a_comparison_with_all_are_found() -> None:
    random = np.random.default_rng(0)
    syllables = [first + second for first in "bcdfghklmnpqrstvwxz" for second in "aio"]
    words = ["".join(random.choice(syllables, size=random.integers(2, 4))) for _ in range(4_000)]
    writer = WordsWriter()
    for word in words:
        writer.add(Record(logo_id="", filename="", text=word))
    index = WordIndex(writer.arrays())
    right = hits = 0
    for word in words[:50]:
        asked = word[:2] + "x" + word[3:]
        every = np.sort(index.compare(asked, np.arange(len(words))).similarities)[::-1][:10]
        similar = int(np.count_nonzero(every > 0.8))
        right += similar
        hits += min(similar, int(np.count_nonzero(index.search(asked, 10).similarities > 0.8)))
    assert hits >= 0.85 * right > 0


def test_a_written_index_is_read_as_it_was(arrays: WordArrays, tmp_path: Path) -> None:
    write(arrays, tmp_path / "index")
    again = WordArrays.open(tmp_path / "index", len(TEXTS))
    for field in dataclasses.fields(WordArrays):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(arrays, field.name))


def write(arrays: WordArrays, path: Path) -> None:
    path.write_bytes(b"".join(arrays.content(len(TEXTS))))


def changed(arrays: WordArrays, name: str, place: int, value: int) -> WordArrays:
    array = getattr(arrays, name).copy()
    array[place] = value
    return dataclasses.replace(arrays, **{name: array})


STARTS = [field.name for field in dataclasses.fields(WordArrays) if field.name.endswith("starts")]
NUMBERS = ["gram_keys", "key_sounds", "code_keys", "name_keys", "joined", "key_names", "row_names", "name_rows"]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_range_is_damage(arrays: WordArrays, tmp_path: Path, name: str) -> None:
    write(changed(arrays, name, 3, NONE - 1), tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize(("place", "value"), [(0, 1), (3, NONE), (-1, 0)])
def test_starts_that_do_not_ascend_are_damage(
    arrays: WordArrays, tmp_path: Path, name: str, place: int, value: int
) -> None:
    write(changed(arrays, name, place, value), tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


@pytest.mark.parametrize(("name", "place", "value"), [("keys", 0, 200), ("sounds", 0, 200), ("codes", 0, NONE)])
def test_letters_and_codes_out_of_order_are_damage(
    arrays: WordArrays, tmp_path: Path, name: str, place: int, value: int
) -> None:
    write(changed(arrays, name, place, value), tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("key_starts", "keys"),
        ("sound_starts", "sounds"),
        ("key_sound_starts", "key_sounds"),
        ("name_starts", "name_keys"),
    ],
)
def test_a_part_that_is_too_large_is_damage(arrays: WordArrays, tmp_path: Path, name: str, content: str) -> None:
    starts, values = getattr(arrays, name).copy(), getattr(arrays, content)
    starts[-1] += 200
    longer = np.concatenate((values, np.zeros(200, values.dtype)))
    write(dataclasses.replace(arrays, **{name: starts, content: longer}), tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


@pytest.mark.parametrize("name", ["key_starts", "key_sound_starts", "name_starts"])
def test_a_part_that_must_not_be_empty_is_damage(arrays: WordArrays, tmp_path: Path, name: str) -> None:
    write(changed(arrays, name, 1, 0), tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"x" + content[1:],
        lambda content: content[:16] + b"\xff" * 8 + content[24:],
    ],
)
def test_a_file_of_the_wrong_size_is_damage(
    arrays: WordArrays, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "index").write_bytes(damage(b"".join(arrays.content(len(TEXTS)))))
    with pytest.raises(CatalogError, match=r"damaged|cannot be read"):
        WordArrays.open(tmp_path / "index", len(TEXTS))


def test_another_number_of_logos_is_damage(arrays: WordArrays, tmp_path: Path) -> None:
    write(arrays, tmp_path / "index")
    with pytest.raises(CatalogError, match="damaged"):
        WordArrays.open(tmp_path / "index", len(TEXTS) + 1)
