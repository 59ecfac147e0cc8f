"""The dictionary form of the reader, `bundle.reading`."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from bundle.reading import RadiographError as RadiographError
from bundle.reading import ReadingOptions
from bundle.reading import read_radiograph as read_radiograph

Sample = dict[Hashable, Any]


class LoadRadiographd(MapTransform):
    """Read a radiograph from its path: (1, H, W) float32, 0..1, rows down, columns right, bright is dense.

    The metadata of `read_radiograph` go with the MetaTensor; `stored_size` and `reading`, the same metadata for whoever
    handles one sample (batches leave it behind), join the sample.

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
            affine = torch.tensor(meta.pop("affine"), dtype=torch.float64)
            d[key] = MetaTensor(torch.from_numpy(array), affine=affine, meta=meta)
            d["stored_size"] = torch.tensor(array.shape[-2:])
        return d
