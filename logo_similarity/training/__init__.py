"""Contrastive training of an encoder. Needs the extra `train`; only this package imports torch."""
