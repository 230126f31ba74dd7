"""Whether the day or the month comes first in the dates of a column: decided by all of its values."""

from __future__ import annotations

from dataclasses import dataclass

from logo_similarity.dates import day_order, is_ambiguous, year_alone
from logo_similarity.field_kinds import is_missing
from logo_similarity.wording import counted

MOST_EXCEPTIONS = 0.01
"""Share of the dates of a column that may have the other order: typing errors."""


@dataclass(slots=True)
class _Counts:
    """Of the values of one field."""

    day_first: int = 0
    month_first: int = 0
    ambiguous: int = 0
    example: str = ""
    """The first that is ambiguous."""
    years: int = 0
    """Values without a day."""


class DateOrders:
    """Counts what the values of the fields of dates tell, and decides."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}

    def look_at(self, field: str, value: object) -> None:
        """Count one value of a field."""
        if is_missing(value):
            return
        counts = self._counts.setdefault(field, _Counts())
        order = day_order(value)
        counts.day_first += order is True
        counts.month_first += order is False
        counts.years += year_alone(value) is not None
        if is_ambiguous(value):
            counts.ambiguous += 1
            counts.example = counts.example or str(value)

    def choose(self) -> tuple[dict[str, bool], list[str]]:
        """Whether the day comes first, for each field that needs it, and notes on choices that may be wrong.

        A field whose values do not tell follows the others.
        """
        orders: dict[str, bool] = {}
        notes: list[str] = []
        for field, counts in self._counts.items():
            least, most = sorted((counts.day_first, counts.month_first))
            if least > MOST_EXCEPTIONS * most:
                notes.append(
                    f"{field}: {counted(counts.day_first, 'date')} with the day first and {counts.month_first:,} with the "
                    f"month first; {counts.ambiguous:,} that could be either are not read; state date_order under [format] in "
                    "a mapping"
                )
            elif most:
                orders[field] = counts.day_first > counts.month_first
        told = set(orders.values())
        for field, counts in self._counts.items():
            if counts.ambiguous and not counts.day_first and not counts.month_first:
                orders[field] = told != {False}
                if len(told) != 1:
                    notes.append(
                        f"{field}: no date tells whether the day or the month comes first; the day is assumed, as in "
                        f'{counts.example!r}; otherwise state date_order = "month-day" under [format] in a mapping'
                    )
        return orders, notes

    def notes_on_years(self) -> list[str]:
        """The number of values without a day, for each field that has them."""
        return [
            f"{counted(counts.years, 'value')} of {field} without a day: the field stays empty"
            for field, counts in self._counts.items()
            if counts.years
        ]
