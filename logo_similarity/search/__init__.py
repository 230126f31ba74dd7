"""The vector index and the search pipeline; usable without HTTP."""
