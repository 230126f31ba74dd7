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
    ("name", "value"),
    [
        ("LOGO_PORT", "eighty"),
        ("LOGO_PORT", "70000"),
        ("LOGO_MAX_QUEUE", "0"),
        ("LOGO_DEVICE", "tpu"),
        ("LOGO_LOG_LEVEL", "loud"),
        ("LOGO_QUEUE_SECONDS", "-1"),
        ("LOGO_MAX_HEAD_BYTES", "10"),
        ("LOGO_TRUSTED_PROXIES", "proxy.example"),
        ("LOGO_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("LOGO_TRUSTED_PROXIES", "10.0.0.1,*"),
    ],
)
def test_a_wrong_setting_names_itself(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name}: "):
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


def test_secrets_are_not_printed() -> None:
    settings = load_settings(api_keys="very-secret-key", s3_access_key="an-id", s3_secret_key="a-secret")
    assert "very-secret-key" not in repr(settings)
    assert "a-secret" not in repr(settings)


def test_a_name_that_is_not_a_setting_is_reported_with_the_nearest() -> None:
    assert unknown_settings({"LOGO_PROT": "8", "LOGO_PORT": "8000", "PATH": "/bin"}) == [
        "LOGO_PROT is not a setting; did you mean LOGO_PORT?"
    ]
    assert unknown_settings({"LOGO_XYZZY": "secret"}) == ["LOGO_XYZZY is not a setting"]


def test_variables_of_tests_and_of_orchestrators_are_not_reported() -> None:
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR")
    assert unknown_settings({f"LOGO_SIMILARITY_{name}": "x" for name in names}) == []
    assert unknown_settings({"LOGO_SIMILARITY_PORT": "tcp://10.0.0.7:8000", "LOGO_TEST_KILLS": "3"}) == []
