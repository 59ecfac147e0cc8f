"""A detection transformer trained from scratch on the same boxes: what the patch maps are compared with."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig
from transformers.image_transforms import center_to_corners_format, corners_to_center_format

from bundle.networks.config_fields import config_fields
from bundle.networks.local_normalisation import LocalNormalisation
from bundle.networks.named_state import names_from_state, names_to_tensor
from bundle.networks.pixel_statistics import pixel_tensors

_STEM_STRIDE = 4


class BoxDetector(nn.Module):
    """RT-DETR: a residual network, an encoder over its coarser stages, and a decoder whose queries end as boxes.

    The network is transformers' `RTDetrForObjectDetection` with random weights, built from a configuration alone: no
    hub, timm or torchvision. Of Q queries each gives one box and K probabilities, sigmoids that know nothing of each
    other, so that findings may share a box. What differs from the library's defaults, which are those of fine-tuning:

    - one grey channel, normalised as Patch-CLIP's;
    - batch normalisation trains, and the weights start as for training from scratch (`_initialise`);
    - the canvas is resized here, to `input_size`;
    - float32 whatever the caller's autocast: bfloat16's 8 bits place a box to two pixels in 500.

    Symbols: B images, K findings, Q queries, D denoising queries, L decoder layers, N annotated boxes.

    Source: Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024, arXiv 2304.08069; denoising
    queries after Zhang et al., "DINO", ICLR 2023, arXiv 2203.03605.

    Args:
        findings: names of the K findings, in the order of every K axis.
        backbone: fields of transformers' RTDetrResNetConfig: `hidden_sizes`, `depths` (one a stage), `layer_type`
            ("basic", "bottleneck"). The first stage has stride 4, each further one twice the stride before.
        transformer: fields of transformers' RTDetrConfig. `num_feature_levels` says how many of the stages, from the
            last, the encoder sees; what follows from it and from `backbone` is filled in.
        input_size: side of the network's input in pixels (RT-DETR: 640), a multiple of the coarsest stride: the
            encoder wants each stage to be exactly half of the one before.
        local_normalisation: as for `PatchCLIP`, on the canvas: what it is compared with sees the same.

    Raises:
        ValueError: no finding, a field that the library's configuration does not have, or sizes that do not fit.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        findings: Sequence[str],
        backbone: Mapping[str, Any] | None = None,
        transformer: Mapping[str, Any] | None = None,
        input_size: int = 640,
        local_normalisation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.findings = list(findings)
        if not self.findings:
            raise ValueError("BoxDetector: findings is empty; give the names of the findings to detect.")
        config = _config(len(self.findings), backbone, transformer)
        if input_size % config.feat_strides[-1]:
            raise ValueError(
                f"BoxDetector: input_size {input_size} is not a multiple of the coarsest stride, "
                f"{config.feat_strides[-1]}."
            )
        self.input_size = (input_size, input_size)
        self.local_normalisation = LocalNormalisation.of(local_normalisation)
        self.detector = RTDetrForObjectDetection(config)
        _initialise(self.detector)
        mean, std = pixel_tensors(None)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_std", std, persistent=False)

    def forward(
        self,
        image: torch.Tensor,
        boxes: torch.Tensor | None = None,
        box_finding: torch.Tensor | None = None,
        full: bool = True,
    ) -> dict[str, Any]:
        """Look at radiographs.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            boxes: (B, N, 4) as [x0, y0, x1, y1] in canvas pixels, rows of NaN being padding: makes the denoising
                queries in training mode, and the targets of the loss.
            box_finding: (B, N) integers, -1 for padding; with `boxes`.
            full: taken because the engines say it; there is one output.

        Returns:
            A dict (float32):

            - `detection_boxes`: (B, Q, 4) as [x0, y0, x1, y1] in canvas pixels;
            - `detection_scores`: (B, Q, K) probabilities;

            and with `boxes`, for `bundle.losses.DetectionLoss`, with boxes as centre and size in units of the canvas:

            - `layer_logits` (B, L, D + Q, K), `layer_boxes` (B, L, D + Q, 4): of each decoder layer;
            - `proposal_logits` (B, Q, K), `proposal_boxes` (B, Q, 4): the encoder's, from which the queries start;
            - `denoising`: the library's account of the D denoising queries, None where there are none (D = 0);
            - `targets`: for each image `class_labels` (n,) and `boxes` (n, 4), without padding.
        """
        size = image.new_tensor(image.shape[-2:], dtype=torch.float32).flip(0).repeat(2)  # (4,) Wc, Hc, Wc, Hc
        targets = None if boxes is None or box_finding is None else _targets(boxes, box_finding, size)
        with torch.autocast(image.device.type, enabled=False):
            if self.local_normalisation is not None:
                image = self.local_normalisation(image)
            resized = F.interpolate(image.float(), self.input_size, mode="bilinear", antialias=True)
            out = self.detector.model((resized - self.pixel_mean) / self.pixel_std, labels=targets)
        queries = out.enc_topk_logits.shape[1]
        output: dict[str, Any] = {
            "detection_boxes": center_to_corners_format(out.intermediate_reference_points[:, -1, -queries:]) * size,
            "detection_scores": out.intermediate_logits[:, -1, -queries:].sigmoid(),
        }
        if targets is None:
            return output
        logits = out.intermediate_logits
        if out.denoising_meta_values is None and self.detector.config.num_denoising:
            # a batch without boxes: DistributedDataParallel wants every parameter to have its part in the loss
            logits = logits + 0 * self.detector.model.denoising_class_embed.weight.sum()
        return output | {
            "layer_logits": logits,
            "layer_boxes": out.intermediate_reference_points,
            "proposal_logits": out.enc_topk_logits,
            "proposal_boxes": out.enc_topk_bboxes,
            "denoising": out.denoising_meta_values,
            "targets": targets,
        }

    def get_extra_state(self) -> torch.Tensor:
        """The findings go with the weights, so that weights are never read for another list."""
        return names_to_tensor(self.findings)

    def set_extra_state(self, state: torch.Tensor | Mapping[str, list[str]]) -> None:
        """Refuse weights of other findings."""
        findings = names_from_state(state)
        if findings != self.findings:
            raise ValueError(
                f"These weights are for the findings {findings}, but the configuration says {self.findings}; "
                "set `findings` to the weights' list."
            )


def _config(
    num_findings: int, backbone: Mapping[str, Any] | None, transformer: Mapping[str, Any] | None
) -> RTDetrConfig:
    """The library's configuration, with what follows from the stages and the levels filled in."""
    backbone = config_fields("BoxDetector: backbone", backbone, RTDetrResNetConfig)
    transformer = config_fields("BoxDetector: transformer", transformer, RTDetrConfig)
    if "hidden_sizes" in backbone:
        # the stem ends in the first stage's width: with another, the library's basic layer does not add up
        backbone = {"embedding_size": backbone["hidden_sizes"][0], **backbone}
    residual = RTDetrResNetConfig(num_channels=1, **backbone)
    stages, levels = len(residual.depths), transformer.get("num_feature_levels", 3)
    if not 1 <= levels <= stages or len(residual.hidden_sizes) != stages:
        raise ValueError(
            f"BoxDetector: {len(residual.hidden_sizes)} hidden_sizes, {stages} depths and num_feature_levels {levels}; "
            "wanted: as many hidden_sizes as depths, and at most as many levels."
        )
    residual.out_indices = list(range(stages + 1 - levels, stages + 1))  # 0 is the stem
    width = transformer.get("encoder_hidden_dim", RTDetrConfig.encoder_hidden_dim)
    given = {
        "initializer_bias_prior_prob": 0.01,  # nearly all queries see nothing
        "freeze_backbone_batch_norms": False,
        "encoder_in_channels": residual.hidden_sizes[-levels:],
        "feat_strides": [_STEM_STRIDE * 2**i for i in range(stages)][-levels:],
        "encode_proj_layers": [levels - 1],
        "decoder_in_channels": [width] * levels,
        **transformer,
    }
    return RTDetrConfig(backbone_config=residual, num_labels=num_findings, **given)


def _initialise(detector: RTDetrForObjectDetection) -> None:
    """Random weights to train from.

    Outside the backbone the library draws weights, those of batch normalisation too, from N(0, 0.01²), which is meant
    to be overwritten by a checkpoint: trained from there, the features reach the queries a hundred times too small.
    Here convolutions and norms take torch's own start, linear layers Glorot's. What the library sets with thought is
    left: deformable attention and the heads of the classes. A box starts as its anchor (last layers 0).
    """
    ready = set(detector.model.backbone.modules())
    for name, module in detector.named_modules():
        if module in ready:
            continue
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d):
            module.reset_parameters()
        elif isinstance(module, nn.Linear) and not any(
            part in name for part in ("encoder_attn", "class_embed", "enc_score_head")
        ):
            nn.init.xavier_uniform_(module.weight)
    for head in (detector.model.enc_bbox_head, *detector.model.decoder.bbox_embed):
        nn.init.zeros_(head.layers[-1].weight)


def _targets(boxes: torch.Tensor, box_finding: torch.Tensor, size: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Boxes (B, N, 4) in canvas pixels, padded, to the library's labels, one dict an image."""
    real = torch.isfinite(boxes).all(-1) & (box_finding >= 0)  # (B, N)
    placed = corners_to_center_format(boxes.float() / size)
    return [
        {"class_labels": finding[rows], "boxes": box[rows]}
        for box, finding, rows in zip(placed, box_finding, real, strict=True)
    ]
