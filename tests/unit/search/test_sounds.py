"""Words in Latin letters, and how they sound."""

from __future__ import annotations

import pytest

from logo_similarity.search.sounds import (
    LANGUAGES,
    LONGEST_SOUND,
    LONGEST_WORD,
    MOST_WORDS,
    fold,
    skeleton_code,
    sounds,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Müller & Söhne", ["muller", "sohne"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("McDonald's L\N{RIGHT SINGLE QUOTATION MARK}Oréal", ["mcdonalds", "loreal"]),
        ("I.B.M. 4you", ["i", "b", "m", "4you"]),
        ("Ørsted Łódź", ["orsted", "lodz"]),
        ("Газпром", ["gazprom"]),
        ("华为", ["huawei"]),
        ("ソニー", ["soni"]),
        ("Ελλάς", ["ellas"]),
        ("!?& -", []),
        ("", []),
    ],
)
def test_words_are_folded_to_latin_letters(text: str, words: list[str]) -> None:
    assert fold(text) == words


def test_long_texts_and_words_are_cut() -> None:
    assert fold("a" * 1_000) == ["a" * LONGEST_WORD]
    assert len(fold("word " * 1_000)) == MOST_WORDS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("kwik", "quick"), ("kodak", "codac"), ("xerox", "zerox"), ("lite", "light"), ("knight", "nite")],
        *[("phone", "fone"), ("xcel", "excel"), ("skool", "school"), ("tek", "tech"), ("4ever", "forever")],
        *[("mueller", "muller"), ("maier", "meyer"), ("schmidt", "schmitt"), ("fuchs", "fuks"), ("zeit", "tseit")],
        *[("peugeot", "pejo"), ("renault", "reno"), ("bordeaux", "bordo"), ("chateau", "shato"), ("quatre", "katre")],
        *[("vaca", "baca"), ("queso", "keso"), ("llama", "yama"), ("huevo", "webo"), ("zapato", "sapato")],
    ],
)
def test_words_that_sound_alike_in_one_of_four_languages(one: str, other: str) -> None:
    assert set(sounds(one)) & set(sounds(other))


@pytest.mark.parametrize(
    ("one", "other"), [("quick", "quack"), ("kodak", "kojak"), ("nike", "mike"), ("meyer", "may"), ("weiss", "vend")]
)
def test_words_that_sound_different(one: str, other: str) -> None:
    assert not set(sounds(one)) & set(sounds(other))


def test_sounds_are_of_bounded_number_and_length() -> None:
    for letters in ("x", "4", "z", "xa4", "ough", "ç"):
        every = sounds((letters * LONGEST_WORD)[:LONGEST_WORD])
        assert 1 <= len(every) <= LANGUAGES
        assert max(map(len, every)) <= LONGEST_SOUND


def test_a_word_without_any_sound_is_its_own() -> None:
    assert sounds("h") == ("h",)
    assert sounds("8") == ("8", "et")


def test_a_skeleton_has_the_consonants_and_whether_a_vowel_comes_first() -> None:
    assert skeleton_code("kwik") == skeleton_code("kuk") != skeleton_code("kul")
    assert skeleton_code("isi") == skeleton_code("osa") != skeleton_code("si")
