"""Milvus: a server that holds the vectors of a catalog, instead of mapped files."""
