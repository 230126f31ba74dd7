"""Delivery of alerts to webhooks: at least once, with a stable id, and a bounded number of times."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterator

import structlog

from logo_similarity.watch.run import IsActive
from logo_similarity.watch.store import Delivery, DeliveryState, WatchStore
from logo_similarity.watch.webhook import NotDeliveredError, WebhookRules, send

log = structlog.get_logger(__name__)

MOST_ROUNDS = 10
"""A delivery that failed in so many rounds is given up."""
FIRST_PAUSE, LONGEST_PAUSE = 300, 86_400
"""Seconds until the second round; each further pause is twice as long. Ten rounds take 1.8 days."""


def deliver(
    store: WatchStore, rules: WebhookRules, is_active: IsActive, *, trusted: ssl.SSLContext | None = None
) -> tuple[int, int]:
    """Send the alerts that are due. The caller holds `WatchStore.running`.

    An alert is sent again if the process is killed before the answer is stored: the receiver drops it by its id.

    Args:
        store: of the watches.
        rules: where alerts may be sent.
        is_active: whether the watches of an owner run.
        trusted: the certificates to trust; None: those of the system.

    Returns:
        The number of alerts that were delivered, and of attempts that failed.

    Raises:
        ConfigError: the store cannot be used, or the extra `client` is not installed.
    """
    return asyncio.run(_deliver(store, rules, is_active, trusted))


async def _deliver(
    store: WatchStore, rules: WebhookRules, is_active: IsActive, trusted: ssl.SSLContext | None
) -> tuple[int, int]:
    delivered = failed = 0
    troubled: set[str] = set()
    """Watches and hosts whose further alerts wait for the next round."""
    for delivery in _due(store):
        host = delivery.webhook.split("/")[2].lower()
        if not is_active(delivery.owner) or troubled & {delivery.alert.watch, host}:
            continue
        body = json.dumps({"delivery": delivery.id, **delivery.alert.to_json()}, ensure_ascii=False).encode()
        try:
            outcome = await send(rules, delivery.webhook, delivery.secret, delivery.id, body, trusted=trusted)
        except NotDeliveredError as error:
            failed += 1
            troubled.add(host if error.unreachable else delivery.alert.watch)
            _note_failure(store, delivery, str(error))
        else:
            delivered += 1
            store.note_delivery(delivery.id, DeliveryState.DELIVERED, outcome)
    return delivered, failed


def _due(store: WatchStore) -> Iterator[Delivery]:
    now, last = time.time(), 0
    while page := store.due_deliveries(now, after=last):
        yield from page
        last = page[-1].alert.id


def _note_failure(store: WatchStore, delivery: Delivery, reason: str) -> None:
    given_up = delivery.attempts + 1 >= MOST_ROUNDS
    pause = min(FIRST_PAUSE * 2**delivery.attempts, LONGEST_PAUSE)
    state = DeliveryState.FAILED if given_up else DeliveryState.PENDING
    store.note_delivery(delivery.id, state, reason, due=time.time() + pause)
    log.warning(
        "alert_not_delivered", watch=delivery.alert.watch, delivery=delivery.id, error=reason, given_up=given_up
    )
