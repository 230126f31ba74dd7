from __future__ import annotations

import pytest

from logo_similarity.classification import Language, load_classifications
from logo_similarity.filters import Filter
from logo_similarity.reports.phrases import describe_expect, describe_filter

NAMES = load_classifications()


@pytest.mark.parametrize(
    ("expect", "text"),
    [
        (None, "How often chance shows a logo as similar as this one is not known."),
        (1234.5, "By chance, every search shows about 1,200 unrelated logos as similar as this."),
        (1.0, "By chance, every search shows about 1 unrelated logo as similar as this."),
        (0.5, "By chance, about 1 of 2 searches shows an unrelated logo as similar as this."),
        (0.00321, "By chance, about 1 of 310 searches shows an unrelated logo as similar as this."),
        (3.347e-8, "By chance, about 1 of 30 million searches shows an unrelated logo as similar as this."),
        (1e-9, "By chance, about 1 of 1 billion searches shows an unrelated logo as similar as this."),
        (0.0, "By chance, about 1 of 1,000 trillion searches shows an unrelated logo as similar as this."),
    ],
)
def test_an_expected_number_in_words(expect: float | None, text: str) -> None:
    assert describe_expect(expect) == text


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (Filter.where(status="ended"), "Status: ended"),
        (Filter.where(vienna_codes=["26.1", "27.99.05"]),
         "Vienna codes: 26.01 (Geometric shapes and bodies) or 27.99.05 (Styles of letters and digits)"),
        (Filter.where(nice_classes=25), "Nice classes: 25 (Clothes, shoes and hats)"),
        (Filter.where(year=(2010, None)), "Year: from 2010"),
        (Filter.where(year=(None, 2015)), "Year: until 2015"),
        (Filter.where(year=(2010, 2015)), "Year: from 2010 to 2015"),
        (Filter.where(year=(None, None)), "Year: any"),
        (Filter.words(company="Example Bakery"), "Company: all words of “example bakery”"),
        (Filter.where(office="EM") & ~Filter.where(status="ended"), "Office: EM; not (Status: ended)"),
        (Filter.where(office="EM") & (Filter.where(year=2010) | Filter.where(year=2011)),
         "Office: EM; (Year: 2010 or Year: 2011)"),
    ],
)  # fmt: skip
def test_a_filter_in_words(condition: Filter, text: str) -> None:
    assert describe_filter(condition, NAMES.vienna[Language.EN], NAMES.nice[Language.EN]) == text
