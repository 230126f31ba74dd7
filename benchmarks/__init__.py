"""Each figure in the README has its script here; `python -m benchmarks.run` runs them all."""

import logo_similarity  # noqa: F401 - before any library: it turns their telemetry off
