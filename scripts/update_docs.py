#!/usr/bin/env python3
"""Regenerate the parts of docs/ that come from code and measurements: API responses, errors, commands, settings, sizes.

logo-similarity build samples/marks.jsonl --images samples --out catalogs  # once: the responses come from this catalog
python -m benchmarks.sizing                       # to measure the sizes again
python -m benchmarks.score_meaning                # to measure the scores again
python -m benchmarks.words                        # to measure the search for words again; so part_cost, filters, page_speed
python -m scripts.update_docs
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import typer
from fastapi.testclient import TestClient

from logo_similarity.api.app import create_app
from logo_similarity.cli import app
from logo_similarity.config import Settings, load_settings
from logo_similarity.fields import FIELDS
from logo_similarity.keys.document import KeyDocument, Role
from logo_similarity.keys.store import KeyStore, open_key_store
from logo_similarity.plan import DEFAULT_MODEL_BYTES, MEGABYTE, ServicePlan, plan_service
from scripts.measured import (
    capacity,
    chance_hits,
    cold,
    filter_cost,
    growth,
    live_changes,
    metadata_stores,
    million,
    milvus_search,
    page_speed,
    part_cost,
    peers,
    ray_scaling,
    read_ahead,
    usual,
)
from scripts.update_readme import RESULTS, ROOT, processor, replaced, shorten, wrap

DOCS = ROOT / "docs"
PACKAGE = ROOT / "logo_similarity"
SENTENCE = re.compile(r"\.(?=\s|$)")
SAMPLES = ROOT / "samples"
QUERY = next((SAMPLES / "images").glob("075d1f55*.jpg"))
LOGO = QUERY.stem
ANOTHER_BRAND = "the best hit of another brand"
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """The service that the examples come from."""

    client: TestClient
    search: str
    """A key with the role search."""
    admin: str
    """A key with the role admin."""
    poor: str
    """A key with a quota of one request per day."""
    hasty: str
    """A key with a rate of one request per hour."""

    def ask(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx2.Response:  # noqa: ANN401 - passed on
        """The response to one request."""
        headers = {"X-API-Key": self.search if key is None else key, **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, follow_redirects=False, **more)

    def change(
        self,
        method: str,
        logo_id: str,
        record: dict[str, str] | None = None,
        **more: Any,  # noqa: ANN401 - passed on
    ) -> httpx2.Response:
        """The response to a change of a logo."""
        if method in ("POST", "PUT"):
            more |= {"files": {"image": QUERY.read_bytes()}, "data": {"record": json.dumps(record)}}
        elif record is not None:
            more["json"] = record
        path = "/v1/logos" if method == "POST" else f"/v1/logos/{logo_id}"
        return self.ask(method, path, key=self.admin, **more)

    def find(self, image: bytes, path: str = "/v1/search?top_k=1", **more: Any) -> httpx2.Response:  # noqa: ANN401 - passed on
        """The response to a search."""
        return self.ask("POST", path, files={"file": image}, **more)


@contextmanager
def serving(*, changed: bool = False, **settings: object) -> Iterator[Service]:
    """A service on the sample catalog and images, with four keys; on a copy of the catalog if it is `changed`."""
    with tempfile.TemporaryDirectory() as folder:
        catalogs, images = ROOT / "catalogs", SAMPLES
        if changed:
            catalogs, images = Path(folder, "catalogs"), Path(folder, "images")
            shutil.copytree(ROOT / "catalogs", catalogs)
            images.mkdir()
        own: dict[str, object] = {
            "catalogs": catalogs, "images_dir": images, "keys": f"{folder}/keys.json", "usage_db": f"{folder}/usage.db",
            "watches_dir": f"{folder}/watches", "log_level": "error", **settings,
        }  # fmt: skip
        given = load_settings(**own)
        store = open_key_store(given)
        keys = (
            _key(store, "team-a", "search"),
            _key(store, "operations", "admin"),
            _key(store, "team-b", "search", quota=1),
            _key(store, "team-c", "search", rate="1/hour"),
        )
        with TestClient(create_app(given), base_url="http://127.0.0.1:8000") as client:
            yield Service(client, *keys)


def _key(store: KeyStore, name: str, role: Role, rate: str | None = None, quota: int | None = None) -> str:
    import datetime as dt

    def change(document: KeyDocument) -> tuple[KeyDocument, str]:
        now = dt.datetime.now(dt.UTC)
        changed, _, secret = document.created(
            name, role=role, expires=None, rate=rate, quota=quota, by="root@host", now=now
        )
        return changed, secret

    return store.change(change)


def answers() -> str:
    """One example of each request, as a curl command, with its response."""
    with serving() as service:
        examples = [
            ("-F file=@query.jpg 'http://127.0.0.1:8000/v1/search?top_k=2&min_score=0.5'",
             service.find(QUERY.read_bytes(), "/v1/search?top_k=2&min_score=0.5")),
            (f"http://127.0.0.1:8000/v1/logos/{LOGO}", service.ask("GET", f"/v1/logos/{LOGO}")),
            (f"-i http://127.0.0.1:8000/v1/image/{LOGO}", service.ask("GET", f"/v1/image/{LOGO}")),
            ("http://127.0.0.1:8000/v1/keys", service.ask("GET", "/v1/keys", key=service.admin)),
            ("http://127.0.0.1:8000/readyz", service.ask("GET", "/readyz")),
        ]  # fmt: skip
    return "\n\n".join(f'    curl -H "X-API-Key: $KEY" {command}\n\n{_shown(answer)}' for command, answer in examples)


def _shown(answer: httpx2.Response) -> str:
    if answer.status_code == 307:
        return f"```\n307\nLocation: {shorten(answer.headers['Location'])}\n```"
    text = json.dumps(shorten(answer.json()), indent=2, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    return f"```json\n{text}\n```"


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A request that provokes one error, and what its sender should do."""

    code: str
    provoke: Callable[[Service], httpx2.Response]
    what_to_do: str
    changed: bool = False
    """Whether the catalog is changed by it."""
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)


def _twice(ask: Callable[[], httpx2.Response]) -> httpx2.Response:
    ask()
    return ask()


def _png_that_claims(side: int, depth: int, colour: int) -> bytes:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def _stalled(service: Service) -> httpx2.Response:
    """The response to a body of which only the beginning arrives."""
    import asyncio

    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0 if not messages and not begun else 60)
        begun.append(True)
        return {"type": "http.request", "body": b"--x\r\n", "more_body": True}

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI
        messages.append(message)

    begun: list[bool] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/search",
        "raw_path": b"/v1/search", "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 1), "root_path": "",
        "headers": [(b"x-api-key", service.search.encode()), (b"content-type", b"multipart/form-data; boundary=x")],
    }  # fmt: skip
    assert service.client.portal is not None
    service.client.portal.call(service.client.app, scope, receive, send)
    return httpx2.Response(messages[0]["status"], content=messages[1]["body"])


def _while_full(service: Service) -> httpx2.Response:
    gate = service.client.app.state.runtime.gate  # type: ignore[attr-defined]
    for _ in range(1000):
        gate.reserve()
    return service.find(QUERY.read_bytes())


def _while_stopping(service: Service) -> httpx2.Response:
    gate = service.client.app.state.runtime.gate  # type: ignore[attr-defined]
    gate.close()
    return service.ask("GET", "/readyz")


def _older_than_what_is_known(service: Service) -> httpx2.Response:
    service.change("PUT", LOGO, {"transaction_date": "2026-02-01"})
    return service.change("DELETE", LOGO, params={"transaction_date": "2026-01-01"})


def _same_key_for_two_requests(service: Service) -> httpx2.Response:
    headers = {"Idempotency-Key": "0b5f"}
    service.change("PATCH", LOGO, {"text": "Example"}, headers=headers)
    return service.change("PATCH", LOGO, {"text": "Another"}, headers=headers)


CASES = (
    Case(
        "malformed_request",
        lambda s: s.ask("POST", "/v1/search", content=b"no form", headers=FORM),
        "send multipart/form-data with the image in the field `file`",
    ),
    Case(
        "unauthorized",
        lambda s: s.ask("GET", f"/v1/logos/{LOGO}", key="lsk_wrong"),
        "send exactly one valid key: known, not revoked, not expired",
    ),
    Case("forbidden", lambda s: s.ask("GET", "/v1/keys"), "use a key with the role `admin`"),
    Case(
        "link_refused",
        lambda s: s.ask("GET", "/v1/files/altered/logo.jpg"),
        "request the logo again; every response has fresh links",
    ),
    Case(
        "not_found",
        lambda s: s.ask("GET", "/v1/logos/nobody"),
        "check the id; `catalog.version` names the catalog that answered",
    ),
    Case(
        "catalog_changed",
        lambda s: s.ask("GET", "/v1/logos?cursor=1@20260101T000000Z-00000000"),
        "start again without a cursor",
    ),
    Case(
        "watches_spent",
        lambda s: _twice(lambda: s.ask("POST", "/v1/watches", data={"name": "Our mark", "words": "example"})),
        "delete a watch; the limit is `LOGO_MOST_WATCHES`",
    ),
    Case(
        "logo_exists",
        lambda s: s.change("POST", LOGO, {"logo_id": LOGO}),
        "change the logo with `PATCH`, or replace it with `PUT`",
        changed=True,
    ),
    Case(
        "superseded",
        _older_than_what_is_known,
        "nothing: a [later change](live.md#dates) of the logo is known",
        changed=True,
    ),
    Case(
        "not_writable",
        lambda s: s.change("POST", "new", {"logo_id": "new"}),
        "send changes to a service that [accepts them](live.md#what-it-needs); `detail` says what to do",
        changed=True,
        settings={"images_dir": None},
    ),
    Case(
        "method_not_allowed",
        lambda s: s.ask("DELETE", "/v1/search", key=s.admin),
        "use a method from the `Allow` header",
    ),
    Case("body_too_slow", _stalled, "send the whole body within `LOGO_BODY_SECONDS`"),
    Case(
        "body_too_large",
        lambda s: s.find(bytes(26_000_000)),
        "send a smaller file; the limit is `LOGO_MAX_UPLOAD_BYTES`",
    ),
    Case(
        "image_too_large",
        lambda s: s.find(_png_that_claims(20_000, 8, 0)),
        "send a smaller image, for example 512 x 512 pixels; the limit is `LOGO_MAX_PIXELS`",
    ),
    Case(
        "image_too_complex",
        lambda s: s.find(_png_that_claims(5_000, 16, 6)),
        "send a smaller image, or a plain JPEG or PNG; the limits are `LOGO_DECODE_MEMORY` and `LOGO_DECODE_SECONDS`",
    ),
    Case(
        "image_format_unsupported",
        lambda s: s.find(b"8BPS\0\1"),
        "convert the image to one of the accepted formats",
    ),
    Case(
        "media_type_unsupported",
        lambda s: s.ask("POST", "/v1/search", content=b"x", headers={"Content-Type": "image/png"}),
        "send a multipart form, not the bare bytes of the image",
    ),
    Case("image_undecodable", lambda s: s.find(QUERY.read_bytes()[:200]), "the file is damaged; save the image again"),
    Case("image_too_small", lambda s: s.find(_tiny_bmp()), "send a larger image"),
    Case(
        "invalid_request",
        lambda s: s.find(QUERY.read_bytes(), "/v1/search?top_k=0"),
        "correct what `detail` names; `errors` lists invalid fields one by one",
    ),
    Case(
        "idempotency_key_reused",
        _same_key_for_two_requests,
        "use an `Idempotency-Key` for one request only",
        changed=True,
    ),
    Case(
        "rate_limited",
        lambda s: _twice(lambda: s.ask("GET", f"/v1/logos/{LOGO}", key=s.hasty)),
        "wait `Retry-After` seconds",
    ),
    Case(
        "quota_spent",
        lambda s: _twice(lambda: s.ask("GET", f"/v1/logos/{LOGO}", key=s.poor)),
        "wait `Retry-After` seconds (until 00:00 UTC), or request a larger quota",
    ),
    Case("overloaded", _while_full, "retry after `Retry-After` seconds; if it persists, add workers or replicas"),
    Case("not_ready", _while_stopping, "use another replica; this one is starting or stopping"),
)


def _tiny_bmp() -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".bmp", np.zeros((2, 2, 3), np.uint8))[1])


def errors() -> str:
    """Every error that a client can get, with the message of a real response."""
    lines = ["| status | code | example | what to do |", "| --- | --- | --- | --- |"]
    for case in CASES:
        with serving(changed=case.changed, body_seconds=0.1, most_watches=1, **case.settings) as service:
            answer = case.provoke(service)
        problem = answer.json()
        if problem["code"] != case.code:
            raise ValueError(f"expected the error {case.code!r}, got {problem}")
        words = (problem.get("detail") or problem["title"]).replace("|", "\\|")
        lines.append(f"| {problem['status']} | `{case.code}` | {words} | {case.what_to_do} |")
    return "\n".join(lines)


def case_schema() -> str:
    """The JSON Schema of a case."""
    from logo_similarity.reports.case import Case as RecordedCase

    return json.dumps(RecordedCase.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def settings_table() -> str:
    """Every setting with its default and description."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        value = None if field.default_factory is not None else field.default
        default = "" if value in (None, ()) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
        lines.append(f"| `LOGO_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def fields_table() -> str:
    """Every field of a register: its name in tables and in JSON, its type and an example in JSON, and its description."""
    lines = ["| field | JSON | example | |", "| --- | --- | --- | --- |"]
    for field in FIELDS:
        example = json.dumps(field.kind.to_json(field.example))
        lines.append(f"| `{field.name}` | {field.kind.json_form} | `{example}` | {field.description} |")
    return "\n".join(lines)


def commands() -> str:
    """Every command with its arguments and options, with the text of `--help`."""
    found = dict(_leaves(typer.main.get_command(app), "logo-similarity"))
    return "\n\n".join(_described(name, command) for name, command in found.items())


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's own classes
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from _leaves(one, f"{name} {word}")


def _described(name: str, command: Any) -> str:  # noqa: ANN401 - typer's own classes
    parameters = [one for one in command.params if one.name != "help"]
    arguments = [_shown_name(one) for one in parameters if one.param_type_name == "argument"]
    description = wrap(" ".join(command.help.split()))
    lines = [f"### `{' '.join([name, *arguments])}`", "", description]
    rows = []
    for one in parameters:
        names = _shown_name(one) if one.param_type_name == "argument" else ", ".join([*one.opts, *one.secondary_opts])
        default = (
            one.default if isinstance(one.default, int | float | str) and not isinstance(one.default, bool) else ""
        )
        shown = f" Default: {default}." if default != "" and "efault" not in (one.help or "") else ""
        rows.append(f"| `{names}` | {(one.help or '').replace('|', chr(92) + '|')}{shown} |")
    if rows:
        lines += ["", "| | |", "| --- | --- |", *rows]
    return "\n".join(lines)


def _shown_name(argument: Any) -> str:  # noqa: ANN401 - typer's own class
    return str(argument.metavar or argument.name.upper())


def sizes() -> str:
    """Disk, memory and speed of catalogs of several sizes."""
    result = json.loads((RESULTS / "sizing.json").read_text())
    rate = json.loads((RESULTS / "encode_rate.json").read_text())["figures"]
    machine = result["machine"]
    lines = [
        "| logos | disk | memory, 1 worker | memory, 4 workers | limit, 4 workers | searches per second, one core |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["figures"]["sizes"]:
        plans = {workers: planned(row, int(workers)) for workers in ("1", "4")}
        used = row.get("memory_mb") or {workers: plan.total / MEGABYTE for workers, plan in plans.items()}
        about = "" if "memory_mb" in row else "about "
        searches = row.get("searches_a_second_on_one_core", "")
        lines.append(
            f"| {row['logos']:,} | {about}{row['disk_mb'] / 1000:.2f} GB | {about}{used['1'] / 1000:.2f} GB "
            f"| {about}{used['4'] / 1000:.2f} GB | {plans['4'].limit / 1e9:.2f} GB | {searches} |"
        )
    images = rate["stage_images_per_second"]
    note = (
        f"Measured with `python -m benchmarks.sizing` on {machine['usable_cores']} cores of an {processor(machine)} "
        f'at commit {machine["commit"]}. Rows with "about", and the limits, are estimates of '
        f"`logo-similarity plan` from {result['figures']['bytes_a_logo']:,} bytes per logo. Memory is the sum over all "
        f"workers. Searches are those of one worker with one thread. On this machine a build reads and embeds about "
        f"{images:,.0f} images per second with their parts (`python -m benchmarks.encode_rate`), and then builds the index."
    )
    return "\n".join([*lines, "", wrap(note)])


def planned(row: dict[str, Any], workers: int) -> ServicePlan:
    """What `logo-similarity plan` reports for a catalog of this size, with one thread per worker."""
    settings = load_settings(workers=workers, threads=1)
    return plan_service(round(row["disk_mb"] * MEGABYTE), DEFAULT_MODEL_BYTES, workers, settings)


def scores() -> str:
    """The scores of right and wrong hits, re-ranked and by cosine, in galleries of two sizes."""
    result = json.loads((RESULTS / "score_meaning.json").read_text())
    figures, machine = result["figures"], result["machine"]
    small, large = sorted(figures["galleries"], key=int)
    parts = []
    for kind, title in (("score", "`score`, re-ranked"), ("cosine", "`cosine`, which is `score` with `rerank=false`")):
        whole = figures["galleries"][large][kind]
        medians = [figures["galleries"][size][kind]["quantiles"][ANOTHER_BRAND][2] for size in (small, large)]
        parts.append(
            f"### {title}\n\n{quantiles(whole)}\n\nIn a gallery of {int(small):,} logos, the median of the best hit of "
            f"another brand is {medians[0]:.2f} instead of {medians[1]:.2f}.\n\n{thresholds(whole)}"
        )
    source = (
        f"Measured with `python -m benchmarks.score_meaning` in a gallery of {int(large):,} logos "
        f"([the benchmark](evaluation.md#the-benchmark)): encoder {figures['encoder']}, {whole['queries']:,} queries on which "
        f"it was not trained, `top_k={figures['top_k']}`, on an {processor(machine)} "
        f"at commit {machine['commit']}. Other processors may round differently."
    )
    return "\n\n".join([wrap(source), *parts])


def quantiles(gallery: dict[str, Any]) -> str:
    """The distribution of the scores of each kind of hit."""
    lines = ["| hit | 5% | 25% | median | 75% | 95% |", "| --- | --- | --- | --- | --- | --- |"]
    for hit, values in gallery["quantiles"].items():
        cells = ["not found" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| {hit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def thresholds(gallery: dict[str, Any]) -> str:
    """The hits that each `min_score` keeps."""
    lines = [
        (
            "| `min_score` | keeps of the same drawing, saved again | of the same drawing, changed "
            "| of other drawings of the brand | hits of other brands per search | searches without such hits |"
        ),
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for threshold, row in gallery["thresholds"].items():
        shares = [f"{row[name]:.0%}" for name in ("saved_again_kept", "changed_kept", "drawings_kept")]
        without = f"{row['queries_without_another_brand']:.0%}"
        lines.append(f"| {threshold} | {' | '.join(shares)} | {row['other_brands_a_query']:.2f} | {without} |")
    return "\n".join(lines)


def word_figures() -> str:
    """The figures of the search for words: pairs that sound alike, and an image with words."""
    result = json.loads((RESULTS / "words.json").read_text())
    figures, machine = result["figures"], result["machine"]
    source = (
        f"Measured with `python -m benchmarks.words` in a synthetic register of {figures['logos']:,} logos, on an "
        f"{processor(machine)} at commit {machine['commit']}: a search takes {figures['p50_ms']:.0f} ms of CPU time in the "
        f"median and {figures['p99_ms']:.0f} ms in 99 of 100 cases; the index has {figures['megabytes']:.0f} MB."
    )
    names = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "unseen": "not used to write the rules"}
    pairs = [
        "| pairs that sound alike | number | the other is first | among the first ten |",
        "| --- | --- | --- | --- |",
    ]
    pairs += [
        f"| {names.get(group, group)} | {row['pairs']} | {row['r_at_1']:.0%} | {row['r_at_10']:.0%} |"
        for group, row in figures["sounds_alike"].items()
        if group in names or group == "all"
    ]
    recall = ["| logos | found |", "| --- | --- |"]
    recall += [f"| {floor} | {row['found']:.1%} |" for floor, row in figures["recall"].items()]
    weights = figures["fusion"]["r_at_10_by_weight"]
    kinds = list(next(iter(weights.values())))
    fusion = [f"| `word_weight` | {' | '.join(kinds)} |", f"| --- |{' --- |' * len(kinds)}"]
    fusion += [f"| {weight} | {' | '.join(f'{row[kind]:.2f}' for kind in kinds)} |" for weight, row in weights.items()]
    parts = [
        "### Measured",
        wrap(source),
        "\n".join(pairs),
        wrap("Of the 100 most similar logos, by a comparison with every logo, a search finds:"),
        "\n".join(recall),
        wrap(
            f"An image and words, in {figures['fusion']['logos']:,} sample logos of which a third have no text: the share of "
            "the right logos among the first ten. The kinds of queries: `benchmarks/words.py`."
        ),
        "\n".join(fusion),
    ]
    return "\n\n".join(parts)


def write(name: str, **contents: str) -> None:
    """Replace the marked parts of one document."""
    path = DOCS / name
    text = path.read_text()
    for mark, content in contents.items():
        text = replaced(text, mark, content)
    path.write_text(text)


def module_map() -> str:
    """Every module of the package with the first sentence of its docstring."""
    lines = ["| module | contents |", "| --- | --- |"]
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent != PACKAGE, path.parent, path.stem)):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf8"))) or ""
        sentence = SENTENCE.split(docstring.split("\n\n")[0])[0].replace("\n", " ").rstrip(".").replace("|", "\\|")
        name = path.relative_to(PACKAGE).as_posix()
        row = f"**`{path.parent.name}/`**" if path.stem == "__init__" else f"`{name}`"
        lines.append(f"| {row} | {sentence} |")
    return "\n".join(lines)


def layers() -> str:
    """The layers of the package, as the import linter enforces them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    lines = ["| layer | packages and modules |", "| --- | --- |"]
    for number, layer in zip(range(len(layered), 0, -1), layered, strict=True):
        names = [f"`{name.strip().removeprefix('logo_similarity.')}`" for name in re.split("[:|]", layer)]
        lines.append(f"| {number} | {', '.join(names)} |")
    return "\n".join(lines)


def main() -> None:
    """Replace the marked parts of all documents."""
    write("architecture.md", layers=layers(), modules=module_map())
    write("reference.md", settings=settings_table(), commands=commands())
    write("ingest.md", fields=fields_table(), ray=ray_scaling())
    write("cluster.md", metadata=metadata_stores(), milvus=milvus_search())
    write("operate.md", sizes=sizes(), capacity=capacity())
    write("api.md", answers=answers(), errors=errors())
    (DOCS / "case.schema.json").write_text(case_schema())
    write("search.md", scores=scores(), words=word_figures())
    write(
        "performance.md",
        parts=part_cost(),
        filters=filter_cost(),
        page=page_speed(),
        live=live_changes(),
        cold=cold(),
        orders=read_ahead(),
        scale=growth(),
        usual=usual(),
        peers=peers(),
    )
    write("evaluation.md", chance=chance_hits())
    write("registers.md", million=million())


if __name__ == "__main__":
    main()
