from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logo_similarity.errors import InvalidRequestError
from logo_similarity.watch import webhook
from logo_similarity.watch.webhook import ATTEMPTS, NotDeliveredError, Target, WebhookRules, is_public, send
from tests.certificates import make_certificate
from tests.webhooks import Receiver, receiving

SECRET = "whsec_secret"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def allow(*hosts: str) -> WebhookRules:
    return WebhookRules(frozenset(hosts), http=True, private=True)


def post(rules: WebhookRules, address: str, **options: Any) -> str:
    return asyncio.run(send(rules, address, SECRET, "d-1", b'{"a":1}', **options))


def test_a_receiver_can_verify_a_body_by_its_signature(receiver: Receiver) -> None:
    assert post(allow(receiver.authority), f"http://{receiver.authority}/hook?x=1") == "HTTP status 204"
    ((headers, body),) = receiver.received
    expected = hmac.new(SECRET.encode(), f"{headers['x-logo-timestamp']}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["x-logo-signature"] == f"sha256={expected}"
    assert (headers["x-logo-delivery"], headers["host"], body) == ("d-1", receiver.authority, b'{"a":1}')


@pytest.mark.parametrize(("status", "attempts"), [(503, ATTEMPTS), (429, ATTEMPTS), (404, 1), (302, 1), (101, 1)])
def test_only_a_busy_host_is_asked_again_at_once(receiver: Receiver, status: int, attempts: int) -> None:
    receiver.statuses = [status] * 10
    with pytest.raises(NotDeliveredError, match="not reachable" if status == 101 else f"HTTP status {status}"):
        post(allow(receiver.authority), f"http://{receiver.authority}/hook")
    assert len(receiver.received) == (ATTEMPTS if status == 101 else attempts)


def test_an_attempt_that_succeeds_ends_the_attempts(receiver: Receiver) -> None:
    receiver.statuses = [503]
    assert post(allow(receiver.authority), f"http://{receiver.authority}/hook") == "HTTP status 204"
    assert [headers["x-logo-delivery"] for headers, _ in receiver.received] == ["d-1", "d-1"]


def test_a_host_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(NotDeliveredError, match="not reachable") as caught:
            post(allow(authority), f"http://{authority}/")
    assert caught.value.unreachable


def test_a_host_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TOTAL_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        authority = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NotDeliveredError, match="did not answer in time"):
            post(allow(authority), f"http://{authority}/")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ftp://hooks.example/", "not the address of a webhook"),
        ("https://user@hooks.example/", "not the address of a webhook"),
        ("https://hooks.example/#x", "not the address of a webhook"),
        ("https://hooks.example/a b", "not the address of a webhook"),
        ("https://hooks.example\\@evil.example/", "not the address of a webhook"),
        ("https://hooks.example/\r\nX: y", "not the address of a webhook"),
        ("https://[::1]/", "not the address of a webhook"),
        ("https://evil.example/", "LOGO_WEBHOOK_HOSTS"),
        ("https://hooks.example.evil.example/", "LOGO_WEBHOOK_HOSTS"),
        ("https://hooks.example:8443/", "LOGO_WEBHOOK_HOSTS"),
        ("http://hooks.example/", "https://"),
    ],
)
def test_addresses_that_are_refused(address: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        WebhookRules(frozenset({"hooks.example"})).check(address)


def test_addresses_that_are_accepted() -> None:
    rules = WebhookRules(frozenset({"hooks.example", "hooks.example:8443"}))
    assert rules.check("https://Hooks.example") == Target("https", "hooks.example", 443, "/")
    assert rules.check("https://hooks.example:8443/a?b=c") == Target("https", "hooks.example", 8443, "/a?b=c")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07::1", True), ("127.0.0.1", False), ("10.0.0.1", False),
        ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False),
        ("fe80::1%eth0", False), ("fd00::1", False), ("ff02::1", False), ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_private_address_is_not_connected_to(receiver: Receiver) -> None:
    rules = WebhookRules(frozenset({receiver.authority}), http=True)
    with pytest.raises(NotDeliveredError, match=r"127\.0\.0\.1, which is not public"):
        post(rules, f"http://{receiver.authority}/")
    assert receiver.received == []


def resolved(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to these addresses, one list after the other. Returns the names, as they are asked for."""
    asked, remaining = list[str](), list(answers)

    async def getaddrinfo(_loop: object, host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in remaining.pop(0)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(NotDeliveredError, match=r"10\.0\.0\.1"):
        post(WebhookRules(frozenset({"hooks.example"})), "https://hooks.example/")


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A name that resolves to another address a moment later is not asked again."""
    asked = resolved(monkeypatch, ["127.0.0.1"])
    authority = f"rebinding.example:{receiver.port}"
    assert post(allow(authority), f"http://{authority}/") == "HTTP status 204"
    assert asked.count("rebinding.example") == 1
    assert receiver.received[0][0]["host"] == authority


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert post(allow(receiver.authority), f"http://{receiver.authority}/") == "HTTP status 204"


@pytest.mark.parametrize(("host", "accepted"), [("hooks.example", True), ("other.example", False)])
def test_the_certificate_must_be_that_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, accepted: bool
) -> None:
    server, client = make_certificate(tmp_path, "hooks.example")
    resolved(monkeypatch, *[["127.0.0.1"]] * ATTEMPTS)
    with receiving(server) as receiver:
        rules = WebhookRules(frozenset({f"{host}:{receiver.port}"}), private=True)
        address = f"https://{host}:{receiver.port}/"
        if accepted:
            assert post(rules, address, trusted=client) == "HTTP status 204"
        else:
            with pytest.raises(NotDeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
                post(rules, address, trusted=client)
        assert len(receiver.received) == accepted
