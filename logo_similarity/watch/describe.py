"""Alerts in words, for lists and feeds."""

from __future__ import annotations

from logo_similarity.watch.model import Alert, Kind


def describe_alert(alert: Alert) -> tuple[str, str]:
    """A short title, and the evidence on one line."""
    detail = alert.detail
    text = (detail["metadata"] or {}).get("text")
    mark = f"{alert.logo_id} ({text})" if text else alert.logo_id
    if alert.kind is Kind.SIMILAR:
        return f"{mark} is similar", describe_evidence(alert)
    if detail["after"] is None:
        return f"{mark} is no longer in the catalog", describe_evidence(alert)
    return f"{mark} has changed", describe_evidence(alert)


def describe_evidence(alert: Alert) -> str:
    """Why an alert was given, on one line."""
    detail = alert.detail
    if alert.kind is Kind.CHANGED:
        before, after = detail["before"] or {}, detail["after"]
        if after is None:
            return "no longer in the catalog"
        if detail["before"] is None:
            return "in the catalog again"
        return ", ".join(
            f"{name}: {before.get(name) or 'none'} -> {value or 'none'}"
            for name, value in after.items()
            if value != before.get(name)
        )
    parts = [str(detail["reason"])]
    if detail["score"] is not None:
        parts.append(f"score {detail['score']:.4f}")
    if detail["expect"] is not None:
        parts.append(f"expect {detail['expect']:.2g}")
    if detail["word_similarity"] is not None:
        parts.append(f"words {detail['word_similarity']:.2f}")
    return ", ".join(parts)
