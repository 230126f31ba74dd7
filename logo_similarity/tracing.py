"""Traces of requests, sent to an OpenTelemetry collector. Needs the extra `otel`, and only where LOGO_OTLP_ENDPOINT is set.

FastAPI makes the span of a request; here are where it goes to, and the stages inside a search's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import trace

from logo_similarity.errors import ConfigError
from logo_similarity.version import __version__

EXPORT_SECONDS = 5
"""A collector has so long to take what it is sent; what it does not take is dropped."""
NANOSECONDS = 1_000_000


class Tracing:
    """Where spans go to."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            endpoint: of a collector that speaks OTLP over HTTP: "http://collector:4318".
            ratio: share of the traces that begin here that are kept, 0 to 1. One that a caller began is kept where the caller
                keeps it.

        Raises:
            ConfigError: the libraries are not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError:
            raise ConfigError("LOGO_OTLP_ENDPOINT needs OpenTelemetry: pip install '.[otel]' in its source") from None
        self._endpoint = f"{endpoint.rstrip('/')}/v1/traces"
        self.provider = TracerProvider(
            resource=Resource.create({"service.name": "logo-similarity", "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            shutdown_on_exit=False,
        )
        self._tracer = self.provider.get_tracer("logo_similarity")

    def start(self) -> None:
        """Begin to export. In the process that serves: the exporting thread does not survive a fork."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(self._endpoint, timeout=EXPORT_SECONDS)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))

    def add_stages(self, milliseconds: Mapping[str, float]) -> None:
        """Put the stages of a search, which ended just now, inside the current span, one after the other."""
        begin = time.time_ns() - int(sum(milliseconds.values()) * NANOSECONDS)
        for stage, took in milliseconds.items():
            span = self._tracer.start_span(stage, start_time=begin)
            begin += int(took * NANOSECONDS)
            span.end(begin)

    def close(self) -> None:
        """Send what is left, as far as the collector takes it: a stop does not wait for one that says nothing."""
        ending = threading.Thread(target=self.provider.shutdown, daemon=True)
        ending.start()
        ending.join(EXPORT_SECONDS)


def current_trace() -> str | None:
    """Hex id of the trace that the current request belongs to, for the log; None where it is not traced."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
