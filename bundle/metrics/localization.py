"""How well a heat map of one finding lies over its boxes: pointing game, IoU, Dice, contrast-to-noise ratio.

Sources: Zhang et al., "Top-down neural attention by excitation backprop" (IJCV 126, 2018) for the pointing game;
Boecking et al., "Making the most of text semantics to improve biomedical vision-language processing" (ECCV 2022,
BioViL) for the contrast-to-noise ratio, the smoothing and the mean over thresholds; AFLoc's protocol for the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from bundle.grid import patch_map_to_image
from bundle.metrics.arrays import as_array
from bundle.metrics.candidates import visible_patches
from bundle.metrics.records import Floats

MEASURES = ("pointing", "iou", "dice", "cnr")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)

Rescaling = Literal["image", "probability", "none"]
RESCALINGS = ("image", "probability", "none")

_ROUNDING = 1e-12  # of the largest value: what blurring and drawing may add to equal values


@dataclass(frozen=True)
class Localization:
    """What the maps of one image are worth, per finding; NaN where the finding has no (complete) boxes here.

    Attributes:
        pointing: (K,) 1 where the map's peak lies in a box, 0 where not; a share where several pixels are equally high.
        iou: (K,) mean over the thresholds of intersection over union.
        dice: (K,) mean over the thresholds of the Dice coefficient.
        cnr: (K,) contrast-to-noise ratio, >= 0; NaN too where `cnr_reason` says why.
        cnr_reason: K, why a finding with boxes has no contrast-to-noise ratio, or None.
        chance: (K,) share of the image that its boxes cover: what pointing is for a point drawn anywhere in it.
    """

    pointing: Floats
    iou: Floats
    dice: Floats
    cnr: Floats
    cnr_reason: tuple[str | None, ...]
    chance: Floats


def localize(
    maps: torch.Tensor,
    to_stored: torch.Tensor | ArrayLike,
    stored_size: torch.Tensor | Sequence[int],
    boxes: torch.Tensor | ArrayLike,
    box_finding: torch.Tensor | ArrayLike,
    boxed: torch.Tensor | ArrayLike | None = None,
    smoothing: float = 1.5,
    rescaling: Rescaling = "image",
    thresholds: Sequence[float] = THRESHOLDS,
    side: int | None = 256,
) -> Localization:
    """Compare the heat maps of one image with its boxes, all findings at once.

    The steps, of which the defaults are AFLoc's protocol for phrase grounding:

    1. Patches that lie wholly in the pad are cut off. The rest is blurred by a Gaussian of sigma `smoothing` patches
       (reflected at the border, cut at 4 sigma).
    2. The map is drawn (bilinear, `bundle.grid.patch_map_to_image`) on a raster over the stored image: its pixels, or
       equal cells of them, so that the longer side has at most `side`. Raster and boxes are in the stored frame. A cell
       is inside a box if its centre is; a box that holds no centre in x or y gets the cell that its middle lies in.
    3. The mask M is the union of the finding's boxes.
    4. pointing = share of the highest cells that lies in M: one cell, unless the map is flat there.
    5. CNR = |mu_in - mu_out| / sqrt(var_in + var_out), of the cells in and outside M (population variance; no
       rescaling changes it). It has no sign: a map that is low in the boxes scores as one that is high.
    6. The map is rescaled to m in [-1, 1]; with C_t = {m >= t}, iou = mean_t |C_t ∩ M| / |C_t ∪ M| and
       dice = mean_t 2 |C_t ∩ M| / (|C_t| + |M|).

    `rescaling` of step 6 is "image": 2 (v - min) / (max - min) - 1 over this image and finding, the protocol's, which
    gives every image a cell at 1, so it must not be used to tell images with a finding from those without; a flat map
    becomes -1 everywhere. "probability": 2 v - 1, so that t = 0 is a probability of 1/2. "none": v as it is, for
    cosines. Cells of the image that no patch covers are never called; they count in M, but not for CNR.

    Not a detection measure: images without the finding do not enter. See `bundle.metrics.froc`.

    Args:
        maps: (K, Gh, Gw), a value per patch, of any unit; finite wherever a finding with boxes shows the image.
        to_stored: (3, 3) affine, grid to stored frame (`bundle.grid.grid_to_stored`): scale and offset only.
        stored_size: (H, W) of the stored image.
        boxes: (N, 4) as [x0, y0, x1, y1], stored pixels; rows of NaN are padding.
        box_finding: (N,) integers, -1 for padding.
        boxed: (K,) whether the finding's boxes are complete; others stay NaN. None where all are.
        smoothing: sigma in patches; 0 for none.
        rescaling: see above.
        thresholds: t of step 6.
        side: cells of the raster's longer side at most; None for every stored pixel.

    Returns:
        The four measures of each finding, and the chance of pointing.

    Raises:
        ValueError: where shapes or settings are not as above, a box is empty, infinite or outside the image, no patch
            shows the image, or a map that is needed is not finite or, with "probability", outside 0..1; with the
            finding, and the patch or the box.
    """
    if maps.ndim != 3:
        raise ValueError(f"maps must be (K, Gh, Gw), got {tuple(maps.shape)}")
    if smoothing < 0 or not thresholds or (side is not None and side < 1) or rescaling not in RESCALINGS:
        raise ValueError(
            f"wanted: smoothing >= 0, thresholds, side >= 1 or None, rescaling one of {RESCALINGS}; "
            f"got {smoothing}, {tuple(thresholds)}, {side}, {rescaling!r}"
        )
    affine, size = as_array(to_stored), as_array(stored_size)
    rectangle, owner = _boxes(boxes, box_finding, boxed, len(maps), size)
    which, place = np.unique(owner, return_inverse=True)
    values, from_stored = _shown(maps.detach().to("cpu", torch.float64).numpy(), which, affine, size)
    if not len(which):
        pointing, iou, dice, cnr, chance = np.full((len(MEASURES) + 1, len(maps)), np.nan)
        return Localization(pointing, iou, dice, cnr, (None,) * len(maps), chance)
    if rescaling == "probability" and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"rescaling 'probability' wants maps in 0..1, got {values.min():g}..{values.max():g}")
    if smoothing:
        values = gaussian_filter(values, smoothing, mode="reflect", truncate=4.0, axes=(1, 2))

    step = max(1.0, float(size.max()) / side) if side else 1.0
    rows, columns = (max(1, round(float(n) / step)) for n in size)
    cell = size / (rows, columns)  # height and width in stored pixels
    raster = torch.from_numpy(from_stored @ np.diag([cell[1], cell[0], 1.0]))
    drawn = patch_map_to_image(torch.from_numpy(values), raster, (rows, columns)).flatten(1).numpy()  # (F, n)
    union = np.zeros((len(which), rows, columns), bool)
    for finding, mask in zip(place, _rasterise(rectangle, cell, (rows, columns)), strict=True):
        union[finding] |= mask
    area = union.sum((1, 2))
    inside = union.reshape(len(which), -1)  # (F, n)
    seen = ~np.isnan(drawn[0])
    if not seen.all():  # n is from here on the cells that the patches cover; none other can be called
        drawn, inside = drawn[:, seen], inside[:, seen]
    if not drawn.size:
        raise ValueError("no patch shows the image: to_stored and stored_size do not belong together")

    highest, lowest = drawn.max(1, keepdims=True), drawn.min(1, keepdims=True)
    rounding = _ROUNDING * np.maximum(np.abs(highest), np.abs(lowest))
    # where all is equal but for rounding, rescaling would make a map of the rounding
    drawn = np.where(highest - lowest <= rounding, highest, drawn)
    top = drawn >= highest - rounding
    overlap = _overlap(_rescaled(drawn, rescaling), inside, area, thresholds)
    ratio, reasons = _contrast_to_noise(drawn, inside, rounding[:, 0])
    result = np.full((len(MEASURES) + 1, len(maps)), np.nan)
    result[:, which] = [(top & inside).sum(1) / top.sum(1), *overlap, ratio, area / (rows * columns)]
    pointing, iou, dice, cnr, chance = result
    said = dict(zip(which.tolist(), reasons, strict=True))
    return Localization(pointing, iou, dice, cnr, tuple(said.get(k) for k in range(len(maps))), chance)


def stack(images: Sequence[Localization]) -> dict[str, Floats]:
    """The measures of many images as tables, for `bundle.metrics.draws.Draws.mean`.

    Args:
        images: of the same K findings.

    Returns:
        By the names in `MEASURES`, (I, K) each; NaN where the finding has no boxes on the image.
    """
    return {name: np.stack([getattr(image, name) for image in images]) for name in MEASURES} if images else {}


def _boxes(
    boxes: torch.Tensor | ArrayLike,
    box_finding: torch.Tensor | ArrayLike,
    boxed: torch.Tensor | ArrayLike | None,
    findings: int,
    size: Floats,
) -> tuple[Floats, NDArray[np.int64]]:
    """The boxes that count, cut to the image (N, 4), and their findings (N,)."""
    rectangle = as_array(boxes).reshape(-1, 4)
    owner = as_array(box_finding).reshape(-1).astype(np.int64)
    complete = np.ones(findings, bool) if boxed is None else as_array(boxed).reshape(-1) > 0
    if len(rectangle) != len(owner) or complete.shape != (findings,) or (owner >= findings).any():
        raise ValueError(
            f"{len(rectangle)} boxes, findings {owner.tolist()} and boxed of {complete.shape} do not fit "
            f"{findings} maps"
        )
    real = (owner >= 0) & ~np.isnan(rectangle).all(1)
    rectangle, owner = rectangle[real], owner[real]
    cut = np.clip(rectangle, 0, [size[1], size[0], size[1], size[0]])
    empty = ~(np.isfinite(rectangle).all(1) & (cut[:, 2:] > cut[:, :2]).all(1))
    if empty.any():
        box = int(empty.argmax())
        raise ValueError(
            f"box {rectangle[box].tolist()} of finding {owner[box]} is empty, not finite, or outside the image of "
            f"{size[1]:g} x {size[0]:g} pixels"
        )
    counts = complete[owner]
    return cut[counts], owner[counts]


def _shown(values: Floats, which: NDArray[np.int64], to_stored: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Maps of the findings `which`, cut to the patches that show the image, and the affine from stored to them."""
    grid = (values.shape[1], values.shape[2])
    x_low, x_high, y_low, y_high = (edge[0] for edge in visible_patches(to_stored[None], size[None], grid))
    columns, rows = np.flatnonzero(x_high > x_low), np.flatnonzero(y_high > y_low)
    if not len(columns) or not len(rows):
        raise ValueError("no patch shows the image: to_stored and stored_size do not belong together")
    left, upper = columns[0], rows[0]
    cut = values[which, upper : rows[-1] + 1, left : columns[-1] + 1]
    fault = np.argwhere(~np.isfinite(cut))
    if len(fault):
        finding, row, column = fault[0]
        raise ValueError(
            f"the map of finding {which[finding]} is {cut[finding, row, column]} at patch row {row + upper}, column "
            f"{column + left}, inside the image: the network failed, which is not 'no finding'"
        )
    shift = np.array([[1.0, 0, -left], [0, 1, -upper], [0, 0, 1]])
    return cut, shift @ np.linalg.inv(to_stored)


def _rasterise(boxes: Floats, cell: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Cells inside each box: (N, 4) in stored pixels, cells of (height, width) -> (N, rows, columns)."""

    def along(low: Floats, high: Floats, length: float, cells: int) -> NDArray[np.bool_]:
        centre = (np.arange(cells) + 0.5) * length
        within = (low[:, None] <= centre) & (centre < high[:, None])
        middle = np.clip((low + high) / 2 // length, 0, cells - 1)
        return within | (~within.any(1, keepdims=True) & (np.arange(cells) == middle[:, None]))

    x = along(boxes[:, 0], boxes[:, 2], cell[1], shape[1])
    y = along(boxes[:, 1], boxes[:, 3], cell[0], shape[0])
    return y[:, :, None] & x[:, None, :]


def _rescaled(values: Floats, rescaling: Rescaling) -> Floats:
    """(F, n) maps to -1..1, by rule."""
    if rescaling == "image":
        low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
        # a flat map stays at its low end: nothing stands out of it
        return 2 * (values - low) / np.where(high > low, high - low, 1.0) - 1
    return 2 * values - 1 if rescaling == "probability" else values


def _overlap(
    values: Floats, inside: NDArray[np.bool_], area: NDArray[np.int64], thresholds: Sequence[float]
) -> tuple[Floats, Floats]:
    """IoU and Dice of {values >= t} with masks of `area`, in the mean over t: (F, n), (F, n), (F,) -> (F,), (F,)."""
    iou, dice = np.zeros(len(values)), np.zeros(len(values))
    for threshold in thresholds:
        called = values >= threshold
        shared, size = (called & inside).sum(1), called.sum(1)
        iou += shared / (size + area - shared)
        dice += 2 * shared / (size + area)
    return iou / len(thresholds), dice / len(thresholds)


def _contrast_to_noise(values: Floats, inside: NDArray[np.bool_], rounding: Floats) -> tuple[Floats, list[str | None]]:
    """(F, n) values and masks, (F,) noise that is none -> (F,) ratios, and why each is NaN, or None."""
    moments = []
    for part in (inside, ~inside):
        number = part.sum(1)
        filled = np.maximum(number, 1)
        mean = np.where(part, values, 0.0).sum(1) / filled
        variance = np.where(part, np.square(values - mean[:, None]), 0.0).sum(1) / filled
        moments.append((number, mean, variance))
    (n_in, mean_in, var_in), (n_out, mean_out, var_out) = moments
    difference, noise = np.abs(mean_in - mean_out), np.sqrt(var_in + var_out)
    flat = values.max(1) == values.min(1)  # no contrast is 0, also without noise
    ratio = np.where(flat, 0.0, difference / np.where(noise > rounding, noise, np.nan))
    reasons: list[str | None] = []
    for k in range(len(values)):
        if not n_in[k]:
            reasons.append("no patch covers the boxes")
        elif not n_out[k]:
            reasons.append("the boxes cover the whole image")
        elif np.isnan(ratio[k]):
            reasons.append("the map is constant in the boxes and outside them: no noise to compare with")
        else:
            reasons.append(None)
    return np.where([reason is None for reason in reasons], ratio, np.nan), reasons
