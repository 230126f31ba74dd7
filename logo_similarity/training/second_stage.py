"""The weight of the patch agreement in a score, fitted on the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from logo_similarity.description import Description
from logo_similarity.embed.describe import Floats, Patches, quantize_patches
from logo_similarity.evaluation.evaluate import rank_all
from logo_similarity.evaluation.features import Features, normalise
from logo_similarity.evaluation.ranking import LabelledQuery, mean_figures, rank_query
from logo_similarity.image.preprocess import inked_cells
from logo_similarity.search.candidates import Ids
from logo_similarity.training.trainer import compute_files, input_spec

if TYPE_CHECKING:
    from logo_similarity.training.dataset import TrainingSet
    from logo_similarity.training.network import LogoNetwork

WEIGHTS = tuple(number / 20 for number in range(0, 17, 2))
NEAR = 0.002
"""A difference in mean average precision below this does not matter."""
TURNED = 0.2
"""Share of searches that are for turned marks: an assumption, since they are rarer than others."""
GROUPS, OTHERS = 1_000, 10_000
"""Number of groups whose images are queries, and of other images in the gallery."""


def fit_weight(network: LogoNetwork, data: TrainingSet, side: int, seed: int = 0) -> float:
    """The largest weight of the agreement whose mean average precision is within `NEAR` of the best, 0 to 0.8.

    The largest, because the embedding has memorised the training images and the agreement has not: on new images the
    agreement is worth more. The agreement depends on where a cell is, so too large a weight loses marks that are turned:
    each query is also searched for turned by 90 degrees, which counts as `TURNED` of all searches. Only images of groups
    of one subject are queries; if no such group has several images, the weight is 0.

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

    def describe(compute: Callable[[torch.Tensor], torch.Tensor], chosen: Ids) -> tuple[Floats, Patches]:
        outputs = compute_files(network.eval(), compute, [data.files[row] for row in chosen], side)
        return (
            normalise(outputs[:, :dimension], "the network"),
            quantize_patches(outputs[:, dimension:].reshape(len(chosen), network.grid**2, -1)),
        )

    embeddings, patches = describe(embedding_and_patches, rows)
    groups, families = data.groups[rows], data.families[rows]
    queries = []
    for position in np.flatnonzero(np.isin(groups, [data.groups[members[0]] for members in query_groups])):
        same_group = np.flatnonzero(groups == groups[position])
        related = np.flatnonzero((families == families[position]) & (groups != groups[position]))
        queries.append(LabelledQuery(int(position), same_group[same_group != position], related))
    turned = describe(
        lambda images: embedding_and_patches(torch.rot90(images, 1, (2, 3))), rows[[query.row for query in queries]]
    )

    def precision(weight: float) -> float:
        features = Features(embeddings, patches, weight)
        upright = rank_all(queries, features)
        found = [
            rank_query(
                replace(query, relevant=np.append(query.relevant, query.row)), features.scores(Description(*one))
            )
            for query, *one in zip(queries, *turned, strict=True)
        ]
        figures = [mean_figures(results) for results in (upright, found)]
        precisions = [0.0 if one is None else one.mean_average_precision for one in figures]
        return (1 - TURNED) * precisions[0] + TURNED * precisions[1]

    precisions = {weight: precision(weight) for weight in WEIGHTS}
    return max(weight for weight, value in precisions.items() if value >= max(precisions.values()) - NEAR)
