"""Whether an exported network says what the network says."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from bundle.export.exportable import OUTPUTS

TOLERANCE = 1e-4
BATCHES = (1, 3, 8)

Runner = Callable[[torch.Tensor], Sequence[torch.Tensor]]


class DisagreementError(ValueError):
    """An export differs from the network; the message says where and by how much."""


def largest_differences(
    network: nn.Module, exported: Runner, canvas: int, batches: Sequence[int] = BATCHES, seed: int = 0
) -> dict[str, float]:
    """Run both on the same images, in float32, and compare.

    The images are random: smooth fields from black to white, so that scores spread over their range.

    Args:
        network: a (B, 1, canvas, canvas) -> outputs module, as it was before the export.
        exported: the same, of the exported file.
        canvas: side in pixels.
        batches: batch sizes to try.
        seed: of the images.

    Returns:
        The largest absolute difference of each output, over all batches.

    Raises:
        DisagreementError: a difference above `TOLERANCE`, a number that is not finite in one alone, or another shape.
    """
    generator = torch.Generator().manual_seed(seed)
    largest = dict.fromkeys(OUTPUTS, 0.0)
    for batch in batches:
        coarse = torch.rand(batch, 1, 12, 12, generator=generator)
        image = nn.functional.interpolate(coarse, (canvas, canvas), mode="bicubic", align_corners=False).clamp(0, 1)
        with torch.inference_mode():
            wanted = network(image)
        for name, one, other in zip(OUTPUTS, wanted, exported(image), strict=True):
            if one.shape != other.shape:
                raise DisagreementError(
                    f"{name} of a batch of {batch}: the export gives {tuple(other.shape)}, the network "
                    f"{tuple(one.shape)}. A size that depends on the batch was frozen in the export."
                )
            absent = one.isnan() & other.isnan()  # a score in both
            difference = float((one - other).masked_fill(absent, 0).abs().max())
            if not difference <= TOLERANCE:  # NaN in one, too
                raise DisagreementError(
                    f"{name} of a batch of {batch} differs by {difference:.1e} from the network's; at most "
                    f"{TOLERANCE:.0e} is allowed. The export was not kept."
                )
            largest[name] = max(largest[name], difference)
    return largest
