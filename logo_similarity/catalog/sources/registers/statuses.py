"""Statuses of offices, in the five words that all registers share.

Codes and words that are not listed here are `unknown`: `office_status` keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable


def _codes(*parts: int | range) -> Iterable[str]:
    for part in parts:
        for number in (part,) if isinstance(part, int) else part:
            yield f"{number:03}"


US_STATUSES = {
    # 622, 715 and 970 count as neither live nor dead, and 400, 403, 610, 612, 620, 625, 779, 901 and 973 do not tell which
    # of the words fits.
    **dict.fromkeys(_codes(401, 402, range(600, 610), 614, 618, 626, range(709, 715), 716), "ended"),
    **dict.fromkeys(
        _codes(
            616, range(630, 633), 638, range(640, 662), 663, 664, *range(665, 669), 672, 673, 680, 681, 682, 686,
            *range(688, 691), *range(692, 695), *range(718, 723), 724, 725, *range(730, 735), *range(744, 747), 748,
            752, 753, 756, 757, 760, *range(762, 767), *range(771, 776), 777, 794, *range(801, 805), *range(806, 826),
        ),
        "pending",
    ),
    **dict.fromkeys(_codes(624, range(700, 709), 717, 740, 778, 780, 790, 800), "registered"),
    "900": "expired",
}  # fmt: skip
"""Status codes of the USPTO (documentation of its trademark applications XML, table of status codes)."""

STATUSES = {
    # ST.66 of EUIPO, and the status terms of ST.66 and ST.96
    "application filed": "pending",
    "filing date accorded": "pending",
    "classification checked": "pending",
    "application under examination": "pending",
    "application accepted": "pending",
    "application published": "pending",
    "application opposed": "pending",
    "opposition pending": "pending",
    "appeal pending": "pending",
    "action before court of justice pending": "pending",
    "registration pending": "pending",
    "registered": "registered",
    "registration published": "registered",
    "registration cancellation pending": "registered",
    "revocation proceeding pending": "registered",
    "invalidity proceeding pending": "registered",
    "application refused": "ended",
    "application withdrawn": "ended",
    "interruption of proceeding": "ended",
    "conversion requested": "ended",
    "registration cancelled": "ended",
    "registration surrendered": "ended",
    "registration expired": "expired",
    "expired": "expired",
    # EUIPO's API
    "received": "pending",
    "under_examination": "pending",
    "application_published": "pending",
    "registration_pending": "pending",
    "opposition_pending": "pending",
    "appealed": "pending",
    "appealable": "pending",
    "start_of_opposition_period": "pending",
    "acceptance_pending": "pending",
    "accepted": "registered",
    "cancellation_pending": "registered",
    "withdrawn": "ended",
    "refused": "ended",
    "cancelled": "ended",
    "surrendered": "ended",
    "removed_from_register": "ended",
    # INPI
    "demande déposée": "pending",
    "demande publiée": "pending",
    "demande non publiée": "pending",
    "marque enregistrée": "registered",
    "marque renouvelée": "registered",
    "renouvellement demandé": "registered",
    "marque expirée": "expired",
    "marque annulée": "ended",
    "marque déchue": "ended",
    "marque ayant fait l'objet d'une renonciation totale": "ended",
    "marque ayant fait l'objet d'un retrait total": "ended",
    "demande totalement rejetée": "ended",
    "demande irrecevable après publication": "ended",
    # KIPO
    "출원": "pending",
    "공개": "pending",
    "공고": "pending",
    "등록": "registered",
    "소멸": "ended",
    "거절": "ended",
    "취하": "ended",
    "포기": "ended",
    "무효": "ended",
    "각하": "ended",
}
"""Statuses of other offices by their words, in lower case."""


def status_fields(office: str, text: str | None) -> dict[str, str]:
    """The fields `status` and `office_status` for a status in the words or the code of an office; none if it is missing."""
    if text is None:
        return {}
    status = US_STATUSES.get(text) if office == "US" else STATUSES.get(text.lower())
    return {"status": status or "unknown", "office_status": text}
