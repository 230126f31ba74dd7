"""The loss functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def contrastive_loss(embeddings: Tensor, groups: Tensor, families: Tensor, temperature: float) -> Tensor:
    """InfoNCE with several positives (Khosla et al., arXiv 2004.11362); positives do not compete with each other.

    Args:
        embeddings: (n, d) float, any length.
        groups: (n,) int; images of one group are positives.
        families: (n,) int; images of different families are negatives; other pairs do not count.
        temperature: of the softmax.

    Returns:
        A scalar.
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
    """The same loss over the candidates of a re-ranking: the nearest images of each query, by cosine plus agreement.

    The cosine gets no gradient, so that the patches learn what the embedding does not capture.

    Args:
        embeddings: (n, d) float, any length; rows 2i and 2i + 1 are a pair: a query and an answer.
        patches: (n, cells, c) float, shorter than 1.
        groups: as for `contrastive_loss`.
        families: as for `contrastive_loss`.
        temperature: as for `contrastive_loss`.
        nearness: (cells, cells) float, see `search.score.nearness`.
        candidates: number of candidates per query; the query's answer is always one of them.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        unit = functional.normalize(embeddings, dim=1)
        cosines = unit[::2] @ unit[1::2].T
        answers_first = cosines + 2 * torch.eye(len(cosines), device=cosines.device)
        near = answers_first.topk(min(candidates, len(cosines))).indices
    logits = (cosines.gather(1, near) + agreement(patches[::2], patches[1::2][near], nearness)) / temperature
    near_groups, near_families = groups[1::2][near], families[1::2][near]
    return _info_nce(logits, groups[::2, None] == near_groups, families[::2, None] != near_families)


def distillation_loss(embeddings: Tensor, taught: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """How far the similarities within a batch are from those that a teacher sees (Fang et al., arXiv 2101.04731).

    Args:
        embeddings: (n, d) float, any length.
        taught: (n, e) float, unit length: the teacher's embeddings of the images that the views were made from.
        rows: (n,) int; two views of one image do not count: to the teacher, they are the same.
        temperature: of the softmax, for both.

    Returns:
        A scalar: the mean over the views of the Kullback-Leibler divergence between the softmax over the other views by
        the teacher and by the embeddings.
    """
    unit = functional.normalize(embeddings, dim=1)
    same = rows[:, None] == rows[None]
    known, expected = ((one @ one.T / temperature).masked_fill(same, -1e4).log_softmax(dim=1) for one in (unit, taught))
    return functional.kl_div(known, expected, reduction="batchmean", log_target=True)


def agreement(queries: Tensor, candidates: Tensor, nearness: Tensor) -> Tensor:
    """`search.score.agreement` in torch: queries (n, cells, c) and candidates (n, m, cells, c) to (n, m)."""
    products = torch.einsum("nic,nmjc->nmij", queries, candidates) * nearness
    weights, candidate_weights = queries.square().sum(dim=2)[:, None], candidates.square().sum(dim=3)
    forward = torch.minimum(products.amax(dim=3).clamp(min=0), weights).sum(dim=2) / weights.sum(dim=2)
    backward = torch.minimum(products.amax(dim=2).clamp(min=0), candidate_weights).sum(dim=2)
    backward = backward / candidate_weights.sum(dim=2)
    return (forward + backward) / 2


def _info_nce(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over the positives of -log softmax, each positive against the negatives of its row."""
    others = logits.masked_fill(~negative, -torch.inf).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(logits, others) - logits
    return (losses * positive).sum() / positive.sum()
