"""Reports of searches: the case that records one, a repetition of it, and its PDF, CSV and JSON."""
