"""Which patches the sparse head looks at."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

NegativePatches = Literal["matched", "paper"]


class Selection(NamedTuple):
    """A padded set of patches for each image and finding.

    Attributes:
        patch: (B, K, n) patch numbers, 0 where padded.
        valid: (B, K, n) bool.
        sizes: how many are valid in each of the B·K sets, image by image; None where the sets are to stay together, as
            a trace needs them.
    """

    patch: torch.Tensor
    valid: torch.Tensor
    sizes: Sequence[int] | None = None


def of_like_size(sizes: Sequence[int]) -> list[tuple[list[int], int]]:
    """Sets to go through the sparse head together, and the size to which these are padded: its largest set's.

    That is less than twice the size of any of them, or at most 16, below which a pass of its own costs more. So the
    head's cost follows what is selected, not the batch's largest box.

    Args:
        sizes: of N sets.

    Returns:
        Numbers of sets, 0..N-1, ascending, each in one group; smaller groups first.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for number, size in enumerate(sizes):
        groups[max(4, (size - 1).bit_length())].append(number)
    return [(numbers, max(1, *(sizes[n] for n in numbers))) for _, numbers in sorted(groups.items())]


class PatchSelection(nn.Module):
    """Selects, for each image and finding, the patches that the sparse head sees.

    In training, positives (a patch mask with any patch) select the boxed patches. Negatives select, by
    `negative_patches`:

    - "matched" (ours): as many patches as positives of that finding do on average (a running mean, kept with the
      weights), the highest-scoring ones, so that neither the size of the set nor its being empty gives the answer away;
    - "paper": nothing but patch 0.

    In evaluation all select the patches whose probability of the finding is above `threshold`, possibly none.

    Args:
        num_findings: K.
        negative_patches: see above.
        threshold: probability above which a patch is selected in evaluation.
        max_patches: cap on the size of a set (the highest-scoring stay); None for none.
        momentum: of the running mean.

    Raises:
        ValueError: `negative_patches` is neither.
    """

    running_size: torch.Tensor

    def __init__(
        self,
        num_findings: int,
        negative_patches: NegativePatches = "matched",
        threshold: float = 0.5,
        max_patches: int | None = None,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if negative_patches not in ("matched", "paper"):
            raise ValueError(f"negative_patches is '{negative_patches}'; give 'matched' or 'paper'.")
        self.negative_patches, self.threshold = negative_patches, threshold
        self.max_patches, self.momentum = max_patches, momentum
        self.register_buffer("running_size", torch.zeros(num_findings))  # 0: no positive seen yet

    @torch.no_grad()
    def forward(self, probability: torch.Tensor, patch_mask: torch.Tensor | None) -> Selection:
        """Patch probabilities (B, K, P), and in training the patch mask (B, K, P) bool -> Selection."""
        num_patches = probability.shape[-1]
        if patch_mask is None:
            wanted = probability > self.threshold
            count = wanted.sum(-1)
        else:
            wanted = patch_mask.clone()
            boxed = patch_mask.sum(-1)  # (B, K)
            self._follow(boxed)
            if self.negative_patches == "matched":
                negative = self.running_size.round().clamp(1, num_patches).long().expand_as(boxed)
            else:
                wanted[..., 0] |= boxed == 0
                negative = torch.ones_like(boxed)
            count = torch.where(boxed > 0, boxed, negative)
        if self.max_patches is not None:
            count = count.clamp(max=self.max_patches)
        sizes = count.flatten().tolist()  # the one thing that the host waits for
        size = max(1, *sizes)
        index = (probability + 2 * wanted).topk(size, dim=-1).indices  # wanted first, each part by probability
        valid = torch.arange(size, device=index.device) < count[..., None]
        return Selection(index.masked_fill(~valid, 0), valid, sizes)

    def _follow(self, boxed: torch.Tensor) -> None:
        """Keep the mean size of the positives' sets, finding by finding."""
        positives = (boxed > 0).sum(0)  # (K,)
        mean = boxed.sum(0) / positives.clamp(min=1)
        moved = torch.where(self.running_size > 0, self.running_size.lerp(mean, 1 - self.momentum), mean)
        self.running_size.copy_(torch.where(positives > 0, moved, self.running_size))
