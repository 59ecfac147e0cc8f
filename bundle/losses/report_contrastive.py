"""Symmetric InfoNCE between radiographs and their reports, and summaries where there are any."""

from collections.abc import Mapping

import torch
from torch import nn

from bundle.losses.info_nce import symmetric_info_nce


class ReportContrastiveLoss(nn.Module):
    """CLIP's loss: each image must find its report among the batch's, and each report its image.

    L = (CE(s·Z Tᵀ, 1..B) + CE(s·T Zᵀ, 1..B)) / 2, with Z the global and T the text embeddings, unit length. Where the
    network embeds summaries too (multilevel text), L is the mean of this loss for the reports and for the summaries.

    On several ranks the batch is the union of the ranks' batches, gathered with gradients. Source: Radford et al.,
    "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3.
    """

    def forward(
        self, output: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Compare images with their texts.

        Args:
            output: `global_embedding`, `text_embedding` (B, D), the reports', `logit_scale` and, if there are
                summaries, `summary_embedding` (B, D).
            target: `report_id`, `summary_id` (B,) int64, if given: equal where the texts are (then they are no
                negatives of one another; on several ranks the ids must be the data set's), below 0 where an image has
                no such text (then it is left out). Without `report_id`, reports are equal where their `input_ids`
                (B, L) are; without either, every image has a text of its own.

        Returns:
            The terms `report` and, with summaries, `summary`, and their mean `loss`.
        """
        texts = {"report": output["text_embedding"]}
        if "summary_embedding" in output:
            texts["summary"] = output["summary_embedding"]
        image, scale = output["global_embedding"], output["logit_scale"]
        tokens = {"report": target.get("input_ids")}
        terms = {
            name: _contrast(image, text, scale, target.get(f"{name}_id"), tokens.get(name))
            for name, text in texts.items()
        }
        return {**terms, "loss": torch.stack(list(terms.values())).mean()}


def _contrast(
    image: torch.Tensor,
    text: torch.Tensor,
    scale: torch.Tensor,
    text_id: torch.Tensor | None,
    tokens: torch.Tensor | None,
) -> torch.Tensor:
    if text_id is None:
        return symmetric_info_nce(image, text, scale, tokens)
    has_text = text_id >= 0
    return symmetric_info_nce(image[has_text], text[has_text], scale, text_id[has_text])
