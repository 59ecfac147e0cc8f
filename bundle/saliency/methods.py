"""The saliency methods by name."""

from collections.abc import Callable

import torch

from bundle.saliency.cosine import cosine_maps, value_cosine_maps
from bundle.saliency.grad_cam import grad_cam_maps
from bundle.saliency.relevance import relevance_maps
from bundle.saliency.rollout import rollout_maps

METHODS: dict[str, Callable[..., torch.Tensor]] = {
    "grad_cam": grad_cam_maps,
    "rollout": rollout_maps,
    "relevance": relevance_maps,
    "cosine": cosine_maps,
    "value_cosine": value_cosine_maps,
}
"""name -> function(network, image, **options) -> (B, K, Gh, Gw) float32, not negative."""

PROBABILITIES = frozenset({"cosine", "value_cosine"})
"""Those whose maps are probabilities as they are."""
