"""Settings of the service and the command line: the only reader of the environment."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from logo_similarity.errors import ConfigError

Positive = Annotated[int, Field(gt=0)]
PREFIX = "LOGO_"
# Variables of the tests, and those that Kubernetes and Docker set in every container for a service named `logo...`.
FOREIGN = re.compile(r"LOGO_TEST_|LOGO_(.*_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))")
HTTP_ADDRESS = r"^https?://[^/\s?#]+"
HttpAddress = Annotated[str, Field(pattern=HTTP_ADDRESS)]


class Settings(BaseSettings):
    """Every setting, read from `LOGO_<NAME>` in the environment. Build it with `load_settings`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    catalogs: Path = Field(Path("catalogs"), description="Folder of the catalog versions and of CURRENT.")
    host: str = Field("127.0.0.1", description="Address to listen on. One that is not loopback needs API keys.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8000, description="Port to listen on.")
    workers: Positive | None = Field(None, description="Worker processes. Default: from the usable cores.")
    threads: Positive | None = Field(None, description="Search threads per worker. Default: cores / workers.")
    device: Annotated[str, Field(pattern="^(auto|cpu|cuda)$")] = Field(
        "auto",
        description="Where the encoder runs: auto (CUDA where it really loads), cpu, or cuda (refuses to start without).",
    )
    public_url: HttpAddress | None = Field(
        None, description="Base of the links this service hands out for itself. Default: from each request."
    )

    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses or networks, "
        "comma-separated, or `*`.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field((), description="Accepted API keys, comma-separated.")
    api_keys_file: Path | None = Field(
        None, description="File of accepted keys, one `name:sha256-hex` a line; `#` starts a comment."
    )
    keys: str | None = Field(
        None,
        description="Where `logo-similarity keys` keeps the API keys: a file, or `s3://bucket/prefix`, which replicas share.",
    )
    usage_db: Path | None = Field(
        None, description="File that counts the requests of those keys. Default: `.usage.db` in `LOGO_CATALOGS`."
    )
    allow_anonymous: bool = Field(
        default=False, description="Serve without API keys on an address that is not loopback."
    )

    images_dir: Path | None = Field(None, description="Folder of the images: the local image store.")
    link_secret: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_hex(32)),
        description="Signs the local store's links. Default: new at each start; set it where several machines serve.",
    )
    link_seconds: Positive = Field(300, description="Lifetime of a signed image link, in seconds.")
    s3_bucket: str | None = Field(None, description="Bucket of the images: the S3 image store.")
    s3_prefix: str = Field("images/", description="Put before a logo's filename to make its key in the bucket.")
    s3_endpoint: str | None = Field(None, description="S3 endpoint to connect to. Default: AWS.")
    s3_public_endpoint: str | None = Field(
        None, description="Endpoint that signed links name, as clients reach it. Default: `LOGO_S3_ENDPOINT`."
    )
    s3_region: str | None = Field(
        None, description="Region that requests are signed for. Default: the usual AWS chain."
    )
    s3_access_key: SecretStr | None = Field(None, description="S3 access key id.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key.")

    catalog_url: str | None = Field(
        None, description="Place in a bucket, `s3://bucket/prefix`, whose published catalog this machine follows."
    )
    pull_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="How often it looks there for a new version, in seconds."
    )
    keep_versions: Positive = Field(
        2, description="Versions that stay on a machine that follows `LOGO_CATALOG_URL`; older ones are deleted."
    )
    trial_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="Time a catalog version has to be opened and searched before it may answer, in seconds."
    )
    catalog_public_key: str | None = Field(
        None,
        description="Public key in base64: versions that are not signed with its private key are refused. Default: none need be.",
    )
    catalog_signing_key: Path | None = Field(
        None, description="File of the private key by which `build` and `catalog publish` sign versions."
    )
    watch_seconds: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="How often each worker looks for another live catalog version and for changed keys, in seconds.",
    )
    max_upload_bytes: Positive = Field(10_000_000, description="Largest accepted request body, in bytes.")
    max_pixels: Positive = Field(25_000_000, description="Largest accepted image, width x height in pixels.")
    decode_memory: Annotated[int, Field(ge=16_000_000)] = Field(
        256_000_000, description="Memory that decoding one image may take, in bytes. `logo-similarity plan` counts it."
    )
    decode_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        1.5,
        description="CPU time that decoding one image may take, in seconds. A short file has half of it, one of "
        "`LOGO_MAX_UPLOAD_BYTES` all.",
    )
    max_queue: Positive = Field(128, description="Searches that may wait in one worker; more get 503 with Retry-After.")
    cache_hits: Annotated[int, Field(ge=0)] = Field(
        10_000,
        description="Hits of recent answers kept in each worker for when the same picture comes again, some 2 KB each; 0: none.",
    )
    queue_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Longest wait in the queue, in seconds; later a search is answered 503 instead of run."
    )
    search_seconds: Annotated[float, Field(gt=0)] = Field(
        20.0,
        description="Longest run of one search, in seconds; later it is answered 503, and its thread counts as stuck.",
    )
    max_connections: Positive = Field(
        512,
        description="Open connections of one worker; beyond them the one that has been idle for longest is closed, "
        "or the new one is refused.",
    )
    max_head_bytes: Annotated[int, Field(ge=1024)] = Field(
        65_536, description="Largest head of a request (request line and headers), in bytes."
    )
    max_headers: Positive = Field(100, description="Most headers of a request.")
    head_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Time a client has to send the head of a request, in seconds; for the first one, to begin it."
    )
    keep_alive_seconds: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Time that an idle connection stays open between two requests, in seconds."
    )
    write_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Longest time that an answer may wait for a client that does not read, in seconds."
    )
    max_inflight_bytes: Positive = Field(
        64_000_000,
        description="Bytes of request bodies that one worker holds at the same time; more get 503. One body of the "
        "largest accepted size always fits.",
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Time a client has to send its body, in seconds."
    )
    hang_seconds: Positive = Field(
        60, description="A worker that does not turn its event loop for so long is killed and replaced."
    )
    metrics_dir: Path | None = Field(
        None,
        description="Folder in which `serve` makes one of its own, where the workers share their metrics. "
        "Default: that of temporary files.",
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="At SIGTERM, time for which `/readyz` answers 503 while everything else is still served, in seconds: "
        "set it to what a balancer takes to notice.",
    )
    graceful_seconds: Positive = Field(
        30, description="Time that requests in flight have to finish once the port is closed, in seconds."
    )
    otlp_endpoint: HttpAddress | None = Field(
        None,
        description="OpenTelemetry collector that gets traces, as `http://collector:4318`. Needs the extra `otel`.",
    )
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="Share of the requests that are traced, of those whose caller did not decide it."
    )
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field("info", description="Log level.")
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = Field(
        "json", description="Log lines as JSON or for reading."
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(key.strip() for key in value.split(",") if key.strip())
        if not keys:
            raise ValueError("holds no key; leave it out to serve without keys")
        return keys

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        if value.strip() == "*":
            return "*"
        for proxy in value.split(","):
            try:
                ipaddress.ip_network(proxy.strip())
            except ValueError as error:
                raise ValueError(f"{error}; write addresses or networks, comma-separated, or *") from None
        return value

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        if self.images_dir is not None and self.s3_bucket is not None:
            raise ValueError("set LOGO_IMAGES_DIR (local image store) or LOGO_S3_BUCKET (S3), not both")
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("LOGO_S3_ACCESS_KEY and LOGO_S3_SECRET_KEY go together")
        return self

    @property
    def has_api_keys(self) -> bool:
        """Whether requests must carry a key."""
        return bool(self.api_keys) or self.api_keys_file is not None or self.keys is not None

    def check_exposure(self) -> None:
        """Raise ConfigError where the service would be open to a network without keys and nobody asked for that."""
        if not (self.has_api_keys or self.allow_anonymous or _is_loopback(self.host)):
            raise ConfigError(
                f"LOGO_HOST={self.host} is reachable from other machines and no API keys are set: set LOGO_KEYS, "
                "LOGO_API_KEYS or LOGO_API_KEYS_FILE, or LOGO_ALLOW_ANONYMOUS=true to serve anybody"
            )


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment, with `overrides` (those that are not None) before it.

    Raises:
        ConfigError: names every setting that is wrong, as it is spelled in the environment.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            name = f"LOGO_{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
            words = problem["msg"].removeprefix("Value error, ")
            if problem.get("ctx", {}).get("pattern") == HTTP_ADDRESS:
                words = "not an address; write http://host:port or https://host"
            lines.append(name + words)
        raise ConfigError("; ".join(lines)) from None


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """One message for each variable that begins with `LOGO_` and is not a setting, with the nearest setting's name."""
    known = [name.upper() for name in Settings.model_fields]
    messages = []
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX) or FOREIGN.match(name) or value.startswith(("tcp://", "udp://")):
            continue
        own = name.removeprefix(PREFIX)
        if own not in known:
            nearest = difflib.get_close_matches(own, known, 1)
            messages.append(f"{name} is not a setting" + (f"; did you mean {PREFIX}{nearest[0]}?" if nearest else ""))
    return messages


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
