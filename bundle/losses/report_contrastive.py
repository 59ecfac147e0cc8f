"""Symmetric InfoNCE between radiographs and their reports, for pretraining."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


class ReportContrastiveLoss(nn.Module):
    """CLIP's loss: each image must find its report among the batch's, and each report its image.

    L = (CE(s·Z Tᵀ, 1..B) + CE(s·T Zᵀ, 1..B)) / 2, with Z the global and T the text embeddings, unit length.

    On several ranks the batch is the union of the ranks' batches, gathered with gradients. Source: Radford et al.,
    "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
    """

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """`global_embedding`, `text_embedding` (B, D) and `logit_scale` -> {"report", "loss"}; `target` is not used."""
        image, text = _gather(output["global_embedding"]), _gather(output["text_embedding"])
        logits = output["logit_scale"] * image @ text.T  # (B, B)
        own = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return {"report": loss, "loss": loss}


def _gather(embedding: torch.Tensor) -> torch.Tensor:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return embedding
    from torch.distributed.nn.functional import all_gather  # its import needs a torch with distributed support

    return torch.cat(all_gather(embedding))
