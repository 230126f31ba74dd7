"""Catalogs: immutable, versioned folders with everything that a search needs; publication and verification."""
