from __future__ import annotations

import pytest

from logo_similarity.catalog.sources.status import canonical_status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Registered", "registered"),
        ("LIVE", "registered"),
        ("eingetragen", "registered"),
        ("Marke eingetragen", "registered"),
        ("Marque enregistrée", "registered"),
        ("registration", "registered"),
        ("Application", "pending"),
        ("Application published", "pending"),
        ("Application under examination", "pending"),
        ("angemeldet", "pending"),
        ("En trámite", "pending"),
        ("Application withdrawn", "ended"),
        ("Registration cancelled", "ended"),
        ("Dead", "ended"),
        ("gelöscht", "ended"),
        ("Radiée", "ended"),
        ("Registration expired", "expired"),
        ("abgelaufen", "expired"),
        ("Caducada", "expired"),
        ("Trade mark", "unknown"),
        ("Registration cancellation pending", "unknown"),
        ("not registered", "unknown"),
        ("700", "unknown"),
        ("unknown", "unknown"),
        (None, None),
    ],
)
def test_the_words_of_offices(text: str | None, status: str | None) -> None:
    assert canonical_status(text) == status


def test_a_canonical_status_stays_as_it_is() -> None:
    for status in ("pending", "registered", "ended", "expired", "unknown"):
        assert canonical_status(status) == status
