"""Traces as a collector gets them."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from logo_similarity import tracing
from logo_similarity.errors import ConfigError
from tests.samples import SampleCatalog
from tests.service import KEY, Server, serving, until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextmanager
def collecting() -> Iterator[tuple[str, list[Span]]]:
    """A collector: its address, and the spans that it has got."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()
            thread.join()


def search(server: Server, catalog: SampleCatalog, **headers: str) -> httpx2.Response:
    picture = (catalog.images / catalog.files[0]).read_bytes()
    return server.post("/v1/search", files={"file": picture}, headers={"X-API-Key": KEY, **headers})


def test_a_search_is_a_span_with_its_stages_inside(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with collecting() as (endpoint, spans):
        with serving(sample_catalog, tmp_path, LOGO_OTLP_ENDPOINT=endpoint, LOGO_WORKERS="1") as server:
            answer = search(server, sample_catalog, traceparent=f"00-{TRACE}-{PARENT}-01")
            assert server.get("/v1/logos/x").status_code == 401
            assert httpx2.get(answer.json()["results"][0]["image_url"]).status_code == 200
        # The service has ended, and has sent what it had.
        (one,) = (span for span in spans if span.name == "POST /v1/search")
        stages = [span for span in spans if span.parent_span_id == one.span_id]
    assert (one.trace_id.hex(), one.parent_span_id.hex(), one.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    said = {attribute.key: attribute.value for attribute in one.attributes}
    assert said["http.response.status_code"].int_value == 200
    assert said["http.route"].string_value == "/v1/search"
    took = answer.json()["timings_ms"]
    assert [span.name for span in sorted(stages, key=lambda span: span.start_time_unix_nano)] == list(took)
    for span in stages:
        assert abs((span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 - took[span.name]) < 0.01
        assert one.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= one.end_time_unix_nano
    (refused,) = (span for span in spans if span.name == "GET")
    assert not [span for span in spans if span.parent_span_id == refused.span_id]
    assert len(spans) == 2 + len(stages), "a probe or the way of a picture was traced"
    told = [line for line in server.log.read_text().splitlines() if answer.headers["X-Request-ID"] in line]
    assert any(f'"trace_id": "{TRACE}"' in line for line in told)
    assert KEY not in str(spans)


def test_what_a_caller_does_not_keep_is_not_sent(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with collecting() as (endpoint, spans):
        with serving(sample_catalog, tmp_path, LOGO_OTLP_ENDPOINT=endpoint, LOGO_TRACE_RATIO="0") as server:
            assert search(server, sample_catalog).status_code == 200
            assert search(server, sample_catalog, traceparent=f"00-{TRACE}-{PARENT}-00").status_code == 200
            assert search(server, sample_catalog, traceparent="nonsense").status_code == 200
        assert spans == []


def test_a_collector_that_is_away_costs_no_request(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with serving(sample_catalog, tmp_path, LOGO_OTLP_ENDPOINT="http://127.0.0.1:9") as server:
        assert {search(server, sample_catalog).status_code for _ in range(20)} == {200}
        server.process.terminate()
        until(lambda: server.process.poll() == 0)


def test_a_collector_that_says_nothing_delays_no_stop(sample_catalog: SampleCatalog, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        port = silent.getsockname()[1]
        with serving(sample_catalog, tmp_path, LOGO_OTLP_ENDPOINT=f"http://127.0.0.1:{port}") as server:
            for _ in range(700):  # more than one batch
                assert server.get("/v1/logos/x").status_code == 401
            server.process.terminate()
            assert server.process.wait(15) == 0


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"\.\[otel\]"):
        tracing.Tracing("http://127.0.0.1:4318", 1.0)
