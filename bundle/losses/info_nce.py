"""Symmetric InfoNCE, in which equal texts are not one another's negatives."""

import torch
import torch.nn.functional as F

from bundle.losses.gather import gathered, sum_over_ranks


def symmetric_info_nce(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, text_id: torch.Tensor | None = None
) -> torch.Tensor:
    """Each image must find its text among the texts, and each text its image among the images, of all ranks.

    L = 1/2N Σ_i [CE(s⟨a_i, t_j⟩, j = i) + CE(s⟨a_j, t_i⟩, j = i)], each cross-entropy over j = i and the j whose text
    differs from that of i: where a text stands twice, neither is punished for being taken for the other.

    A rank computes the terms of its own n rows against all N, n x N logits each way, and gets the whole L; after
    DistributedDataParallel's mean the gradients are those of one process with all rows (`bundle.losses.gather`).

    With a single text, or N copies of one, it is 0, and with N = 0 too; it hangs on the graph all the same, as
    DistributedDataParallel needs. Source: Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", 2021, figure 3; leaving out the copies is ours.

    Args:
        image: (n, D), unit length, of this rank's images or regions.
        text: (n, D), unit length; row i belongs to row i of `image`.
        scale: s, scalar.
        text_id: (n,), or (n, L) of tokens, int64, equal where the texts are, on all ranks; None: all differ.

    Returns:
        The scalar L.
    """
    rows = (image, text) if text_id is None else (image, text, text_id)
    (images, texts, *ids), first = gathered(*rows)
    if not len(images):
        return (scale * image @ text.T).sum()
    own = torch.arange(first, first + len(image), device=image.device)
    to_text = scale * image @ texts.T  # (n, N)
    to_image = to_text.T if texts is text else scale * text @ images.T
    if ids:
        number = ids[0] if ids[0].ndim == 1 else torch.unique(ids[0], dim=0, return_inverse=True)[1]  # (N,)
        copies = number[own, None] == number
        copies[torch.arange(len(own)), own] = False
        to_text, to_image = (logits.masked_fill(copies, -torch.inf) for logits in (to_text, to_image))
    terms = F.cross_entropy(to_text, own, reduction="sum") + F.cross_entropy(to_image, own, reduction="sum")
    return sum_over_ranks(terms / (2 * len(images)))
