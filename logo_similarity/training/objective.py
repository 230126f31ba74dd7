"""The loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def contrastive_loss(embeddings: Tensor, groups: Tensor, families: Tensor, temperature: float) -> Tensor:
    """InfoNCE with several positives (Khosla et al., arXiv 2004.11362, positives not competing with each other).

    Args:
        embeddings: (n, d), any length.
        groups: (n,); pictures of one group are positives.
        families: (n,); pictures of two families are negatives; the rest is left out.
        temperature: of the softmax.
    """
    unit = functional.normalize(embeddings, dim=1)
    logits = unit @ unit.T / temperature
    itself = torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    positive = (groups[:, None] == groups[None]) & ~itself
    negative = families[:, None] != families[None]
    others = logits.masked_fill(~negative, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(logits, others) - logits
    return (losses * positive).sum() / positive.sum()
