"""A report as JSON: the case as it is, and the repetition of its search."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from logo_similarity.reports.record import Repetition, case_hit
from logo_similarity.reports.report import Report

VERSION = 1


def to_json(report: Report) -> bytes:
    """The document that docs/reports.md describes."""
    repetition = report.repetition
    content = {
        "report": VERSION,
        "made": report.made.isoformat(),
        "case": report.case.model_dump(mode="json"),
        "repetition": None if repetition is None else _repetition(repetition),
        "not_repeated": report.not_repeated or None,
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def _repetition(repetition: Repetition) -> dict[str, Any]:
    result, changes = repetition.result, repetition.changes
    return {
        "at": repetition.at.isoformat(),
        "catalog": repetition.catalog.model_dump(mode="json"),
        "encoder": repetition.encoder.model_dump(mode="json"),
        "same_catalog": repetition.same_catalog,
        "same_list": not changes,
        "changes": dataclasses.asdict(changes),
        "hits": [
            case_hit(hit).model_dump(mode="json", exclude={"verdict", "note", "thumbnail"}) for hit in result.hits
        ],
    }
