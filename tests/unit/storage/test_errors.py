"""obstore's exceptions as errors of this project, against a real server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from logo_similarity.config import Settings
from logo_similarity.errors import NotFoundError, StoreError
from logo_similarity.storage.objects import ObjectFolder
from logo_similarity.storage.s3 import S3Service
from tests.seaweedfs import S3Server, free_ports


@pytest.fixture
def remote(settings: Settings) -> ObjectFolder:
    return ObjectFolder(str(settings.catalog_url), settings)


def test_an_object_that_does_not_exist_is_named_with_its_server(remote: ObjectFolder, settings: Settings) -> None:
    with pytest.raises(NotFoundError) as caught:
        remote.read("nothing")
    assert str(caught.value) == f"{remote.url}/nothing at {settings.s3_endpoint}: no such object"


@pytest.mark.parametrize("known", [None, '"another"'])
def test_an_object_that_another_process_wrote_is_not_replaced(remote: ObjectFolder, known: str | None) -> None:
    remote.write("keys.json", b"theirs")
    with pytest.raises(StoreError, match=r"keys\.json at .*: modified concurrently; try again"):
        remote.write_over("keys.json", b"ours", known)
    assert remote.read("keys.json") == b"theirs"


@pytest.mark.parametrize("wrong", ["s3_access_key", "s3_secret_key"])
@pytest.mark.anyio
async def test_rejected_credentials_are_named_whatever_the_request(
    settings: Settings, s3_server: S3Server, wrong: str
) -> None:
    refused = settings.model_copy(update={wrong: SecretStr("wrong"), "s3_bucket": s3_server.bucket})
    remote, service = ObjectFolder(str(refused.catalog_url), refused), S3Service(refused)
    requests: list[Callable[[], object]] = [
        lambda: remote.read("a"),
        lambda: remote.write("a", b""),
        lambda: remote.size("a"),
    ]
    for request in requests:
        with pytest.raises(StoreError, match="LOGO_S3_SECRET_KEY"):
            request()
    with pytest.raises(StoreError, match="LOGO_S3_SECRET_KEY"):
        await service.head("a.jpg")
    with pytest.raises(StoreError, match="LOGO_S3_SECRET_KEY"):
        [info async for info in service.list_objects()]


def test_missing_credentials_are_named_with_the_variables_to_set(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine without a role: the metadata service of the cloud does not answer."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    without = settings.model_copy(update={"s3_access_key": None, "s3_secret_key": None})
    remote = ObjectFolder(str(without.catalog_url), without)
    requests: list[Callable[[], object]] = [
        lambda: remote.size("a"),
        lambda: remote.read("a"),
        lambda: remote.write("a", b""),
    ]
    for request in requests:
        with pytest.raises(StoreError, match="no credentials: set LOGO_S3_ACCESS_KEY and LOGO_S3_SECRET_KEY"):
            request()


def test_a_server_that_does_not_answer_is_named_with_the_reason(settings: Settings) -> None:
    away = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"})
    messages = set()
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            ObjectFolder(str(away.catalog_url), away, seconds=5).read("a")
        messages.add(str(caught.value))
    (message,) = messages  # always the same: a follower logs it once
    assert "no valid answer: check LOGO_S3_ENDPOINT" in message
    assert message.endswith("(HTTP error: error sending request: Connection refused)")
