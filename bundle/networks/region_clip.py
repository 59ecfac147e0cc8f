"""Patch-CLIP that also looks at regions and reads texts: the network of the systems that learn from captions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bundle.comments import without_comments
from bundle.grid import boxes_in_grid, canvas_to_grid, patch_boxes
from bundle.networks.clip import CLIPTowers, VisionFeatures
from bundle.networks.downscaler import Downscaler
from bundle.networks.freezing import Freezing
from bundle.networks.heads import pair_logits
from bundle.networks.patch_clip import PatchCLIP
from bundle.networks.region import RegionProcessor
from bundle.networks.roi_align import roi_align
from bundle.networks.text_bank import TextBank


class RegionCLIP(PatchCLIP):
    """One region head for boxes and patches, and the texts of a data set to compare them with.

    A region of the tokens q, ROI-aligned or from the processor, is embedded as r = norm(gelu(W_c q)), with the W_c of
    Patch-CLIP's heads. A patch is a region too: p_j is the embedding of the box around patch j. So what regions learn
    from their captions is what patch maps, candidates and FROC show, and boxes are not needed to look at an image.

    With `fuse`, what the regions have seen joins the image's embedding, which scores, report loss and retrieval use:

        z' = norm(norm(z) + tanh(g) · 1/K Σ_k p_k r_k)

    with r_k the embedding of the patch where finding k is the likeliest, p_k its probability, without a gradient, and a
    gate g that starts at 0. The network always picks these regions itself, in training too: boxes, which only some
    images have, would give the answer away.

    Source: RegionMed-CLIP (arXiv 2508.05244v1) and Region-Aware MedCLIP; docs/regionmed_clip.md and
    docs/region_aware_medclip.md say what they leave open. It is not the RegionCLIP of Zhong et al., CVPR 2022.

    Symbols: those of `PatchCLIP`; R regions, M hard negatives of each.

    Args:
        findings: as for `PatchCLIP`, like the next three.
        downscaler: see there.
        clip: see there.
        tokenizer: see there.
        processor: arguments of `RegionProcessor`; None pools the patch tokens of a region, and nothing more.
        fuse: see above.
        texts: all texts of a training by their numbers (`bundle.data.texts.text_data`); None for inference.
        trainable: as for `PatchCLIP`.
        others: further arguments of `PatchCLIP`.

    Raises:
        ValueError: as `PatchCLIP`; texts without a text tower.
    """

    def __init__(
        self,
        findings: Sequence[str],
        downscaler: Downscaler,
        clip: CLIPTowers,
        tokenizer: Any = None,
        processor: Mapping[str, Any] | None = None,
        fuse: bool = False,
        texts: Sequence[str] | None = None,
        trainable: Sequence[str] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(findings, downscaler, clip, tokenizer, **others)
        self.processor: RegionProcessor | None = None
        if processor is not None:
            self.processor = RegionProcessor(clip.vision.width, **without_comments(processor))
        self.fusion_gate = nn.Parameter(torch.zeros(())) if fuse else None
        self.texts: TextBank | None = None
        if texts is not None:
            if clip.text is None:
                raise ValueError("RegionCLIP: texts need a text tower in clip.")
            self.texts = TextBank(texts, tokenizer, clip.text, clip.context_length)
        self.freezing = Freezing(self, trainable)
        self.register_load_state_dict_pre_hook(_begin_from_patch_clip)

    def forward(
        self,
        image: torch.Tensor,
        patch_mask: torch.Tensor | None = None,
        full: bool = False,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        regions: torch.Tensor | None = None,
        report_id: torch.Tensor | None = None,
        summary_id: torch.Tensor | None = None,
        caption_id: torch.Tensor | None = None,
        negative_id: torch.Tensor | None = None,
    ) -> torch.Tensor | dict[str, Any]:
        """Look at radiographs, at regions of them, and read texts.

        Args:
            image: (B, 1, Hc, Wc) float, 0..1, the canvas.
            patch_mask: as for `PatchCLIP.forward`, like the next three.
            full: see there.
            input_ids: see there.
            attention_mask: see there.
            regions: (B, R, 4) as [x0, y0, x1, y1] in canvas pixels; NaN rows are padding. R may be 0.
            report_id: (B,) int64, number of the report among `texts`; -1 for none, also in the next three.
            summary_id: (B,), of the summary.
            caption_id: (B, R), of each region's caption.
            negative_id: (B, R, M), of each region's hard negatives.

        Returns:
            What `PatchCLIP.forward` returns, if neither regions nor numbers of texts are given.

            Else a dict with `global_embedding` (B, D) and `logit_scale`, the scalar s, and, of what is given (float32
            but `region_valid`; embeddings of unit length, 0 where there is no region or no text):

            - `text_embedding` (the reports'), `summary_embedding`: (B, D);
            - `region_embedding`: (B, R, D), and `region_valid`: (B, R) bool, False for padding and for boxes of which
              nothing lies on the canvas;
            - `caption_embedding`: (B, R, D); `negative_embedding`: (B, R, M, D).

            With `full` also the full dict of `PatchCLIP.forward`, and of regions `region_logits` (B, R, K, 2), against
            the findings' prompts.

        Raises:
            ValueError: texts are asked for and there are none.
        """
        if input_ids is not None:
            return super().forward(image, input_ids=input_ids, attention_mask=attention_mask)
        named = {"text": report_id, "summary": summary_id, "caption": caption_id, "negative": negative_id}
        numbers = {f"{name}_embedding": ids for name, ids in named.items() if ids is not None}
        canvas = (image.shape[-2], image.shape[-1])
        boxes = image.new_full((image.shape[0], 0, 4), math.nan) if regions is None else regions
        boxes = canvas_to_grid(boxes.float(), canvas, self.grid)

        features = self.refined(self.features(image))
        patch_embedding, region_embedding = self._look(features, boxes)
        features = self._fused(features, patch_embedding)
        if regions is None and not numbers:
            return self.read(features, patch_embedding, patch_mask) if full else self.maps(patch_embedding)
        output: dict[str, Any] = (
            self.read(features, patch_embedding, patch_mask)
            if full
            else {"global_embedding": F.normalize(features.global_embedding.float(), dim=-1)}
        )
        output |= {"logit_scale": self.scale(), **self._read_texts(numbers)}
        if regions is None:
            return output
        output |= {"region_embedding": region_embedding, "region_valid": boxes_in_grid(boxes, self.grid)}
        if full:
            output["region_logits"] = pair_logits(region_embedding, self.prompts(), self.scale(), self.clip.logit_bias)
        return output

    def _look(self, features: VisionFeatures, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of all patches (B, P, D) and of boxes (B, R, 4) in the grid frame (B, R, D), by one head."""
        tokens, count = features.patch_tokens, features.patch_tokens.shape[1]
        if self.processor is None:
            regions = torch.cat([tokens, roi_align(tokens, boxes, self.grid)], 1)
        else:
            patches = patch_boxes(self.grid).to(boxes.device).expand(boxes.shape[0], -1, -1)
            positions = self.patch_positions()
            regions = self.processor(
                tokens, features.class_token, positions, torch.cat([patches, boxes], 1), self.grid
            )  # (B, P + R, W)
        embedding = self.projection(regions)
        return embedding[:, :count], embedding[:, count:]

    def _fused(self, features: VisionFeatures, patch_embedding: torch.Tensor) -> VisionFeatures:
        """The features with z' for z; unchanged without `fuse`."""
        if self.fusion_gate is None:
            return features
        with torch.no_grad():
            likeliest, place = self.maps(patch_embedding).flatten(2).max(-1)  # (B, K)
        image = torch.arange(place.shape[0], device=place.device)[:, None]
        own = (likeliest[..., None] * patch_embedding[image, place]).mean(1)  # (B, D)
        alone = F.normalize(features.global_embedding.float(), dim=-1)
        return features._replace(global_embedding=alone + self.fusion_gate.tanh() * own)

    def _read_texts(self, numbers: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Embeddings of all texts asked for, each distinct one embedded once."""
        if not numbers:
            return {}
        if self.texts is None:
            raise ValueError(f"RegionCLIP was built without `texts`; it cannot give {', '.join(numbers)}.")
        embedding = self.texts(torch.cat([ids.flatten() for ids in numbers.values()]))
        parts = embedding.split([ids.numel() for ids in numbers.values()])
        return {
            name: part.reshape(*ids.shape, part.shape[-1])
            for (name, ids), part in zip(numbers.items(), parts, strict=True)
        }


def _begin_from_patch_clip(module: RegionCLIP, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before loading: weights that know nothing of regions, such as Patch-CLIP's, leave the processor as it is.

    Its gates, closed at first, make of it plain pooling, which is what those weights were trained for.
    """
    own = [name for name, _ in module.named_parameters() if name.startswith(("processor.", "fusion_gate"))]
    if not any(f"{prefix}{name}" in state for name in own):
        state.update({f"{prefix}{name}": module.get_parameter(name).detach() for name in own})
