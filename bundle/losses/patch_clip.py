"""Patch-CLIP's fine-tuning loss: four contrastive terms against the prompt pairs, masked where nothing is known."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn

from bundle.prompt_pair import FINDING, NEGATIVE

PatchReduction = Literal["mean", "sum", "balanced", "focal"]
# Lin et al.'s γ
FOCUS = 2.0
# shares of the best patch's probability: from the first on a patch is taken for the finding's, below the other for none
INSIDE, OUTSIDE = 0.5, 0.1


class PatchCLIPLoss(nn.Module):
    """L = w_g CE(z) + w_l CE(l) + w_p R_j CE(p_j; m_j) + w_s CE(q), averaged over the images and findings known.

    CE(e; y) is the cross-entropy of softmax(s⟨e, t-⟩, s⟨e, t+⟩) at y. z, l, q are judged by the image's label; each
    patch embedding p_j by whether patch j lies in a box (m_j), so that all patches outside the boxes and of negative
    images are pulled to "no finding". What counts:

    - z, l: the label is known;
    - p_j: the boxes are complete (listed, or the label is 0), or j lies in a known box;
    - q: label 0, or label 1 with a box.

    Each term divides by the number of (image, finding) pairs that count, at least 1: unknown contributes nothing, and
    a batch in which all is unknown gives a finite zero. Source: Patch-CLIP, Scientific Reports 16, 14688 (2026).

    Where boxes are few a fifth term, ours, w_u U, teaches patches where a label is 1 and no box is known, by the
    network's own map: with f_j the focal loss below, p_j the patches' probabilities and c the best of them (through p
    and c goes no gradient), R = {p_j ≥ c / 2} is taken for the finding and N = {p_j < c / 10} for none, and

        U = c (Σ_R f_j / √|R| + Σ_N f_j), averaged over those pairs.

    By c it counts as much as the best patch is sure: at first, with a prior (`patch_prior`), for little; without one,
    for half. On its own it would raise a flat map as a whole: what holds it are boxes, if few, and images without the
    finding. It is self-training within what the label says (Lee, "Pseudo-Label", ICML workshop 2013).

    Args:
        global_weight: w_g.
        pooled_weight: w_l.
        patch_weight: w_p.
        sparse_weight: w_s; the paper's weights are 1, 1, 1, 0.5.
        image_weight: of the cross-entropy of the configured image score, which trains nothing but its learned weights.
        patch_reduction: R_j, over the patches of one image and finding: "sum" is the paper's, and grows with P;
            "mean" (default) divides by the patches that count; "balanced" gives the batch's positive patches of a
            finding half of its weight and the negative ones the other half: (mean⁺ + mean⁻) / 2, averaged over the
            findings with either; "focal" weighs each patch by what it has not learnt, f_j = (1 - e^-CE_j)² CE_j, and
            divides by lesions instead of patches: F⁺ + F⁻, where F⁺ is the mean over the (image, finding) pairs with
            boxed patches of Σ f_j / √n over their n boxed patches, and F⁻ the mean over the pairs that count of Σ f_j
            over their other patches. Neither grows where few images of a batch have boxes (Lin et al., "Focal Loss for
            Dense Object Detection", 2017; the division is ours).
        pseudo_weight: w_u; 0, the paper's, leaves the term out.

    Raises:
        ValueError: an unknown `patch_reduction`.
    """

    def __init__(
        self,
        global_weight: float = 1.0,
        pooled_weight: float = 1.0,
        patch_weight: float = 1.0,
        sparse_weight: float = 0.5,
        image_weight: float = 1.0,
        patch_reduction: PatchReduction = "mean",
        pseudo_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if patch_reduction not in get_args(PatchReduction):
            raise ValueError(f"patch_reduction is '{patch_reduction}'; give one of {get_args(PatchReduction)}.")
        self.weights = {
            "global": global_weight,
            "pooled": pooled_weight,
            "patch": patch_weight,
            "sparse": sparse_weight,
            "image": image_weight,
            "pseudo": pseudo_weight,
        }
        self.patch_reduction = patch_reduction

    def forward(self, output: Mapping[str, Any], target: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compare the network's full output with what is known.

        Args:
            output: of `PatchCLIP(..., full=True)`.
            target: `label` (B, K) with 1, 0 or NaN (unknown); `patch_mask` (B, K, Gh, Gw) bool; `boxed` (B, K) bool,
                True where the boxes are complete.

        Returns:
            The unweighted terms `global`, `pooled`, `patch`, `sparse`, `image`, with a weight `pseudo`, and their
            weighted sum `loss`.
        """
        label, boxed = target["label"], target["boxed"].bool()
        mask = target["patch_mask"].flatten(2).bool()  # (B, K, P)
        known, positive = torch.isfinite(label), label == 1
        has_box = mask.any(-1)
        judged = known & (~positive | has_box)
        patch_judged = ((boxed & (~positive | has_box)) | (known & ~positive))[..., None] | mask  # (B, K, P)
        terms = {
            "global": _masked_mean(_pair_cross_entropy(output["global_logits"], positive), known),
            "pooled": _masked_mean(_pair_cross_entropy(output["pooled_logits"], positive), known),
            "patch": self._patch_term(_pair_cross_entropy(output["patch_logits"], mask), mask, patch_judged),
            "sparse": _masked_mean(
                _pair_cross_entropy(output["sparse_logits"], positive), judged & output["sparse_valid"]
            ),
            "image": _masked_mean(_probability_cross_entropy(output["scores"]["image"], positive), known),
        }
        if self.weights["pseudo"]:
            # complete boxes without a patch lie off the canvas: there is nothing to be found
            unboxed = _pseudo_labelled(output["patch_logits"][positive & ~has_box & ~boxed])
            terms["pseudo"] = unboxed.sum() / max(1, len(unboxed))
        return {**terms, "loss": sum((self.weights[name] * term for name, term in terms.items()), label.new_zeros(()))}

    def _patch_term(self, ce: torch.Tensor, mask: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
        """Cross-entropies (B, K, P) -> scalar."""
        ce = ce * judged
        if self.patch_reduction == "balanced":
            sides = [judged & mask, judged & ~mask]
            means = [(ce * side).sum((0, 2)) / side.sum((0, 2)).clamp(min=1) for side in sides]  # each (K,)
            present = sides[0].any(2).any(0) | sides[1].any(2).any(0)
            return (means[0] + means[1]).sum() / 2 / present.sum().clamp(min=1)
        if self.patch_reduction == "focal":
            focal = _focal(ce)  # 0 where not judged
            boxed = judged & mask
            inside = _masked_mean(_of_a_lesion(focal, boxed), boxed.any(-1))
            return inside + _masked_mean((focal * ~mask).sum(-1), judged.any(-1))
        per_pair = ce.sum(-1)  # (B, K)
        if self.patch_reduction == "mean":
            per_pair = per_pair / judged.sum(-1).clamp(min=1)
        return _masked_mean(per_pair, judged.any(-1))


def _pseudo_labelled(logits: torch.Tensor) -> torch.Tensor:
    """(n, P, 2) -> (n,), the term of each pair."""
    probability = logits.detach().softmax(-1)[..., FINDING]
    best = probability.amax(-1, keepdim=True)
    inside, outside = probability >= INSIDE * best, probability < OUTSIDE * best
    focal = _focal(_pair_cross_entropy(logits, inside))
    return best[..., 0] * (_of_a_lesion(focal, inside) + (focal * outside).sum(-1))


def _focal(ce: torch.Tensor) -> torch.Tensor:
    return (1 - torch.exp(-ce)) ** FOCUS * ce


def _of_a_lesion(focal: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Σ f_j / √n over the n patches inside: (..., P) -> (...); 0 of none."""
    return (focal * inside).sum(-1) / inside.sum(-1).clamp(min=1).to(focal.dtype).sqrt()


def _pair_cross_entropy(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """-log softmax over the pair at the truth: (..., 2), (...) bool -> (...)."""
    margin = logits[..., FINDING] - logits[..., NEGATIVE]
    return nn.functional.softplus(torch.where(positive, -margin, margin))


def _probability_cross_entropy(probability: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    p = torch.where(positive, probability, 1 - probability)
    return -p.clamp(min=1e-7).log()


def _masked_mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean over what counts, 0 where nothing does."""
    return (values * counted).sum() / counted.sum().clamp(min=1)
