"""What the rest of the project relies on, asked of a real S3 server over HTTP."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest

from logo_similarity.config import Settings
from logo_similarity.errors import NotFoundError, StoreError
from logo_similarity.storage.s3 import ObjectInfo, S3Service, StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.seaweedfs import S3Server

pytestmark = pytest.mark.anyio

NAMES = [
    "plain.jpg",
    "sub/dir/deep.png",
    "with space.jpg",
    "plus+and%20percent%.jpg",
    "Caf\u00e9.jpg",
    "Cafe\u0301.jpg",
    "ロゴ.webp",
    "quotes\"'`.jpg",
    "?query&a=b#fragment;,@:$!*()[]{}|^~<>.gif",
]


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def settings(s3_server: S3Server) -> Settings:
    return Settings.model_validate(
        {
            "s3_bucket": s3_server.bucket,
            "s3_prefix": f"{secrets.token_hex(8)}/images",
            "s3_endpoint": s3_server.endpoint,
            "s3_access_key": s3_server.access_key,
            "s3_secret_key": s3_server.secret_key,
        }
    )


@pytest.fixture
def service(settings: Settings) -> S3Service:
    return S3Service(settings)


def changed(settings: Settings, **changes: object) -> S3Service:
    return S3Service(settings.model_copy(update=changes))


async def test_every_name_can_be_put_and_comes_back_by_head_get_and_list(service: S3Service) -> None:
    for name in NAMES:
        await service.put(name, name.encode() * 2, content_type=f"image/{name[-3:]}")

    for name in NAMES:
        assert await service.head(name) == ObjectInfo(name, len(name.encode()) * 2)
        assert await service.get(name) == StoredObject(name.encode() * 2, f"image/{name[-3:]}")
    assert sorted([info.filename async for info in service.list_objects()]) == sorted(NAMES)


async def test_a_signed_link_gives_the_image_and_its_content_type_to_anybody(
    service: S3Service, client: httpx2.Client
) -> None:
    for name in NAMES:
        await service.put(name, name.encode(), content_type="image/webp")

    answers = [client.get(url) for url in service.sign(NAMES)]

    assert [answer.status_code for answer in answers] == [200] * len(NAMES)
    assert [answer.content.decode() for answer in answers] == NAMES
    assert {answer.headers["content-type"] for answer in answers} == {"image/webp"}


async def test_put_replaces(service: S3Service) -> None:
    await service.put("a.jpg", b"old", content_type="image/jpeg")
    await service.put("a.jpg", b"newer", content_type="image/png")

    assert await service.get("a.jpg") == StoredObject(b"newer", "image/png")


async def test_the_listing_goes_past_one_page_of_the_server(service: S3Service) -> None:
    names = {f"{number:04d}.jpg" for number in range(1100)}
    for start in range(0, 1100, 100):
        page = sorted(names)[start : start + 100]
        await asyncio.gather(*(service.put(name, b"x", content_type="image/jpeg") for name in page))

    assert {info.filename async for info in service.list_objects()} == names


async def test_the_listing_stays_within_its_prefix(settings: Settings, service: S3Service) -> None:
    neighbour = changed(settings, s3_prefix=f"{settings.s3_prefix}-old")
    await neighbour.put("theirs.jpg", b"x", content_type="image/jpeg")
    await service.put("ours.jpg", b"x", content_type="image/jpeg")

    assert [info.filename async for info in service.list_objects()] == ["ours.jpg"]


@pytest.mark.parametrize(
    ("part", "other", "status"),
    [
        ("X-Amz-Signature=", "X-Amz-Signature=0", 403),
        ("/mine.jpg?", "/yours.jpg?", 403),
        ("X-Amz-Expires=300", "X-Amz-Expires=301", 403),
        ("X-Amz-Date=2", "X-Amz-Date=3", 403),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", 400),
    ],
)
async def test_the_server_refuses_a_link_that_was_changed(
    service: S3Service, client: httpx2.Client, part: str, other: str, status: int
) -> None:
    for name in ("mine.jpg", "yours.jpg"):
        await service.put(name, b"data", content_type="image/jpeg")
    url = service.sign(["mine.jpg"])[0]
    assert client.get(url).status_code == 200

    assert url.count(part) == 1
    answer = client.get(url.replace(part, other))

    assert answer.status_code == status
    assert b"data" not in answer.content


async def test_the_server_refuses_the_key_without_a_signature(service: S3Service, client: httpx2.Client) -> None:
    await service.put("a.jpg", b"data", content_type="image/jpeg")

    assert client.get(service.sign(["a.jpg"])[0].partition("?")[0]).status_code == 403


@pytest.mark.parametrize(("method", "status"), [("PUT", 403), ("DELETE", 403), ("POST", 405)])
async def test_a_link_is_for_reading_only(service: S3Service, client: httpx2.Client, method: str, status: int) -> None:
    await service.put("a.jpg", b"data", content_type="image/jpeg")

    assert client.request(method, service.sign(["a.jpg"])[0]).status_code == status
    assert (await service.get("a.jpg")).data == b"data"


async def test_the_server_refuses_a_link_that_has_expired(
    settings: Settings, service: S3Service, client: httpx2.Client
) -> None:
    await service.put("a.jpg", b"data", content_type="image/jpeg")
    brief = changed(settings, link_seconds=1).sign(["a.jpg"])[0]
    lasting = service.sign(["a.jpg"])[0]

    answers = (client.get(brief).status_code for _ in range(100_000))
    assert next(status for status in answers if status != 200) == 403
    assert client.get(lasting).status_code == 200


async def test_a_link_for_the_public_endpoint_is_valid_there_and_nowhere_else(
    settings: Settings, client: httpx2.Client
) -> None:
    service = changed(settings, s3_public_endpoint="http://images.example.org:8080")
    await service.put("a.jpg", b"data", content_type="image/jpeg")
    url = service.sign(["a.jpg"])[0]
    assert url.startswith("http://images.example.org:8080/")

    assert settings.s3_endpoint is not None
    inside = url.replace("http://images.example.org:8080", settings.s3_endpoint)

    assert client.get(inside).status_code == 403
    # As a proxy does that serves the public name and hands the host on.
    answer = client.get(inside, headers={"Host": urlsplit(url).netloc})
    assert (answer.status_code, answer.content) == (200, b"data")


async def test_an_object_that_is_not_there_is_not_found(service: S3Service, client: httpx2.Client) -> None:
    with pytest.raises(NotFoundError):
        await service.get("missing.jpg")
    with pytest.raises(NotFoundError):
        await service.head("missing.jpg")
    assert client.get(service.sign(["missing.jpg"])[0]).status_code == 404


async def test_check_passes_with_the_right_settings_and_no_object_yet(service: S3Service) -> None:
    await service.check()


@pytest.mark.parametrize("wrong", [{"s3_secret_key": "wrong"}, {"s3_access_key": "nobody"}])
async def test_wrong_keys_are_a_store_error_that_names_the_settings(settings: Settings, wrong: dict[str, str]) -> None:
    service = S3Service(Settings.model_validate(settings.model_dump(exclude_unset=True) | wrong))

    with pytest.raises(StoreError, match="LOGO_S3_SECRET_KEY"):
        await service.check()
    with pytest.raises(StoreError, match="LOGO_S3_SECRET_KEY"):
        await service.get("a.jpg")
    with pytest.raises(StoreError):
        await service.put("a.jpg", b"data", content_type="image/jpeg")
    with pytest.raises(StoreError):
        [info async for info in service.list_objects()]


async def test_a_bucket_that_does_not_exist_is_a_store_error_that_says_so(settings: Settings) -> None:
    service = changed(settings, s3_bucket="no-such-bucket")

    with pytest.raises(StoreError, match="create the bucket"):
        await service.check()
    with pytest.raises((StoreError, NotFoundError)):
        await service.put("a.jpg", b"data", content_type="image/jpeg")


async def test_an_image_is_read_by_its_name(service: S3Service) -> None:
    await service.put("sub/a.jpg", b"12345", content_type="image/jpeg")
    assert service.read("sub/a.jpg", 5) == b"12345"
    with pytest.raises(NotFoundError, match="more than 4 bytes"):
        service.read("sub/a.jpg", 4)
    with pytest.raises(NotFoundError):
        service.read("none.jpg", 5)
