"""Catalogs: immutable, versioned folders with everything that a search needs, and how they are made."""
