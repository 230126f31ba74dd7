"""How well an encoder, an index and a re-ranking find what they should."""
