"""Names of Vienna codes and Nice classes: short ones in our own words, and the official Vienna list if it is configured."""

from logo_similarity.classification.names import (
    Classification,
    Classifications,
    Language,
    load_classifications,
)

__all__ = ["Classification", "Classifications", "Language", "load_classifications"]
