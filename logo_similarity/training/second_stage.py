"""How much the agreement of patches should count: fitted on what the encoder learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from logo_similarity.embed.describe import quantize_patches
from logo_similarity.evaluation.evaluate import rank_all
from logo_similarity.evaluation.features import Features, normalise
from logo_similarity.evaluation.ranking import LabelledQuery, mean_figures
from logo_similarity.image.preprocess import inked_cells
from logo_similarity.training.trainer import compute_files, input_spec

if TYPE_CHECKING:
    from logo_similarity.training.dataset import TrainingSet
    from logo_similarity.training.network import LogoNetwork

WEIGHTS = tuple(number / 20 for number in range(17))
NEAR = 0.002
"""Difference of mean average precision that is not worth a decision."""
GROUPS, OTHERS = 1_000, 10_000
"""Groups with several pictures that are asked for, and pictures beside them."""


def fit_weight(network: LogoNetwork, data: TrainingSet, side: int, seed: int = 0) -> float:
    """The greatest weight of the agreement whose mean average precision is near the best; 0 where there is nothing to fit it on.

    The greatest, since the embedding knows these very pictures by heart and the agreement does not: on new ones it is worth
    more than here. Only groups that are known to look alike are asked for.
    """
    random = np.random.default_rng(seed)
    several = [rows for rows in data.members() if len(rows) > 1 and data.trusted[rows[0]]]
    if not several:
        return 0.0
    chosen = [several[place] for place in random.permutation(len(several))[:GROUPS]]
    rows = np.unique(np.concatenate([*chosen, random.permutation(len(data))[:OTHERS]]))
    dimension = network.head.out_features

    def both(images: torch.Tensor) -> torch.Tensor:
        embeddings, patches = network(images)
        inked = torch.from_numpy(inked_cells(images.cpu().numpy(), input_spec(side), network.grid)).to(patches.device)
        return torch.cat((embeddings, (patches * inked[..., None]).flatten(1)), dim=1)

    described = compute_files(network.eval(), both, [data.files[row] for row in rows], side)
    embeddings = normalise(described[:, :dimension], "the network")
    patches = quantize_patches(described[:, dimension:].reshape(len(rows), network.grid**2, -1))
    groups, families = data.groups[rows], data.families[rows]
    queries = []
    for place in np.flatnonzero(np.isin(groups, [data.groups[members[0]] for members in chosen])):
        same = np.flatnonzero(groups == groups[place])
        related = np.flatnonzero((families == families[place]) & (groups != groups[place]))
        queries.append(LabelledQuery(int(place), same[same != place], related))

    def found(weight: float) -> float:
        mean = mean_figures(rank_all(queries, Features(embeddings, patches, weight)))
        return 0.0 if mean is None else mean.mean_average_precision

    figures = {weight: found(weight) for weight in WEIGHTS}
    return max(weight for weight, figure in figures.items() if figure >= max(figures.values()) - NEAR)
