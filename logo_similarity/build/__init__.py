"""Building a catalog version from a source, in stages that survive a kill."""
