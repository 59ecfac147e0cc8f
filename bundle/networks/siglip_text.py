"""SigLIP's text tower."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import SiglipTextModel


class SiglipTextTower(nn.Module):
    """SigLIP's text encoder with its projection, called as `bundle.networks.clip.TextTower`.

    SigLIP was trained on texts padded to the full context, without a mask: padding is read as any token, and the last
    place, which is padding in most texts, is what is projected. So texts are padded here, whatever the caller trimmed.

    Args:
        model: the transformer; its head becomes this tower's projection, H -> D with bias.
    """

    def __init__(self, model: SiglipTextModel) -> None:
        super().__init__()
        self.projection: nn.Linear = model.head
        self.model = model
        model.head = nn.Identity()
        self.context_length: int = model.config.max_position_embeddings

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask -> (N, D) embeddings, not normalised."""
        return self.projection(self.pooled(input_ids, attention_mask))

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(N, L) ids and mask -> (N, H), the last place after the final LayerNorm: what is projected."""
        padding = self.model.config.pad_token_id
        ids = input_ids.masked_fill(~attention_mask.bool(), padding)
        ids = F.pad(ids, (0, self.context_length - ids.shape[1]), value=padding)
        return self.model(input_ids=ids).pooler_output
