"""The network's input: the whole radiograph on a canvas of fixed size, the proportions of the body kept."""

import torch
import torch.nn.functional as F

from bundle.frames import fit


def fit_to_canvas(
    image: torch.Tensor, size: tuple[int, int], pixel_aspect: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resize to fit, centre, and pad with 0 (black): to the place that `bundle.frames.fit` gives it.

    Args:
        image: (1, H, W) float.
        size: (Hc, Wc) of the canvas.
        pixel_aspect: row distance / column distance.

    Returns:
        The canvas (1, Hc, Wc) and the (3, 3) float64 affine from stored pixels to canvas pixels (`bundle.grid` has
        the frames).
    """
    place = fit((image.shape[-2], image.shape[-1]), size, pixel_aspect)
    h, w, top, left = place.height, place.width, place.top, place.left
    if (h, w) != tuple(image.shape[-2:]):
        image = F.interpolate(image[None], (h, w), mode="bilinear", antialias=True, align_corners=False)[0]
    canvas = F.pad(image, (left, size[1] - w - left, top, size[0] - h - top))
    return canvas, torch.from_numpy(place.affine)
