"""The losses."""

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
    itself = torch.eye(len(groups), dtype=torch.bool, device=groups.device)
    positive = (groups[:, None] == groups[None]) & ~itself
    return _info_nce(unit @ unit.T / temperature, positive, families[:, None] != families[None])


def patch_loss(
    embeddings: Tensor,
    patches: Tensor,
    groups: Tensor,
    families: Tensor,
    temperature: float,
    nearness: Tensor,
    candidates: int = 32,
) -> Tensor:
    """The same loss over what a re-ranking sees: the nearest candidates of a query, scored by cosine and agreement.

    The cosine is not learned here: the patches learn what it does not tell.

    Args:
        embeddings: (n, d), any length; row 2i and row 2i + 1 are a pair, of which the first asks for the second.
        patches: (n, cells, c), shorter than 1.
        groups: as above.
        families: as above.
        temperature: as above.
        nearness: (cells, cells), see `search.score`.
        candidates: how many the first stage finds.
    """
    with torch.no_grad():
        unit = functional.normalize(embeddings, dim=1)
        cosines = unit[::2] @ unit[1::2].T
        near = (
            (cosines + 2 * torch.eye(len(cosines), device=cosines.device)).topk(min(candidates, len(cosines))).indices
        )
    logits = (cosines.gather(1, near) + agreement(patches[::2], patches[1::2][near], nearness)) / temperature
    found_groups, found_families = groups[1::2][near], families[1::2][near]
    return _info_nce(logits, groups[::2, None] == found_groups, families[::2, None] != found_families)


def agreement(queries: Tensor, candidates: Tensor, nearness: Tensor) -> Tensor:
    """`search.score.agreement` in torch: (n, cells, c) with (n, m, cells, c) to (n, m)."""
    alike = torch.einsum("nic,nmjc->nmij", queries, candidates) * nearness
    own, others = queries.square().sum(dim=2)[:, None], candidates.square().sum(dim=3)
    forward = torch.minimum(alike.amax(dim=3).clamp(min=0), own).sum(dim=2) / own.sum(dim=2)
    backward = torch.minimum(alike.amax(dim=2).clamp(min=0), others).sum(dim=2) / others.sum(dim=2)
    return (forward + backward) / 2


def _info_nce(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over the positives of -log softmax of each among itself and its row's negatives."""
    others = logits.masked_fill(~negative, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(logits, others) - logits
    return (losses * positive).sum() / positive.sum()
