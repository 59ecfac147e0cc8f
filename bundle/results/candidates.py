"""What a network says of an image, maps or boxes, as `candidates` in stored pixels.

`candidates` is (M, 8) float64, columns of `bundle.metrics.candidates.COLUMNS`.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.comments import without_comments
from bundle.grid import grid_to_stored
from bundle.metrics.candidates import extract_candidates, extract_candidates_batch
from bundle.metrics.detections import candidates_from_boxes, candidates_to_maps, image_scores
from bundle.probability import OperatingPoints

Sample = dict[Hashable, Any]


class MapsToCandidatesd(MapTransform):
    """Patch maps -> `candidates` in stored pixels (post-processing of one image, or of a whole batch at once).

    A batch, as an evaluator with `decollate: false` hands it over, takes about half the time of its images one by one,
    and gives the same tables. Adds also `to_stored` (3, 3), the grid to stored frame, and `grid_size`, (Gh, Gw).

    Args:
        keys: the maps, (K, Gh, Gw), or (B, K, Gh, Gw) with `candidates` then a list of B tables and all else stacked.
        canvas: side of the square canvas, in pixels.
        settings: `floor`, `smoothing`, `box_fraction`, `max_candidates` of `extract_candidates_batch`.

    Raises:
        ValueError: as `extract_candidates_batch`, with the image's number where the sample has one.
    """

    def __init__(self, keys: KeysCollection = "pred", canvas: int = 900, **settings: Any) -> None:
        super().__init__(keys)
        self.canvas, self.settings = (canvas, canvas), settings

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            maps = torch.as_tensor(d[key]).as_subclass(torch.Tensor)
            grid = (maps.shape[-2], maps.shape[-1])
            d["to_stored"] = grid_to_stored(d["canvas_from_stored"].cpu(), self.canvas, grid)
            size = d["stored_size"].cpu()
            if maps.ndim == 4:
                d["grid_size"] = torch.tensor(grid).expand(len(maps), 2)
                d["candidates"] = self._extract(maps, d["to_stored"], size, d.get("index"))
            else:
                d["grid_size"] = grid
                index = [d["index"]] if "index" in d else None
                d["candidates"] = self._extract(maps[None], d["to_stored"][None], size[None], index)[0]
        return d

    def _extract(
        self, maps: torch.Tensor, to_stored: torch.Tensor, size: torch.Tensor, index: Sequence[Any] | None
    ) -> list[torch.Tensor]:
        """Tables of a batch; a fault is looked for image by image, to be named."""
        try:
            return extract_candidates_batch(maps, to_stored, size, **self.settings)
        except ValueError:
            if index is not None:
                for number, *image in zip(index, maps, to_stored, size, strict=True):
                    try:
                        extract_candidates(*image, **self.settings)
                    except ValueError as error:
                        raise ValueError(f"image {int(number)}: {error}") from error
            raise


class CalibrateScoresd(MapTransform):
    """Image scores -> probabilities: `scores["image"]` by `OperatingPoints.probability` (one image, or a batch).

    The network's other scores stay as they are: the plan calibrates the one that stands for the image.

    Args:
        keys: of the scores by name, each (K,) or (B, K).
        points: None leaves all as it is.
    """

    def __init__(self, keys: KeysCollection = "scores", points: OperatingPoints | None = None) -> None:
        super().__init__(keys)
        self.points = points

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.key_iterator(d):
            if self.points is not None and "image" in d[key]:
                d[key] = {**d[key], "image": self.points.probability(torch.as_tensor(d[key]["image"]))}
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
