"""The precision in which a catalog stores embeddings."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """How the embeddings of an index are stored, and those of the parts."""

    FLOAT32 = "float32"
    """As the encoder computes them."""
    FLOAT16 = "float16"
    """Rounded, in half of the space. Cosines differ by up to 1e-4. Patches, too, take half of the space."""
    INT8 = "int8"
    """Rounded as for `FLOAT16`, in a file of their own, from which a search reads only those of its candidates. The graph
    is searched with codes of 8 bits for each dimension."""

    @property
    def number_bytes(self) -> int:
        """Bytes of each number of an embedding in the index."""
        return {Precision.FLOAT32: 4, Precision.FLOAT16: 2, Precision.INT8: 1}[self]

    @property
    def patch_bits(self) -> int:
        """Bits of each number of a patch."""
        return 8 if self is Precision.FLOAT32 else 4
