"""The scripts that measure each figure in the README and in docs/; `python -m benchmarks.run` runs most of them."""

import logo_similarity  # noqa: F401 - first: it disables the telemetry of the libraries imported after it
