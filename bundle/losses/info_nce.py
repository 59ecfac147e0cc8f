"""Symmetric InfoNCE, in which equal texts are not one another's negatives."""

import torch
import torch.nn.functional as F


def symmetric_info_nce(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, text_id: torch.Tensor | None = None
) -> torch.Tensor:
    """Each image must find its text among the texts, and each text its image among the images.

    L = 1/2N Σ_i [CE(s⟨a_i, t_j⟩, j = i) + CE(s⟨a_j, t_i⟩, j = i)], each cross-entropy over j = i and the j whose text
    differs from that of i: where a text stands twice, neither is punished for being taken for the other.

    With a single text, or N copies of one, it is 0, and with N = 0 too; it hangs on the graph all the same, as
    DistributedDataParallel needs. Source: Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", 2021, figure 3; leaving out the copies is ours.

    Args:
        image: (N, D), unit length, of images or regions.
        text: (N, D), unit length; row i belongs to row i of `image`.
        scale: s, scalar.
        text_id: (N,) int64, equal where the texts are; None: all differ.

    Returns:
        The scalar L.
    """
    logits = scale * image @ text.T  # (N, N)
    if not len(logits):
        return logits.sum()
    own = torch.arange(len(logits), device=logits.device)
    if text_id is not None:
        copies = (text_id[:, None] == text_id) & (own[:, None] != own)
        logits = logits.masked_fill(copies, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
