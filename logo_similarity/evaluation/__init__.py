"""Measurement of retrieval quality: encoder, index and re-ranking against ground truth."""
