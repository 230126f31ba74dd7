"""The open trademark-image search engine: a picture in, the most similar registered logos out."""

__version__ = "0.1.0"
