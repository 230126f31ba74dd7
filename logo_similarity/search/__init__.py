"""The vector index, candidate sources and re-ranking."""
