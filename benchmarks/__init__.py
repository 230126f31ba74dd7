"""Each figure in the README has its script here; `python -m benchmarks.run` runs them all."""
