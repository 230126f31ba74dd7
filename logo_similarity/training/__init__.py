"""Contrastive training of an encoder. Needs the extra `train`; nothing outside this package imports torch."""
