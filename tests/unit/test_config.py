from __future__ import annotations

from pathlib import Path

import pytest

from logo_similarity.config import load_settings, unknown_settings
from logo_similarity.errors import ConfigError


def test_defaults_serve_on_loopback_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    settings.check_exposure()
    assert settings.host == "127.0.0.1"
    assert not settings.has_api_keys


def test_environment_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGO_PORT", "9000")
    monkeypatch.setenv("LOGO_CATALOGS", "/data/catalogs")
    monkeypatch.setenv("LOGO_API_KEYS", "one, two,")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001
    assert load_settings(catalogs=None).catalogs == Path("/data/catalogs")
    assert [key.get_secret_value() for key in load_settings().api_keys] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("LOGO_PORT", "eighty", "a whole number from 1 to 65535"),
        ("LOGO_PORT", "70000", "a whole number from 1 to 65535"),
        ("LOGO_WORKERS", "1.5", "a whole number of at least 1"),
        ("LOGO_MAX_QUEUE", "0", "a whole number of at least 1"),
        ("LOGO_DEVICE", "tpu", "one of auto, cpu, cuda"),
        ("LOGO_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("LOGO_QUEUE_SECONDS", "-1", "a number greater than 0"),
        ("LOGO_DECODE_SECONDS", "61", "a number greater than 0 and at most 60"),
        ("LOGO_TRACE_RATIO", "half", "a number from 0 to 1"),
        ("LOGO_MAX_HEAD_BYTES", "10", "a whole number of at least 1024"),
        ("LOGO_ALLOW_ANONYMOUS", "perhaps", "true or false"),
        ("LOGO_PUBLIC_URL", "logos.example", "an HTTP address; write http://host:port or https://host"),
        ("LOGO_CATALOG_URL", "catalogs", "a location in a bucket; write s3://bucket/prefix"),
        ("LOGO_CATALOG_URL", "s3://bucket", "a location in a bucket; write s3://bucket/prefix"),
        ("LOGO_CATALOG_URL", "s3://bucket//", "a location in a bucket; write s3://bucket/prefix"),
        ("LOGO_KEYS", "http://x/y", "a location in a bucket; write s3://bucket/prefix"),
    ],
)
def test_an_invalid_setting_is_named_with_its_value_and_those_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refusal:
        load_settings()
    assert str(refusal.value) == f"{name}: {value!r} is not {allowed}"


def test_all_invalid_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^LOGO_PORT: 0 is not .*; LOGO_WORKERS: 0 is not "):
        load_settings(port=0, workers=0)


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.1/8", "10.0.0.1,*"])
def test_what_is_no_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOGO_TRUSTED_PROXIES", value)
    with pytest.raises(ConfigError, match=r"^LOGO_TRUSTED_PROXIES: .*IP addresses or networks"):
        load_settings()


@pytest.mark.parametrize("value", ["*", "127.0.0.1", "10.0.0.0/8, ::1"])
def test_proxies_are_addresses_networks_or_all(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOGO_TRUSTED_PROXIES", value)
    assert load_settings().trusted_proxies == value


def test_two_stores_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="LOGO_IMAGES_DIR"):
        load_settings(images_dir=Path(), s3_bucket="logos")


def test_half_a_credential_is_refused() -> None:
    with pytest.raises(ConfigError, match="LOGO_S3_SECRET_KEY"):
        load_settings(s3_access_key="id")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.98", "logos.example"])
def test_an_open_address_needs_keys_or_an_explicit_wish(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LOGO_API_KEYS"):
        load_settings(host=host).check_exposure()
    load_settings(host=host, api_keys="secret").check_exposure()
    load_settings(host=host, api_keys_file=tmp_path / "keys").check_exposure()
    load_settings(host=host, allow_anonymous=True).check_exposure()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_none(host: str) -> None:
    load_settings(host=host).check_exposure()


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache",
        "redis://:p%40ss@10.0.0.5:6379/1",
        "rediss://user:word@cache.example:6380/0?ssl_ca_certs=/ca.crt",
        "valkey://[::1]:6379",
        "valkeys://cache",
    ],
)
def test_addresses_of_a_server_of_request_counts(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LOGO_USAGE_URL", url)
    settings = load_settings()
    assert settings.usage_url is not None
    assert settings.usage_url.get_secret_value() == url
    assert url not in repr(settings)


@pytest.mark.parametrize(
    "url",
    ["cache:6379", "http://cache", "redis://", "redis://:pa/word@cache", "redis://word@cache:port", "redis://word@a/b"],
)
def test_a_wrong_address_of_that_server_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("LOGO_USAGE_URL", url)
    with pytest.raises(ConfigError, match="LOGO_USAGE_URL: is not the address of a Redis or Valkey server") as refusal:
        load_settings()
    assert "word@" not in str(refusal.value).replace("user:password@", "")


def test_secrets_are_not_printed() -> None:
    settings = load_settings(api_keys="very-secret-key", s3_access_key="an-id", s3_secret_key="a-secret")
    assert "very-secret-key" not in repr(settings)
    assert "a-secret" not in repr(settings)


def test_a_name_that_is_not_a_setting_is_reported_with_the_nearest() -> None:
    assert unknown_settings({"LOGO_PROT": "8", "LOGO_PORT": "8000", "PATH": "/bin"}) == [
        "LOGO_PROT is not a setting; did you mean LOGO_PORT?"
    ]
    assert unknown_settings({"LOGO_XYZZY": "secret"}) == ["LOGO_XYZZY is not a setting"]


def test_the_former_name_of_a_setting_is_an_error_that_names_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGO_WATCH_SECONDS", "")
    assert load_settings().poll_seconds == 1
    monkeypatch.setenv("LOGO_WATCH_SECONDS", "0.5")
    with pytest.raises(ConfigError, match="LOGO_WATCH_SECONDS is now named LOGO_POLL_SECONDS; rename it"):
        load_settings()
    assert unknown_settings() == []


def test_variables_of_tests_and_of_orchestrators_are_not_reported() -> None:
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR")
    assert unknown_settings({f"LOGO_SIMILARITY_{name}": "x" for name in names}) == []
    assert unknown_settings({"LOGO_SIMILARITY_PORT": "tcp://10.0.0.7:8000", "LOGO_TEST_KILLS": "3"}) == []


def test_hosts_of_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGO_WEBHOOK_HOSTS", " Hooks.example.com, 10.0.0.5:8443 ,")
    assert load_settings().webhook_hosts == ("hooks.example.com", "10.0.0.5:8443")
    for wrong in ("https://hooks.example.com", "hooks.example.com/path", "a b", "*"):
        monkeypatch.setenv("LOGO_WEBHOOK_HOSTS", wrong)
        with pytest.raises(ConfigError, match=r"LOGO_WEBHOOK_HOSTS: .* is not a host"):
            load_settings()
