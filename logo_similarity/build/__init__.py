"""Building a catalog version from a source, in stages that can be resumed."""
