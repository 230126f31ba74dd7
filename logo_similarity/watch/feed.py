"""The alerts of an owner as an Atom feed (RFC 4287)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lxml.etree import Element, SubElement, tostring

from logo_similarity.watch.describe import describe_alert
from logo_similarity.watch.model import Alert

if TYPE_CHECKING:
    from lxml.etree import _Element

MEDIA_TYPE = "application/atom+xml"
ENTRIES = 100
"""Maximum number of alerts in a feed."""
_NAMESPACE = "http://www.w3.org/2005/Atom"


def write_feed(alerts: Sequence[Alert], *, feed_id: str, page: str) -> bytes:
    """The feed as an XML document.

    Args:
        alerts: newest first.
        feed_id: identifies the feed; it stays the same when its address changes.
        page: address of the service's page.
    """
    feed = Element(_tag("feed"), nsmap={None: _NAMESPACE})  # type: ignore[dict-item]  # the default namespace
    updated = alerts[0].at if alerts else dt.datetime.fromtimestamp(0, dt.UTC)
    _add(feed, "id", f"urn:logo-similarity:feed:{feed_id}")
    _add(feed, "title", "Alerts of logo-similarity")
    _add(feed, "updated", updated.isoformat())
    _add(SubElement(feed, _tag("author")), "name", "logo-similarity")
    for alert in alerts:
        entry = SubElement(feed, _tag("entry"))
        title, text = describe_alert(alert)
        _add(entry, "id", f"urn:logo-similarity:alert:{alert.watch}:{alert.id}")
        _add(entry, "title", f"{alert.watch_name}: {title}")
        _add(entry, "updated", alert.at.isoformat())
        SubElement(entry, _tag("link"), href=page)
        _add(entry, "summary", text)
    return bytes(tostring(feed, xml_declaration=True, encoding="utf-8"))


def _add(parent: _Element, name: str, text: str) -> None:
    # XML has no control characters, and a register may.
    SubElement(parent, _tag(name)).text = "".join(character if character.isprintable() else " " for character in text)


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"
