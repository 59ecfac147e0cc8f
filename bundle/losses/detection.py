"""RT-DETR's set loss from transformers, silent about findings of which an image's boxes are not known."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import RTDetrConfig
from transformers.loss.loss_rt_detr import RTDetrHungarianMatcher, RTDetrLoss

TERMS = {"class": "loss_vfl", "box": "loss_bbox", "giou": "loss_giou"}
_SILENT = -1e4  # a logit whose probability is 0 in every format: its varifocal loss and gradient are exactly 0

Targets = Sequence[Mapping[str, torch.Tensor]]


class DetectionLoss(nn.Module):
    """L = w_c VFL + w_b L1 + w_g (1 - GIoU), summed over the decoder's layers, the proposals and the denoising queries.

    Each layer's queries are matched one to one with the image's boxes at the least total cost (Hungarian). A matched
    query is pulled to its box, and its probability of the box's finding to the IoU it reached (varifocal loss); every
    other probability is pulled to 0. Each term divides by the number of boxes in the batch, at least 1.

    Only what is known counts: for a finding of an image whose boxes are not complete (neither `boxed` nor label 0) no
    query is pulled to 0. Boxes of it that are listed are matched all the same. Where nothing is known the loss is 0,
    and finite.

    transformers' `RTDetrLoss` does the work. Source: Zhao et al., arXiv 2304.08069; varifocal loss, Zhang et al.,
    arXiv 2008.13367.

    Args:
        num_findings: K.
        class_weight: w_c.
        box_weight: w_b, of the boxes' L1 distance in units of the canvas.
        giou_weight: w_g.
    """

    def __init__(
        self, num_findings: int, class_weight: float = 1.0, box_weight: float = 5.0, giou_weight: float = 2.0
    ) -> None:
        super().__init__()
        self.set_loss = _KnownLoss(
            RTDetrConfig(
                num_labels=num_findings,
                weight_loss_vfl=float(class_weight),
                weight_loss_bbox=float(box_weight),
                weight_loss_giou=float(giou_weight),
            )
        )

    def forward(self, output: Mapping[str, Any], target: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compare a detector's output with what is known.

        Args:
            output: of `bundle.networks.BoxDetector` with boxes.
            target: `label` (B, K) with 1, 0 or NaN (unknown); `boxed` (B, K) bool, True where the boxes are complete.

        Returns:
            The weighted terms `class`, `box` and `giou` of the queries (all layers and the proposals), `denoising`,
            all terms of the denoising queries, and their sum `loss`.

        Raises:
            FloatingPointError: the network's boxes are not finite.
        """
        logits, boxes = output["layer_logits"], output["layer_boxes"]  # (B, L, D + Q, K), (B, L, D + Q, 4)
        if not torch.isfinite(boxes).all():
            raise FloatingPointError("The detector's boxes are not finite. Lower the learning rate or max_grad_norm.")
        known = target["boxed"].bool() | (target["label"] == 0)
        targets = [{**t, "known": row} for t, row in zip(output["targets"], known, strict=True)]
        denoising = output["denoising"]
        first = 0 if denoising is None else denoising["dn_num_split"][0]  # D
        *layers, last = _layers(logits[:, :, first:], boxes[:, :, first:])
        layers.append({"logits": output["proposal_logits"], "pred_boxes": output["proposal_boxes"]})
        given: dict[str, Any] = {**last, "auxiliary_outputs": layers}
        if denoising is not None:
            given["dn_auxiliary_outputs"] = _layers(logits[:, :, :first], boxes[:, :, :first])
            given["denoising_meta_values"] = denoising
        parts = self.set_loss(given, targets)
        of_queries = {key: value for key, value in parts.items() if "_dn_" not in key}
        zero = logits.new_zeros(())
        terms = {
            name: sum((value for key, value in of_queries.items() if key.startswith(prefix)), zero)
            for name, prefix in TERMS.items()
        }
        terms["denoising"] = sum((value for key, value in parts.items() if "_dn_" in key), zero)
        return {**terms, "loss": sum(terms.values(), zero)}


class _KnownLoss(RTDetrLoss):
    """Leaves out of the classification what is not `known`, (K,) bool of each target, unless a box is matched to it."""

    def __init__(self, config: RTDetrConfig) -> None:
        super().__init__(config)
        self.matcher = _Matcher(config)

    def loss_labels_vfl(
        self,
        outputs: Mapping[str, torch.Tensor],
        targets: Targets,
        indices: Sequence[tuple[torch.Tensor, torch.Tensor]],
        num_boxes: float,
        log: bool = True,
    ) -> dict[str, torch.Tensor]:
        logits = outputs["logits"]
        counts = torch.stack([t["known"] for t in targets])[:, None].repeat(1, logits.shape[1], 1)  # (B, Q, K)
        image, query = self._get_source_permutation_idx(indices)
        finding = torch.cat([t["class_labels"][chosen] for t, (_, chosen) in zip(targets, indices, strict=True)])
        counts[image, query, finding] = True
        outputs = {**outputs, "logits": logits.masked_fill(~counts, _SILENT)}
        return super().loss_labels_vfl(outputs, targets, indices, num_boxes, log)


class _Matcher(RTDetrHungarianMatcher):
    """The library's, which fails on a batch without a single box."""

    @torch.no_grad()
    def forward(self, outputs: Mapping[str, torch.Tensor], targets: Targets) -> list[tuple[torch.Tensor, torch.Tensor]]:
        if any(len(t["boxes"]) for t in targets):
            return super().forward(outputs, targets)
        nothing = torch.zeros(0, dtype=torch.int64)
        return [(nothing, nothing) for _ in targets]


def _layers(logits: torch.Tensor, boxes: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """(B, L, n, ·) to one dict a layer, as the library takes them."""
    return [{"logits": a, "pred_boxes": b} for a, b in zip(logits.unbind(1), boxes.unbind(1), strict=True)]
