"""Which part of a canvas shows a radiograph: what pads it is exactly 0."""

import torch


def exposed_rectangle(image: torch.Tensor) -> torch.Tensor:
    """The smallest rectangle, its sides along the axes, that holds every pixel above 0 of each image.

    Black borders of the radiograph itself fall outside like the padding; of a turned one the corners fall inside.

    Args:
        image: (..., H, W), 0 and above.

    Returns:
        (..., H, W) bool; False everywhere for an image without a pixel above 0.
    """
    rows, columns = exposed_sides(image)
    return rows & columns


def exposed_sides(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rectangle of `exposed_rectangle` as its rows (..., H, 1) and columns (..., 1, W), bool: it is their product.

    Written in operations that ONNX knows.
    """
    rows, columns = image.amax(-1, keepdim=True) > 0, image.amax(-2, keepdim=True) > 0
    return _between(rows, -2), _between(columns, -1)


def _between(marked: torch.Tensor, dim: int) -> torch.Tensor:
    """From the first to the last that is marked, along an axis."""
    own = marked.long()
    so_far = own.cumsum(dim)
    return (so_far > 0) & (so_far - own < so_far.amax(dim, keepdim=True))
