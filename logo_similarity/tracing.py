"""Traces of requests, sent to an OpenTelemetry collector. Needs the extra `otel`, and only where LOGO_OTLP_ENDPOINT is set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from logo_similarity import __version__
from logo_similarity.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

EXPORT_SECONDS = 5
"""A collector has so long to take what it is sent; what it does not take is dropped."""
NANOSECONDS = 1_000_000


class Tracing:
    """Makes one span for a request, and one inside it for each stage of its search."""

    def __init__(self, exporter: SpanExporter, ratio: float) -> None:
        """Begin to export. Call it in the process that serves: the exporting thread does not survive a fork.

        Args:
            exporter: takes the finished spans.
            ratio: of the traces that begin here, 0 to 1. One that a caller began is kept where the caller keeps it.
        """
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "logo-similarity", "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(ratio)),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("logo_similarity")

    def record(
        self,
        headers: Mapping[str, str],
        *,
        seconds: float,
        method: str,
        route: str,
        status: int,
        request_id: str,
        stages: Mapping[str, float],
    ) -> None:
        """Keep a request that has just ended.

        Args:
            headers: its `traceparent` and `tracestate`, where the caller sent them.
            seconds: how long it took.
            method: of HTTP.
            route: the template of its path.
            status: of the answer.
            request_id: as it is in the log.
            stages: milliseconds of each stage of its search, in their order; they ended with the request.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        end = time.time_ns()
        span = self._tracer.start_span(
            f"{method} {route}",
            TraceContextTextMapPropagator().extract(headers),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "logo.request_id": request_id,
            },
            start_time=end - int(seconds * 1000 * NANOSECONDS),
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(span)
        begin = end - int(sum(stages.values()) * NANOSECONDS)
        for stage, milliseconds in stages.items():
            child = self._tracer.start_span(stage, inside, start_time=begin)
            begin += int(milliseconds * NANOSECONDS)
            child.end(begin)
        span.end(end)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_tracing(endpoint: str, ratio: float) -> Tracing:
    """Traces to the collector at `endpoint`, by OTLP over HTTP.

    Raises:
        ConfigError: the libraries are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigError("LOGO_OTLP_ENDPOINT: needs OpenTelemetry: pip install 'logo-similarity[otel]'") from None
    return Tracing(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS), ratio)
