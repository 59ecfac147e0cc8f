"""Symmetric InfoNCE between the regions of radiographs and their captions."""

from collections.abc import Mapping

import torch
from torch import nn

from bundle.losses.info_nce import symmetric_info_nce


class RegionContrastiveLoss(nn.Module):
    """Each region must find its caption among the captions of the batch, and each caption its region.

    L_ROI = symmetric InfoNCE of r_i and t_i over the N valid, captioned regions of the batch, all images (and ranks,
    gathered with gradients) together; a region with an equal caption is left out, not punished as a negative
    (`bundle.losses.info_nce`). Fewer than two different captions give a finite zero.

    Source: the region term of Region-Aware MedCLIP, and of RegionMed-CLIP (arXiv 2508.05244v1).
    """

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compare regions with their captions.

        Args:
            output: `region_embedding`, `caption_embedding` (B, R, D), unit length, and `logit_scale`.
            target: `region_valid` (B, R) bool, False where an image has no further region; `caption_id` (B, R) int64,
                equal where the captions are (on several ranks the ids must be the data set's), below 0 where a region
                has none.

        Returns:
            The term `region`, which is the `loss`.
        """
        counted = target["region_valid"].bool() & (target["caption_id"] >= 0)
        loss = symmetric_info_nce(
            output["region_embedding"][counted],  # (n, D), like the next
            output["caption_embedding"][counted],
            output["logit_scale"],
            target["caption_id"][counted],  # (n,)
        )
        return {"region": loss, "loss": loss}
