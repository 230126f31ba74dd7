"""The weight of the patch agreement in a score, fitted on the training set."""

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
"""A difference in mean average precision below this does not matter."""
GROUPS, OTHERS = 1_000, 10_000
"""Number of groups whose images are queries, and of other images in the gallery."""


def fit_weight(network: LogoNetwork, data: TrainingSet, side: int, seed: int = 0) -> float:
    """The largest weight of the agreement whose mean average precision is within `NEAR` of the best, 0 to 0.8.

    The largest, because the embedding has memorised the training images and the agreement has not: on new images the
    agreement is worth more. Only images of groups of one subject are queries; if no such group has several images,
    the weight is 0.

    Args:
        network: the trained network.
        data: the training set.
        side: width and height of the images in pixels.
        seed: of the choice of images.
    """
    random = np.random.default_rng(seed)
    groups_of_several = [rows for rows in data.members() if len(rows) > 1 and len(np.unique(data.subjects[rows])) == 1]
    if not groups_of_several:
        return 0.0
    query_groups = [groups_of_several[number] for number in random.permutation(len(groups_of_several))[:GROUPS]]
    rows = np.unique(np.concatenate([*query_groups, random.permutation(len(data))[:OTHERS]]))
    dimension = network.head.out_features

    def embedding_and_patches(images: torch.Tensor) -> torch.Tensor:
        embeddings, patches = network(images)
        inked = torch.from_numpy(inked_cells(images.cpu().numpy(), input_spec(side), network.grid)).to(patches.device)
        return torch.cat((embeddings, (patches * inked[..., None]).flatten(1)), dim=1)

    outputs = compute_files(network.eval(), embedding_and_patches, [data.files[row] for row in rows], side)
    embeddings = normalise(outputs[:, :dimension], "the network")
    patches = quantize_patches(outputs[:, dimension:].reshape(len(rows), network.grid**2, -1))
    groups, families = data.groups[rows], data.families[rows]
    queries = []
    for position in np.flatnonzero(np.isin(groups, [data.groups[members[0]] for members in query_groups])):
        same_group = np.flatnonzero(groups == groups[position])
        related = np.flatnonzero((families == families[position]) & (groups != groups[position]))
        queries.append(LabelledQuery(int(position), same_group[same_group != position], related))

    def precision(weight: float) -> float:
        figures = mean_figures(rank_all(queries, Features(embeddings, patches, weight)))
        return 0.0 if figures is None else figures.mean_average_precision

    precisions = {weight: precision(weight) for weight in WEIGHTS}
    return max(weight for weight, value in precisions.items() if value >= max(precisions.values()) - NEAR)
