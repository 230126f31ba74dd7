"""A small application and its requests, for tests of middleware without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from logo_similarity.api.routing import TEMPLATE


def scope_of(*headers: tuple[bytes, bytes], route: str = "/", **more: object) -> dict[str, Any]:
    """The scope of a GET request from 192.0.2.1 whose route has been looked up."""
    return {
        "type": "http",
        "method": "GET",
        "headers": list(headers),
        "client": ("192.0.2.1", 1),
        TEMPLATE: route,
    } | more


async def no_receive() -> Message:
    """Fails: the body must not be read."""
    raise AssertionError("the body was read")


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An application that answers 204."""
    await send({"type": "http.response.start", "status": 204, "headers": [(b"x-a", b"b")]})
    await send({"type": "http.response.body"})


async def sent_by(
    app: Callable[[Scope, Receive, Send], Any], scope: dict[str, Any], receive: Receive = no_receive
) -> list[Message]:
    """The messages that an application sends."""
    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
