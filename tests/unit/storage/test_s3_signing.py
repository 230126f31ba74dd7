"""What S3Service does without a server: nothing here listens."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from logo_similarity.config import Settings
from logo_similarity.errors import ConfigError, StoreError
from logo_similarity.storage.s3 import S3Service
from tests.seaweedfs import free_ports

ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def settings(**changes: object) -> Settings:
    given: dict[str, object] = {
        "s3_bucket": "logos",
        "s3_endpoint": "http://127.0.0.1:9",
        "s3_access_key": "the-access-key",
        "s3_secret_key": "the-secret-key",
    }
    return Settings.model_validate(given | changes)


def test_one_url_per_filename_in_order_for_the_key_with_its_prefix() -> None:
    names = [f"EUTM_{number:09d}.jpg" for number in range(100)]

    urls = S3Service(settings(s3_prefix="eu/images/")).sign(names)

    assert [urlsplit(url).path for url in urls] == [f"/logos/eu/images/{name}" for name in names]


@pytest.mark.parametrize(
    ("prefix", "path"), [("images", "/logos/images/a.jpg"), ("", "/logos/a.jpg"), ("/x/", "/logos/x/a.jpg")]
)
def test_the_prefix_is_a_folder_with_or_without_slashes(prefix: str, path: str) -> None:
    assert urlsplit(S3Service(settings(s3_prefix=prefix)).sign(["a.jpg"])[0]).path == path


def test_a_url_is_for_get_alone_and_lives_as_long_as_set() -> None:
    query = parse_qs(urlsplit(S3Service(settings(link_seconds=77)).sign(["a.jpg"])[0]).query)

    assert query["X-Amz-Expires"] == ["77"]
    assert query["X-Amz-Credential"][0].startswith("the-access-key/")
    assert query["X-Amz-Credential"][0].split("/")[2] == "us-east-1"


def test_the_public_endpoint_is_the_host_of_the_links() -> None:
    service = S3Service(settings(s3_public_endpoint="https://images.example.org/"))

    url = service.sign(["a.jpg"])[0]

    assert url.startswith("https://images.example.org/logos/images/a.jpg?")


def test_special_characters_are_escaped_once() -> None:
    names = ["a b+c%20d%.jpg", "Caf\u00e9.jpg", "Cafe\u0301.jpg", "q\"'?#&=.jpg", "sub/dir/x.png"]

    paths = [urlsplit(url).path for url in S3Service(settings()).sign(names)]

    assert [unquote(path) for path in paths] == [f"/logos/images/{name}" for name in names]


@pytest.mark.parametrize(
    "name", ["", "/", "/a.jpg", "a//b.jpg", "../a.jpg", "a/../b.jpg", "./a.jpg", "a/", "a\x00.jpg", "a\n", "\ud800"]
)
@pytest.mark.parametrize("prefix", ["", "images/"])
def test_a_filename_that_can_not_be_a_key_is_refused(name: str, prefix: str) -> None:
    with pytest.raises(StoreError, match="is not a valid key"):
        S3Service(settings(s3_prefix=prefix)).sign(["fine.jpg", name])


@pytest.mark.parametrize("name", ["..a.jpg", "a..jpg", ".hidden/.a.jpg", "...", "a/b./c"])
def test_dots_that_are_part_of_a_name_are_fine(name: str) -> None:
    assert urlsplit(S3Service(settings()).sign([name])[0]).path == f"/logos/images/{name}"


def test_credentials_and_region_come_from_the_environment_where_the_settings_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "env-token")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")

    url = S3Service(settings(s3_endpoint=None, s3_access_key=None, s3_secret_key=None)).sign(["a.jpg"])[0]

    query = parse_qs(urlsplit(url).query)
    assert urlsplit(url).hostname == "s3.eu-west-1.amazonaws.com"
    assert query["X-Amz-Credential"][0].startswith("from-env/")
    assert query["X-Amz-Security-Token"] == ["env-token"]


def test_what_the_settings_say_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = urlsplit(S3Service(settings(s3_region="eu-central-1")).sign(["a.jpg"])[0])
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "https://elsewhere.example.org" if "URL" in name else "true")

    got = urlsplit(S3Service(settings(s3_region="eu-central-1")).sign(["a.jpg"])[0])

    assert (got.scheme, got.netloc, got.path) == (expected.scheme, expected.netloc, expected.path)
    assert parse_qs(got.query)["X-Amz-Credential"] == parse_qs(expected.query)["X-Amz-Credential"]
    assert "X-Amz-Security-Token" not in got.query


def test_no_credentials_at_all_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")

    with pytest.raises(StoreError, match="credentials"):
        S3Service(settings(s3_access_key=None, s3_secret_key=None)).sign(["a.jpg"])


@pytest.mark.parametrize("name", ["s3_endpoint", "s3_public_endpoint"])
@pytest.mark.parametrize(
    "url", ["minio:9000", "ftp://host", "http://", "http://host:99999", "http://user:secret@host", "s3://logos"]
)
def test_an_endpoint_that_is_no_url_names_its_setting(name: str, url: str) -> None:
    with pytest.raises(ConfigError, match=f"LOGO_{name.upper()} ") as caught:
        S3Service(settings(**{name: url}))
    assert "secret" not in str(caught.value)


def test_a_bucket_is_needed() -> None:
    with pytest.raises(ConfigError, match="LOGO_S3_BUCKET"):
        S3Service(Settings())


@pytest.mark.anyio
async def test_with_the_server_down_check_fails_soon_and_signing_goes_on() -> None:
    service = S3Service(settings(s3_endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))

    with pytest.raises(StoreError, match="LOGO_S3_ENDPOINT") as caught:
        await service.check()

    assert "the-secret-key" not in str(caught.value)
    assert len(service.sign(["a.jpg", "b.jpg"])) == 2
