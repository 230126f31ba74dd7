"""Webhooks: where alerts may be sent, and how they are signed and sent.

The address of a webhook comes from whoever holds an API key, so it must not reach what only this machine reaches. The host
must be one that the operator listed; its name is resolved once, every address is checked, and the connection goes to a
checked address: a name that resolves to another address a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Self

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, InvalidRequestError
from logo_similarity.version import __version__

PORTS = {"https": 443, "http": 80}
CONNECT_SECONDS, TOTAL_SECONDS = 5.0, 20.0
ATTEMPTS = 3
"""Of one delivery in one run, if the host cannot be reached or is busy."""
PAUSE_SECONDS = 1.0
"""Before the second of them; later pauses are longer."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a response after which the request is repeated."""
_ADDRESS = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[!-\"$-~]*)?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NotDeliveredError(Exception):
    """A webhook did not accept an alert. It ends with the attempt, and reaches nobody."""

    def __init__(self, message: str, *, unreachable: bool = False, busy: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable
        """Whether the host as a whole is the cause."""
        self.busy = unreachable or busy
        """Whether the next attempt may succeed a moment later."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of the address of a webhook."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The host, with the port unless it is the usual one of the scheme."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """Where alerts may be sent."""

    hosts: frozenset[str]
    http: bool = False
    private: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules in the settings."""
        return cls(frozenset(settings.webhook_hosts), settings.webhook_http, settings.webhook_private)

    def check(self, address: str) -> Target:
        """The parts of an address, without resolving its host.

        Raises:
            InvalidRequestError: it is not the address of a webhook, or its host or scheme is not allowed.
        """
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise InvalidRequestError(
                f"{address!r:.200} is not the address of a webhook; write https://host/path, without a user and a fragment"
            )
        port = int(match["port"] or PORTS[match["scheme"]])
        target = Target(match["scheme"], match["host"].lower(), port, match["path"] or "/")
        if target.authority not in self.hosts:
            raise InvalidRequestError(
                f"alerts may not be sent to {target.authority}: the operator has not listed it in LOGO_WEBHOOK_HOSTS"
            )
        if target.scheme == "http" and not self.http:
            raise InvalidRequestError("the address of a webhook must begin with https://")
        return target

    async def resolve(self, target: Target) -> list[str]:
        """The addresses of the host.

        Raises:
            NotDeliveredError: the host is unknown, or one of its addresses is not allowed.
        """
        try:
            entries = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotDeliveredError(f"{target.host} cannot be resolved: {error.strerror}", unreachable=True) from None
        addresses = [str(entry[4][0]) for entry in entries]
        for address in addresses:
            if not (self.private or is_public(address)):
                raise NotDeliveredError(f"{target.host} has the address {address}, which is not public")
        return addresses


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet: not to this machine, its networks, or a reserved range."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.digest(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hex()


async def send(
    rules: WebhookRules, address: str, secret: str, delivery: str, body: bytes, *, trusted: ssl.SSLContext | None = None
) -> str:
    """Send a body to a webhook, with up to `ATTEMPTS` attempts.

    Args:
        rules: where alerts may be sent.
        address: of the webhook.
        secret: with which the body is signed.
        delivery: id of the delivery, by which the receiver recognises a repetition.
        body: JSON.
        trusted: the certificates to trust; None: those of the system.

    Returns:
        The status of the response, as text.

    Raises:
        ConfigError: the extra `client` is not installed.
        NotDeliveredError: the webhook did not accept it.
    """
    try:
        import tenacity
    except ImportError:
        raise ConfigError(
            "webhooks need httpx2 and tenacity: run pip install '.[client]' in the source folder"
        ) from None
    attempts = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, NotDeliveredError) and error.busy),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(multiplier=PAUSE_SECONDS, max=5 * PAUSE_SECONDS, jitter=PAUSE_SECONDS),
        reraise=True,
    )
    return await attempts(_send_once, rules, address, secret, delivery, body, trusted)


async def _send_once(
    rules: WebhookRules, address: str, secret: str, delivery: str, body: bytes, trusted: ssl.SSLContext | None
) -> str:
    import httpx2

    try:
        target = rules.check(address)
    except InvalidRequestError as error:  # the settings have changed since the watch was added
        raise NotDeliveredError(str(error)) from None
    timestamp = str(int(time.time()))
    headers = {
        "Host": target.authority,
        "Content-Type": "application/json",
        "User-Agent": f"logo-similarity/{__version__}",
        "X-Logo-Delivery": delivery,
        "X-Logo-Timestamp": timestamp,
        "X-Logo-Signature": sign(secret, timestamp, body),
    }
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            host = (await rules.resolve(target))[0]
            url = httpx2.URL(scheme=target.scheme, host=host, port=target.port, raw_path=target.path.encode())
            verify = ssl.create_default_context() if trusted is None else trusted
            # Without the environment's proxies, which would resolve the name themselves.
            async with httpx2.AsyncClient(trust_env=False, verify=verify, timeout=CONNECT_SECONDS) as client:
                request = client.build_request(
                    "POST", url, content=body, headers=headers, extensions={"sni_hostname": target.host}
                )
                response = await client.send(request, stream=True, follow_redirects=False)
                status = response.status_code
                await response.aclose()  # the body is not read
    except TimeoutError:
        raise NotDeliveredError(f"{target.authority} did not answer in time", unreachable=True) from None
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise NotDeliveredError(f"{target.authority} is not reachable: {reason}", unreachable=True) from None
    if not 200 <= status < 300:
        raise NotDeliveredError(f"{target.authority} answered with HTTP status {status}", busy=status in BUSY)
    return f"HTTP status {status}"
