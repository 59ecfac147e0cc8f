"""MONAI dictionary transforms for networks that make boxes: their training's truth, and their candidates."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.box_utils import clip_boxes_to_image
from monai.transforms import MapTransform

from bundle.comments import without_comments
from bundle.data.loading import BOX_ROWS
from bundle.grid import grid_to_stored, transform_boxes
from bundle.metrics.detections import candidates_from_boxes, candidates_to_maps, image_scores

Sample = dict[Hashable, Any]


class BoxesToCanvasd(MapTransform):
    """`boxes` from stored to canvas pixels, by `canvas_from_stored`, cut to the canvas.

    Boxes of which less than one pixel is left on either axis (augmentation moved them out) are dropped, and with them
    their rows of `BOX_ROWS`.

    Args:
        keys: the boxes, (N, 4).
        canvas: side of the square canvas, in pixels.
    """

    def __init__(self, keys: KeysCollection = "boxes", canvas: int = 900) -> None:
        super().__init__(keys)
        self.canvas = [canvas, canvas]

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            boxes = transform_boxes(torch.as_tensor(d[key]), d["canvas_from_stored"])
            d[key], kept = clip_boxes_to_image(boxes, self.canvas)
            d |= {row: torch.as_tensor(d[row])[kept] for row in BOX_ROWS if row in d}
        return d


class DetectionsToCandidatesd(MapTransform):
    """Boxes and their scores -> `candidates` in stored pixels (post-processing, one image).

    Adds `scores`, whose `image` (K,) is each finding's best candidate; and, for pictures alone, `pred` (K, G, G), the
    candidates drawn as maps, with their `to_stored`. No `grid_size` goes with them: a detector points where it likes,
    so no grid sets it a ceiling.

    Args:
        keys: the boxes, (Q, 4) in canvas pixels.
        scores: key of the scores, (Q, K).
        canvas: side of the square canvas, in pixels.
        map_side: G.
        settings: `floor`, `overlap`, `max_candidates` of `candidates_from_boxes`, those that differ from its defaults.
    """

    def __init__(
        self,
        keys: KeysCollection = "detection_boxes",
        scores: str = "detection_scores",
        canvas: int = 900,
        map_side: int = 16,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(keys)
        self.scores, self.settings = scores, without_comments(settings)
        self.canvas, self.grid = (canvas, canvas), (map_side, map_side)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            boxes, scores = (torch.as_tensor(d[k]).as_subclass(torch.Tensor) for k in (key, self.scores))
            affine, findings = d["canvas_from_stored"].cpu(), scores.shape[-1]
            table = candidates_from_boxes(
                boxes, scores, torch.linalg.inv(affine), d["stored_size"].cpu(), **self.settings
            )
            d["candidates"], d["scores"] = table, {"image": image_scores(table, findings)}
            d["to_stored"] = grid_to_stored(affine, self.canvas, self.grid)
            d["pred"] = candidates_to_maps(table, findings, d["to_stored"], self.grid)
        return d
