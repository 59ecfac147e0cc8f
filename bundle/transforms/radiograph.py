"""The dictionary form of the reader, `bundle.reading`."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from bundle.reading import RadiographError as RadiographError
from bundle.reading import ReadingOptions
from bundle.reading import read_radiograph as read_radiograph
from bundle.reading.upright import AS_STORED, Upright, upright_metadata

Sample = dict[Hashable, Any]

BOXES = "boxes"  # of a sample, in pixels of its image


class LoadRadiographd(MapTransform):
    """Read a radiograph from its path: (1, H, W) float32, 0..1, rows down, columns right, bright is dense, upright.

    A picture whose stored pixels lie otherwise (`orientation` of `read_radiograph`) is turned, and the sample's `boxes`
    with it: all that follows, up to the room `bundle.results`, knows upright pictures only. `stored_size` is that of
    the turned picture.

    The metadata of `read_radiograph` go with the MetaTensor, as far as they are of the turned picture; `stored_size`,
    `pixel_mm` ((2,) float64, distance between rows and between columns of it, NaN where the file does not say), and
    `reading`, the metadata as they are for whoever handles one sample (batches leave it behind), join the sample.

    Args:
        keys: keys of paths.
        options: of the reader, the section `reading` of a configuration; None has the defaults.
    """

    def __init__(
        self, keys: KeysCollection = "image", options: ReadingOptions | Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(keys)
        self.options = ReadingOptions.of(options)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        d = dict(data)
        for key in self.keys:
            array, meta = read_radiograph(d[key], self.options)
            d["reading"] = dict(meta)
            turn, stored = Upright.of(meta["orientation"]), meta["stored_size"]
            affine = turn.affine(stored, np.asarray(meta.pop("affine")))
            if turn != AS_STORED:
                array = np.ascontiguousarray(turn.apply(array))
                meta |= upright_metadata(turn, meta)
                if BOXES in d:
                    d[BOXES] = turned_boxes(d[BOXES], turn, stored)
            d[key] = MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine), meta=meta)
            d["stored_size"] = torch.tensor(array.shape[-2:])
            d["pixel_mm"] = torch.tensor(meta["spacing"] or (torch.nan, torch.nan), dtype=torch.float64)
        return d


def turned_boxes(boxes: Any, turn: Upright, stored: tuple[int, int]) -> Any:
    """Boxes (N, 4) of stored pixels in the upright picture, of the type they had."""
    turned = turn.boxes(np.asarray(boxes), stored)
    return torch.from_numpy(turned).to(boxes) if isinstance(boxes, torch.Tensor) else turned.astype(boxes.dtype)
