"""A region's caption against captions that are wrong for this very region."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from bundle.losses.gather import gather_rows


class NegativeCaptionLoss(nn.Module):
    """Each region must prefer its caption to its hard negatives, such as the caption with another side.

    L_neg = mean_i -log [exp(s⟨r_i, t_i⟩) / (exp(s⟨r_i, t_i⟩) + Σ_m exp(s⟨r_i, t⁻_im⟩))]

    over the valid, captioned regions with at least one negative, of all ranks together. A negative that reads like the
    caption itself is none. Without any such region it is a finite zero. Source: the mismatched-caption term of
    Region-Aware MedCLIP; the hard negatives of RegionMed-CLIP (arXiv 2508.05244v1).
    """

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compare regions with their captions and negatives.

        Args:
            output: `region_embedding`, `caption_embedding` (B, R, D), `negative_embedding` (B, R, M, D), all of unit
                length, and `logit_scale`.
            target: `region_valid` (B, R) bool; `caption_id` (B, R) and `negative_id` (B, R, M) int64, equal where the
                texts are, below 0 where there is none.

        Returns:
            The term `negative`, which is the `loss`.
        """
        caption_id, negative_id = target["caption_id"], target["negative_id"]
        wrong = (negative_id >= 0) & (negative_id != caption_id[..., None])  # (B, R, M)
        counted = target["region_valid"].bool() & (caption_id >= 0) & wrong.any(-1)
        region = output["region_embedding"][counted][..., None]  # (n, D, 1)
        caption = output["caption_embedding"][counted][:, None]  # (n, 1, D)
        texts = torch.cat([caption, output["negative_embedding"][counted]], 1)  # (n, 1 + M, D)
        logits = output["logit_scale"] * (texts @ region)[..., 0]  # (n, 1 + M)
        absent = F.pad(~wrong[counted], (1, 0))  # the caption, place 0, is always there
        logits = logits.masked_fill(absent, -torch.inf)
        # the mean over all ranks, which have different numbers of regions, is not the mean of their means
        (values,) = gather_rows(logits.logsumexp(-1) - logits[:, 0])  # (N,)
        loss = values.sum() / max(1, len(values))
        return {"negative": loss, "loss": loss}
