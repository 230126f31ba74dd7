"""Settings of the service and the command line: the only reader of the environment."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from logo_similarity.errors import ConfigError
from logo_similarity.wording import allowed_values

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "LOGO_"
# Variables of the tests, and those that Kubernetes and Docker set in every container for a service named `logo...`.
FOREIGN = re.compile(r"LOGO_TEST_|LOGO_(.*_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP|SCTP))")

RENAMED = {"LOGO_WATCH_SECONDS": "LOGO_POLL_SECONDS"}
"""The former names of settings. One that is set is an error: ignoring it would change what the service does."""


def _check_http_address(value: str) -> str:
    if not re.match(r"https?://[^/\s?#]+", value):
        raise ValueError(f"{value!r} is not an HTTP address; write http://host:port or https://host")
    return value


def _check_bucket_url(value: str) -> str:
    if not re.match(r"s3://[^/\s?#]+/+[^/?#][^?#]*$", value):
        raise ValueError(f"{value!r} is not a location in a bucket; write s3://bucket/prefix")
    return value


def _check_file_or_bucket_url(value: str) -> str:
    return _check_bucket_url(value) if "://" in value else value


def _check_usage_url(value: SecretStr) -> SecretStr:
    pattern = r"(redis|valkey)s?://([^\s/?#@]*@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/\d*)?(\?\S*)?"
    if not re.fullmatch(pattern, value.get_secret_value()):  # the message must not repeat the password
        raise ValueError(
            "is not the address of a Redis or Valkey server; write redis://user:password@host:6379/0, or rediss:// for "
            "TLS, and percent-encode special characters in the password"
        )
    return value


Positive = Annotated[int, Field(ge=1)]
HttpAddress = Annotated[str, AfterValidator(_check_http_address)]
BucketUrl = Annotated[str, AfterValidator(_check_bucket_url)]
IndexKind = Literal["hnsw", "hnsw-sq8", "ivf-sq8", "diskann"]
FileOrBucketUrl = Annotated[str, AfterValidator(_check_file_or_bucket_url)]
UsageUrl = Annotated[SecretStr, AfterValidator(_check_usage_url)]


class Settings(BaseSettings):
    """Every setting, read from `LOGO_<NAME>` in the environment. Create it with `load_settings`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    catalogs: Path = Field(Path("catalogs"), description="Folder of the catalog versions.")
    host: str = Field(
        "127.0.0.1", description="Address to listen on. An address that is not loopback requires API keys."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8000, description="Port to listen on.")
    workers: Positive | None = Field(
        None, description="Number of worker processes. Default: derived from the usable cores."
    )
    threads: Positive | None = Field(None, description="Search threads of each worker. Default: cores / workers.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Device of the encoder: auto (CUDA if it loads, else the CPU), cpu, or cuda (an error otherwise).",
    )
    public_url: HttpAddress | None = Field(
        None, description="Base URL of links to this service in its answers. Default: derived from each request."
    )

    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` headers are trusted: IP addresses or "
        "networks, comma-separated, or `*`.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field((), description="Accepted API keys, comma-separated.")
    api_keys_file: Path | None = Field(
        None, description="File of accepted API keys: one `name:sha256-hex` a line; `#` starts a comment."
    )
    keys: FileOrBucketUrl | None = Field(
        None,
        description="API keys that `logo-similarity keys` manages: a file, or `s3://bucket/prefix` to share them.",
    )
    usage_db: Path | None = Field(
        None,
        description="File of the request counts for rate limits and quotas. Default: `.usage.db` in `LOGO_CATALOGS`.",
    )
    usage_url: UsageUrl | None = Field(
        None,
        description="Redis or Valkey server that counts for all replicas, as `redis://user:password@host:6379/0`; "
        "`rediss://` for TLS. Needs the extra `redis`. Default: each machine counts for itself.",
    )
    allow_anonymous: bool = Field(default=False, description="Allow an address that is not loopback without API keys.")

    images_dir: Path | None = Field(None, description="Folder of the local image store.")
    link_secret: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_hex(32)),
        description="Secret that signs the links of the local image store. Default: random at each start; set it if "
        "several machines serve.",
    )
    link_seconds: Positive = Field(300, description="Lifetime of a signed image link, in seconds.")
    s3_bucket: str | None = Field(None, description="Bucket of the S3 image store.")
    s3_prefix: str = Field(
        "images/", description="Prefix of the keys in the bucket; the file name of a logo follows it."
    )
    s3_endpoint: str | None = Field(None, description="S3 endpoint. Default: AWS.")
    s3_public_endpoint: str | None = Field(
        None, description="S3 endpoint in signed links, as clients reach it. Default: `LOGO_S3_ENDPOINT`."
    )
    s3_region: str | None = Field(None, description="S3 region. Default: as for other AWS clients.")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key id.")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key.")

    vienna_names: Path | None = Field(
        None,
        description="File of the official Vienna list, as WIPO publishes it in XML. Default: short names of the categories.",
    )
    fonts_dir: Path | None = Field(
        None, description="Folder of further fonts for PDF reports, besides those of the system."
    )

    index_url: HttpAddress | None = Field(
        None,
        description="Milvus server with the vectors of catalogs that are built with `--index milvus`, `http://host:19530` "
        "or `https://host:19530`.",
    )
    index_token: SecretStr | None = Field(
        None, description="Token of the Milvus server, `user:password` or an API key. Default: none."
    )
    index_database: str = Field("default", description="Database of the Milvus server.")
    index_ca: Path | None = Field(
        None,
        description="File of the certificates that the Milvus server's is verified with. Default: those of gRPC.",
    )
    index_kind: IndexKind = Field(
        "hnsw",
        description="Index of new collections: hnsw, hnsw-sq8 (Milvus 2.6 or newer), ivf-sq8, or diskann.",
    )
    index_shards: Positive = Field(1, description="Shards of new collections.")
    index_replicas: Positive = Field(
        1, description="Copies of a collection in the memory of different query nodes of the Milvus server."
    )
    index_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="Time limit for a request to the Milvus server and its repetitions, in seconds."
    )
    catalog_url: BucketUrl | None = Field(
        None, description="Location of the published catalog that this machine follows, `s3://bucket/prefix`."
    )
    pull_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="Interval between checks for a new published version, in seconds."
    )
    pull_changes_seconds: Annotated[float, Field(gt=0)] = Field(
        2.0, description="Interval between checks for new published changes of logos, in seconds."
    )
    publish_url: BucketUrl | None = Field(
        None,
        description="Location where this service publishes its live version and changes of logos, `s3://bucket/prefix`.",
    )
    keep_versions: Positive = Field(
        2, description="Versions to keep on a machine that follows `LOGO_CATALOG_URL`; older versions are deleted."
    )
    trial_seconds: Annotated[float, Field(gt=0)] = Field(
        120.0, description="Time limit for the test of a new catalog version before it becomes live, in seconds."
    )
    catalog_public_key: str | None = Field(
        None,
        description="Public key in base64. Versions without a valid signature are refused. Default: none is needed.",
    )
    catalog_signing_key: Path | None = Field(
        None, description="File of the private key with which `build` and `catalog publish` sign versions."
    )
    primary_url: HttpAddress | None = Field(
        None,
        description="Address of the service that accepts changes of logos, for the answers of one that does not.",
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Interval at which each worker checks for a new live version and changed keys, in seconds.",
    )
    watches_dir: Path | None = Field(
        None, description="Folder of the watches and their alerts. Default: `.watches` in `LOGO_CATALOGS`."
    )
    most_watches: Positive = Field(
        20, description="Maximum number of watches of a key with the role search, and of a service without keys."
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts to which alerts of watches may be sent, comma-separated, with a port unless it is the usual one: "
        "`hooks.example.com,10.0.0.5:8443`. Default: none.",
    )
    webhook_http: bool = Field(default=False, description="Allow webhooks without TLS (`http://`).")
    webhook_private: bool = Field(
        default=False, description="Allow webhooks at private, loopback and link-local addresses."
    )
    record_url: HttpAddress | None = Field(
        None,
        description="Address of a logo's record at its office, with `{id}` and `{office}`, for links in the page. "
        "Default: no links.",
    )
    max_upload_bytes: Positive = Field(25_000_000, description="Maximum size of a request body, in bytes.")
    max_pixels: Positive = Field(25_000_000, description="Maximum size of an image, width x height in pixels.")
    decode_memory: Annotated[int, Field(ge=16_000_000)] = Field(
        256_000_000, description="Memory limit for decoding one image, in bytes. `logo-similarity plan` includes it."
    )
    decode_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        1.5,
        description="CPU time limit for decoding one image of `LOGO_MAX_UPLOAD_BYTES`, in seconds. It falls with the "
        "file size, to half for the smallest files.",
    )
    max_queue: Positive = Field(
        64,
        description="Maximum queued searches of a worker; more are answered 503 with Retry-After. With more places, those "
        "that are admitted wait longer under overload.",
    )
    cache_hits: Annotated[int, Field(ge=0)] = Field(
        10_000,
        description="Hits that each worker caches for repeated queries with the same image, about 2 KB each; 0: none.",
    )
    queue_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Maximum time of a search in the queue, in seconds; then it is answered 503."
    )
    search_seconds: Annotated[float, Field(gt=0)] = Field(
        20.0,
        description="Maximum duration of a search, in seconds; then it is answered 503 and its thread counts as stuck.",
    )
    max_connections: Positive = Field(
        512,
        description="Maximum open connections of a worker. Beyond it, the connection that has been idle longest is "
        "closed, or else the new one is refused.",
    )
    max_head_bytes: Annotated[int, Field(ge=1024)] = Field(
        65_536, description="Maximum size of a request line and its headers, in bytes."
    )
    max_headers: Positive = Field(100, description="Maximum number of headers of a request.")
    head_seconds: Annotated[float, Field(gt=0)] = Field(
        10.0,
        description="Time limit for receiving the request line and headers, in seconds; on a new connection, for the "
        "first byte.",
    )
    keep_alive_seconds: Annotated[float, Field(gt=0)] = Field(
        15.0, description="Time for which an idle connection stays open between requests, in seconds."
    )
    write_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Time limit for a client to accept data of an answer, in seconds."
    )
    max_inflight_bytes: Positive = Field(
        64_000_000,
        description="Maximum total size of the request bodies in a worker, in bytes; more get 503. One body of "
        "`LOGO_MAX_UPLOAD_BYTES` always fits.",
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="Time limit for receiving a request body, in seconds."
    )
    hang_seconds: Positive = Field(
        60, description="Time after which a worker whose event loop is blocked is killed and replaced, in seconds."
    )
    metrics_dir: Path | None = Field(
        None,
        description="Folder for a temporary folder in which the workers share their metrics. Default: the system's.",
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="Time after SIGTERM for which `/readyz` answers 503 while requests are still served, in seconds. "
        "Set it to the time that the load balancer needs to notice.",
    )
    graceful_seconds: Positive = Field(
        30, description="Time limit for requests in progress after the port is closed, in seconds."
    )
    otlp_endpoint: HttpAddress | None = Field(
        None,
        description="OpenTelemetry collector for traces, as `http://collector:4318`. Needs the extra `otel`.",
    )
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="Share of requests to trace, unless the caller has decided it."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log lines: debug, info, warning or error."
    )
    log_format: Literal["json", "console"] = Field("json", description="Format of log lines: json or console.")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys = tuple(key.strip() for key in value.split(",") if key.strip())
        if not keys:
            raise ValueError("contains no key; unset it to disable authentication")
        return keys

    @field_validator("webhook_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = tuple(host.strip().lower() for host in value.split(",") if host.strip())
        for host in hosts:
            if not re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", host):
                raise ValueError(f"{host!r} is not a host; write names as hooks.example.com or hooks.example.com:8443")
        return hosts

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: str) -> str:
        if value.strip() == "*":
            return "*"
        for proxy in value.split(","):
            try:
                ipaddress.ip_network(proxy.strip())
            except ValueError as error:
                raise ValueError(f"{error}; write IP addresses or networks, comma-separated, or *") from None
        return value

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        if self.images_dir is not None and self.s3_bucket is not None:
            raise ValueError(
                "LOGO_IMAGES_DIR and LOGO_S3_BUCKET are both set; only one image store can be used, unset one"
            )
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("only one of LOGO_S3_ACCESS_KEY and LOGO_S3_SECRET_KEY is set; set both")
        if self.index_ca is not None and not (self.index_url or "").startswith("https://"):
            raise ValueError(
                "LOGO_INDEX_CA is set, but LOGO_INDEX_URL does not begin with https://; change it or unset this"
            )
        return self

    def index_settings(self) -> dict[str, str]:
        """Those of the Milvus server, with its token, as arguments of `load_settings` in another process."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name.startswith("index_")}
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in values.items()
            if value is not None
        }

    @property
    def has_api_keys(self) -> bool:
        """Whether requests need an API key."""
        return bool(self.api_keys) or self.api_keys_file is not None or self.keys is not None

    def for_s3(self) -> Settings:
        """The settings of the bucket alone: all that another machine needs to read it."""
        return Settings.model_construct(**{name: value for name, value in self if name.startswith("s3_")})

    def check_exposure(self) -> None:
        """Raise ConfigError if other machines could connect without API keys and that is not allowed explicitly."""
        if not (self.has_api_keys or self.allow_anonymous or is_loopback(self.host)):
            raise ConfigError(
                f"LOGO_HOST={self.host} is reachable from other machines and no API keys are set: set LOGO_KEYS, "
                "LOGO_API_KEYS or LOGO_API_KEYS_FILE, or LOGO_ALLOW_ANONYMOUS=true to disable authentication"
            )


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` that are not None take precedence.

    Raises:
        ConfigError: names every invalid setting as it is spelled in the environment.
    """
    if former := [name for name in RENAMED if os.environ.get(name)]:
        raise ConfigError("; ".join(f"{name} is now named {RENAMED[name]}; rename it" for name in former))
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, error.errors(include_url=False)))) from None


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """One message for each variable that begins with `LOGO_` and is not a setting, with the most similar name."""
    known = [name.upper() for name in Settings.model_fields]
    messages = []
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX) or FOREIGN.match(name) or value.startswith(("tcp://", "udp://")):
            continue
        own = name.removeprefix(PREFIX)
        if own not in known and name not in RENAMED:
            nearest = difflib.get_close_matches(own, known, 1)
            messages.append(f"{name} is not a setting" + (f"; did you mean {PREFIX}{nearest[0]}?" if nearest else ""))
    return messages


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _explain(problem: ErrorDetails) -> str:
    """The setting, its value, and which values are allowed; pydantic's own words name neither."""
    if problem["type"] == "value_error":  # from a validator of ours
        reason = problem["msg"].removeprefix("Value error, ")
    else:
        reason = f"{problem['input']!r} is not {_allowed_values(str(problem['loc'][0]))}"
    return f"{PREFIX}{str(problem['loc'][0]).upper()}: {reason}" if problem["loc"] else reason


def _allowed_values(name: str) -> str:
    """The values that the declaration of a setting allows."""
    schema: dict[str, Any] = Settings.model_json_schema()["properties"][name]
    return allowed_values(schema.get("anyOf", [schema])[0])  # "anyOf" a value and null
