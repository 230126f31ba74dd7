from __future__ import annotations

import pytest

from logo_similarity.wording import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 logos"), (1, "1 logo"), (2, "2 logos"), (2_305, "2,305 logos")])
def test_a_count_agrees_with_its_noun(count: int, text: str) -> None:
    assert counted(count, "logo") == text


def test_an_irregular_plural_is_given() -> None:
    assert counted(1, "test query", "test queries") == "1 test query"
    assert counted(30, "test query", "test queries") == "30 test queries"
