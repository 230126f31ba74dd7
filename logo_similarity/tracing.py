"""Traces of requests, exported to an OpenTelemetry collector if LOGO_OTLP_ENDPOINT is set. Needs the extra `otel`.

The instrumentation of FastAPI creates the span of a request; this module exports it, and adds the stages of a search.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import trace

from logo_similarity.errors import ConfigError
from logo_similarity.version import __version__

EXPORT_SECONDS = 5
"""Timeout of an export, in seconds. Spans that the collector does not accept in time are dropped."""
NANOSECONDS = 1_000_000
"""Per millisecond."""


class Tracing:
    """Creates spans and exports them."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        """Configure tracing; nothing is exported before `start`.

        Args:
            endpoint: URL of a collector that accepts OTLP over HTTP, such as "http://collector:4318".
            ratio: share of the traces to sample, 0 to 1. If the caller started the trace, its decision counts instead.

        Raises:
            ConfigError: the OpenTelemetry libraries are not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError:
            raise ConfigError(
                "LOGO_OTLP_ENDPOINT needs OpenTelemetry: run pip install '.[otel]' in the source folder"
            ) from None
        self._endpoint = f"{endpoint.rstrip('/')}/v1/traces"
        self.provider = TracerProvider(
            resource=Resource.create({"service.name": "logo-similarity", "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            shutdown_on_exit=False,
        )
        self._tracer = self.provider.get_tracer("logo_similarity")

    def start(self) -> None:
        """Start exporting. Call it in the worker process: the export thread does not survive a fork."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(self._endpoint, timeout=EXPORT_SECONDS)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))

    def add_stages(self, milliseconds: Mapping[str, float]) -> None:
        """Add the stages of a search that has just ended to the current span, as consecutive child spans.

        Args:
            milliseconds: duration of each stage, in order.
        """
        time_ns = time.time_ns() - int(sum(milliseconds.values()) * NANOSECONDS)
        for stage, duration in milliseconds.items():
            span = self._tracer.start_span(stage, start_time=time_ns)
            time_ns += int(duration * NANOSECONDS)
            span.end(time_ns)

    def close(self) -> None:
        """Export the remaining spans, for at most `EXPORT_SECONDS`: an unresponsive collector must not delay a stop."""
        shutdown = threading.Thread(target=self.provider.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(EXPORT_SECONDS)


def current_trace() -> str | None:
    """Hex id of the current trace, for the log; None if the request is not traced."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
