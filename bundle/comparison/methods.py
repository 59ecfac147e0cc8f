"""The methods of the standard comparison: patch maps, and saliency of the same network with and without boxes."""

from collections.abc import Sequence

from bundle.comparison.observe import Method
from bundle.networks import PatchCLIP
from bundle.saliency.methods import PROBABILITIES

NAMES = {
    "grad_cam": "Grad-CAM",
    "rollout": "attention rollout",
    "relevance": "attention relevance",
    "cosine": "patch-text cosine",
    "value_cosine": "value-path cosine",
}
WITH_BOXES, WITHOUT_BOXES = "training boxes", "none"


def map_methods(
    patch_clip: PatchCLIP,
    image_labels_only: PatchCLIP | None,
    saliency: Sequence[str] = tuple(NAMES),
    score: str = "image",
) -> dict[str, Method]:
    """Patch-CLIP's maps, and each saliency method on both networks.

    Args:
        patch_clip: trained with patch losses.
        image_labels_only: the same network trained on image labels alone, without a box. Its image probability is the
            global score, because nothing taught its patches. None leaves it out.
        saliency: which, of `NAMES`.
        score: which of Patch-CLIP's scores is its image probability; the report's `primary`.

    Returns:
        Name -> method, Patch-CLIP first.

    Raises:
        ValueError: an unknown saliency method.
    """
    if unknown := sorted(set(saliency) - set(NAMES)):
        raise ValueError(f"methods: unknown saliency {unknown}; known are {list(NAMES)}.")
    methods = {"Patch-CLIP": Method(patch_clip, WITH_BOXES, score=score)}
    for network, ending, supervision, probability in (
        (patch_clip, "Patch-CLIP", WITH_BOXES, score),
        (image_labels_only, "trained without boxes", WITHOUT_BOXES, "global"),
    ):
        if network is None:
            continue
        for key in saliency:
            scalings = ("none" if key in PROBABILITIES else "raw", "probability", "calibrated")
            methods[f"{NAMES[key]}, {ending}"] = Method(network, supervision, key, scalings, probability)
    return methods
