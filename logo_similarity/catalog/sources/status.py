"""The status of a mark in the words of offices, in English, German, French and Spanish."""

from __future__ import annotations

from logo_similarity.field_kinds import words

UNKNOWN = "unknown"
_USUAL = {
    "registered": (
        "registered", "active", "live", "in force", "granted", "protected", "valid", "renewed", "published registered",
        "eingetragen", "aktiv", "in kraft", "verlängert", "enregistrée", "enregistré", "active", "en vigueur", "inscrite",
        "renouvelée", "registrada", "registrado", "vigente", "concedida", "en vigor", "activa", "renovada",
    ),
    "pending": (
        "pending", "filed", "applied", "applied for", "published", "received", "examined", "under examination", "opposed",
        "under opposition", "opposition pending", "examination pending", "accepted", "allowed", "angemeldet", "anhängig",
        "veröffentlicht", "in prüfung", "déposée", "déposé", "en cours", "en cours d'examen", "publiée", "en instance",
        "pendiente", "solicitada", "en trámite", "en tramitación", "publicada", "presentada", "en examen",
    ),
    "ended": (
        "ended", "withdrawn", "refused", "rejected", "cancelled", "canceled", "abandoned", "dead", "surrendered", "revoked",
        "invalid", "invalidated", "removed", "deleted", "inactive", "terminated", "void", "annulled", "zurückgenommen",
        "zurückgewiesen", "gelöscht", "aufgehoben", "nichtig", "beendet", "retirée", "rejetée", "radiée", "annulée",
        "abandonnée", "refusée", "déchue", "denegada", "cancelada", "retirada", "anulada", "desistida", "rechazada",
        "abandonada",
    ),
    "expired": (
        "expired", "lapsed", "not renewed", "abgelaufen", "erloschen", "nicht verlängert", "expirée", "expiré", "échue",
        "non renouvelée", "caducada", "expirada", "vencida", "caduca", "no renovada",
    ),
    UNKNOWN: ("unknown", "unbekannt", "inconnu", "inconnue", "desconocido", "desconocida"),
}  # fmt: skip
_PLAIN = {" ".join(words(phrase)): status for status, phrases in _USUAL.items() for phrase in phrases}
_NOUNS = {
    "application": "pending", "anmeldung": "pending", "demande": "pending", "solicitud": "pending",
    "registration": "registered", "eintragung": "registered", "enregistrement": "registered", "registro": "registered",
    "mark": None, "trademark": None, "trade": None, "marke": None, "marque": None, "marca": None, "the": None, "die": None,
}  # fmt: skip
"""Words for the thing whose status is stated. Alone, some of them are a status."""


def canonical_status(text: str | None) -> str | None:
    """pending, registered, ended, expired or unknown; None for None.

    A status is recognised as a whole, apart from words such as "registration" and "trade mark": "Registration expired" is
    expired, and "Registration cancellation pending" is unknown.
    """
    if text is None:
        return None
    stated = words(text)
    plain = " ".join(word for word in stated if word not in _NOUNS)
    if plain:
        return _PLAIN.get(plain, UNKNOWN)
    return next((status for word in stated if (status := _NOUNS.get(word))), UNKNOWN)
