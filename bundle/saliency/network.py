"""A saliency method in the place of the network's own patch maps."""

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from bundle.networks import PatchCLIP
from bundle.saliency.methods import METHODS, PROBABILITIES
from bundle.saliency.scaling import scale_by_constant, scale_by_probability

Scaling = Literal["raw", "probability", "none"]


class SaliencyNetwork(nn.Module):
    """PatchCLIP with its maps replaced by a saliency method's, for the same evaluators, candidates and metrics.

    The network is held, not copied: weights are loaded into it, before or after.

    Args:
        network: whose maps to draw; its image scores stay.
        method: a name of `bundle.saliency.METHODS`.
        scaling: how maps become 0..1, with the functions of `bundle.saliency.scaling`: "raw" divides by `scale`,
            "probability" multiplies the min-max-normalised map by the image's probability (the configured image
            score), "none" leaves maps that are probabilities already ("cosine", "value_cosine").
        scale: with "raw", a number for all findings or a list of one each; from the validation section.
        options: the method's own, such as `block` of Grad-CAM.

    Raises:
        ValueError: an unknown method, scaling or option; a scale that is missing, not wanted, not positive, or not one
            a finding; maps that would not be 0..1.
    """

    scale: torch.Tensor | None

    def __init__(
        self,
        network: PatchCLIP,
        method: str,
        scaling: Scaling,
        scale: float | Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ValueError(f"Saliency method '{method}' is unknown; give one of {', '.join(METHODS)}.")
        known = list(inspect.signature(METHODS[method]).parameters)[2:]  # after network and image
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"Saliency method '{method}' has no options {unknown}; it has {known}.")
        if scaling not in ("raw", "probability", "none"):
            raise ValueError(f"Saliency scaling '{scaling}' is unknown; give 'raw', 'probability' or 'none'.")
        if scaling == "none" and method not in PROBABILITIES:
            raise ValueError(
                f"Scaling 'none' is for maps that are probabilities ({', '.join(sorted(PROBABILITIES))}), which those "
                f"of '{method}' are not. Give 'raw' with a scale, or 'probability'; unscaled maps are "
                f"METHODS['{method}'](network, image)."
            )
        self.network, self.method, self.scaling, self.options = network, method, scaling, options
        self.findings, self.grid = network.findings, network.clip.vision.grid
        # configuration, not weights
        self.register_buffer("scale", self._checked(scale), persistent=False)

    def _checked(self, scale: float | Sequence[float] | None) -> torch.Tensor | None:
        if (scale is None) == (self.scaling == "raw"):
            wanted = "needs a scale, from the validation section" if scale is None else f"takes no scale, found {scale}"
            raise ValueError(f"Saliency scaling '{self.scaling}' {wanted}.")
        if scale is None:
            return None
        values = torch.as_tensor(scale, dtype=torch.float32).reshape(-1)
        if len(values) not in (1, len(self.findings)) or not (values.isfinite() & (values > 0)).all():
            raise ValueError(
                f"scale is {scale}; give a number above 0, or {len(self.findings)} of them, one for each of "
                f"{self.findings}."
            )
        return values

    def forward(self, image: torch.Tensor, full: bool = False) -> torch.Tensor | dict[str, Any]:
        """Look at radiographs.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            full: return the image scores too.

        Returns:
            The maps, float32 (B, K, Gh, Gw), 0..1, in the grid frame. With `full`, a dict: `pred`, the maps, and
            `scores`, the network's own (B, K) probabilities as `PatchCLIP.forward` lists them.
        """
        maps = METHODS[self.method](self.network, image, **self.options)
        scores: dict[str, torch.Tensor] = {}
        if full or self.scaling == "probability":
            scores = self.network(image, full=True)["scores"]
        if self.scale is not None:
            maps = scale_by_constant(maps, self.scale)
        elif self.scaling == "probability":
            maps = scale_by_probability(maps, scores["image"].detach())
        return {"pred": maps, "scores": scores} if full else maps
