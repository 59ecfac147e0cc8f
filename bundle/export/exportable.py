"""The network as a plain function of an image batch, in a form that can be traced for any batch size."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bundle.networks.image_score import SCORES
from bundle.networks.selection import PatchSelection, Selection

INPUT, OUTPUTS = "image", ("pred", "image_score", "scores")
SCORE_NAMES = (*SCORES, "image")  # of `scores`, in this order


class FixedSizeSelection(nn.Module):
    """`PatchSelection` in evaluation, with sets of one size whatever the image.

    `PatchSelection` pads its sets to the largest one of the batch, a size that depends on the data and that a trace
    would freeze. Here they are padded to `max_patches`, or to all P patches where there is no such cap. Padding is
    masked in the sparse head, so the scores are the same, to rounding.

    Args:
        selection: the one to stand in for.
    """

    def __init__(self, selection: PatchSelection) -> None:
        super().__init__()
        self.threshold, self.max_patches = selection.threshold, selection.max_patches

    def forward(self, probability: torch.Tensor, patch_mask: torch.Tensor | None = None) -> Selection:
        """Patch probabilities (B, K, P) -> Selection with n = `max_patches` or P."""
        size = probability.shape[-1] if self.max_patches is None else min(self.max_patches, probability.shape[-1])
        wanted = probability > self.threshold
        index = (probability + 2 * wanted).topk(size, dim=-1).indices
        valid = torch.arange(size, device=index.device) < wanted.sum(-1, keepdim=True).clamp(max=size)
        return Selection(index.masked_fill(~valid, 0), valid)


class Exportable(nn.Module):
    """A network of this bundle as a function of an image batch (B, 1, Hc, Wc).

    It gives probabilities, as `PatchCLIP.forward` has them: `pred` (B, K, Gh, Gw), the patch maps; `image_score`
    (B, K), the configured image score; and `scores` (B, S, K), all of `SCORE_NAMES`, NaN where one is absent. The
    network is changed: its selection becomes a `FixedSizeSelection`.

    Args:
        network: a `PatchCLIP` without text tower, in eval mode.

    Raises:
        TypeError: a network that has no patch selection, such as a detector.
        ValueError: a network with a text tower, or in training mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        selection = getattr(network, "selection", None)
        if not isinstance(selection, PatchSelection):
            raise TypeError(f"{type(network).__name__} cannot be exported: wanted a PatchCLIP or a subclass of it.")
        if network.clip.text is not None or network.training:  # type: ignore[union-attr]
            raise ValueError(
                "The network to export must have no text tower (`text: null` in clip) and be in eval mode."
            )
        network.selection = FixedSizeSelection(selection)
        self.network = network
        self.eval()

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, 1, Hc, Wc) float, 0..1 -> (B, K, Gh, Gw), (B, K) and (B, S, K), float32."""
        output = self.network(image, full=True)
        scores = torch.stack([output["scores"][name] for name in SCORE_NAMES], 1)
        return output["pred"], output["scores"]["image"], scores


@contextmanager
def tracing() -> Iterator[None]:
    """To trace a network in: without gradients, without what a trace cannot hold, and without the tracers' warnings.

    They warn of deprecated names in each other and of checks in Python, such as of an image's size, whose outcome a
    trace freezes. Whether that was right, `largest_differences` shows, with other batches and images.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # torch's fused transformer layer, which ONNX does not know
    try:
        with warnings.catch_warnings(), torch.no_grad():
            for category in (FutureWarning, DeprecationWarning, torch.jit.TracerWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
