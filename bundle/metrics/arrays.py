"""What a metric is given, a tensor or an array, as one kind of array; without loading torch for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(values: Any) -> NDArray[np.float64]:
    """A tensor of any device or type, or anything array-like, as float64 on the CPU."""
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, np.float64)
