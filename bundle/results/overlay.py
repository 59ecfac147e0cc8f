"""A radiograph with what the network found drawn on it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from bundle.metrics.candidates import BOX, COLUMNS, FINDING, PEAK_X, PEAK_Y, SCORE
from bundle.results.colours import TRUTH, finding_colour, rgb
from bundle.results.marks import Entry, Style, Tags, add_legend, draw_box, draw_peak
from bundle.results.shown import rows_to_show

# A full-strength tint covers this share of the grey, so that the radiograph is read through it.
_TINT = 0.45
# Below 1, so that a tint is seen soon above the threshold and does not wait for near certainty.
_TINT_GAMMA = 0.6


def draw_overlay(
    image: Any,
    candidates: Any,
    findings: Sequence[str],
    maps: Any = None,
    boxes: Any = None,
    box_finding: Any = None,
    min_score: ArrayLike = 0.3,
    max_per_finding: int = 3,
    caption: str = "",
    only: Sequence[int] | None = None,
    long_side: int = 1200,
    legend: bool = True,
    pixel_aspect: float = 1.0,
    tint_from: ArrayLike | None = None,
) -> Image.Image:
    """Draw candidates, maps and annotated boxes on a radiograph.

    Shown are candidates with score >= min_score, the best `max_per_finding` of each finding: the box in the finding's
    colour, a tag with name and score, and four ticks around the peak (unless the box is too small for them). Where a
    shown finding's map p exceeds its min_score, its colour tints the grey with opacity

        0.45 · ((p − min_score) / (1 − min_score))^0.6.

    Pixels that the network has not seen (NaN in the maps) are hatched. Annotated boxes are white and dashed. Legend and
    caption stand below the picture, not on it.

    A picture for people: sizes are changed and rounded. Numbers are in the candidates and maps themselves.

    Args:
        image: (1, H, W) or (H, W), 0..1, bright is dense.
        candidates: (M, 8) table, columns of `bundle.metrics.candidates.COLUMNS`, in the frame of `image`.
        findings: names of the K findings; none where none was looked for.
        maps: (K, h, w) probabilities over the whole image, NaN where there is none. Any h and w: coarser than the
            image saves memory.
        boxes: (N, 4) annotated boxes [x0, y0, x1, y1], in the frame of `image`; rows of NaN are padding.
        box_finding: (N,) their findings, -1 for padding; None leaves them without a name.
        min_score: the lowest score shown; one, or (K,), each finding's. One that is not below 1 shows nothing.
        max_per_finding: the most candidates shown of one finding.
        caption: written below the legend.
        only: places of the findings to show; None shows all.
        long_side: the picture's long side in pixels. Images of less than two thirds of it are enlarged to that, so
            that letters do not cover a small image.
        legend: whether to add legend and caption; without them the picture is a thumbnail, with large scores only.
        pixel_aspect: row distance / column distance of `image`; the picture's own pixels are square.
        tint_from: where the tint begins instead of at `min_score`: one, or (K,), each finding's.

    Returns:
        RGB picture. Equal input gives equal pixels.

    Raises:
        ValueError: where shapes do not fit or a finding has no name.
    """
    grey = _array(image)
    grey = grey[0] if grey.ndim == 3 and grey.shape[0] == 1 else grey
    if grey.ndim != 2 or not grey.size:
        raise ValueError(f"draw_overlay: image must be (1, H, W) or (H, W), got {_array(image).shape}")
    table = _array(candidates).reshape(-1, len(COLUMNS)) if np.size(candidates) else np.zeros((0, len(COLUMNS)))
    truth, truth_finding = _truth(boxes, box_finding, len(findings))
    used = np.concatenate([table[:, FINDING], truth_finding])
    if used.size and used.max() >= len(findings):
        raise ValueError(f"draw_overlay: finding number {int(used.max())} but only {len(findings)} names")
    lowest = np.broadcast_to(np.asarray(min_score, np.float64), len(findings))
    if not (lowest >= 0).all() or (np.ndim(min_score) == 0 and not np.less(min_score, 1)):
        raise ValueError(f"draw_overlay: min_score must lie in [0, 1), got {np.asarray(min_score).tolist()}")

    tinted = lowest if tint_from is None else np.broadcast_to(np.asarray(tint_from, np.float64), len(findings))
    height, width = grey.shape
    high = height * pixel_aspect
    side = min(long_side, max(math.ceil(high), width, round(long_side * 2 / 3)))
    scale = side / max(high, width)
    size = (max(1, round(width * scale)), max(1, round(high * scale)))
    style = Style.for_picture(*size, thumbnail=not legend)
    to_picture = np.array([size[0] / width, size[1] / height])

    wanted = sorted(set(range(len(findings)) if only is None else only))
    shown = table[rows_to_show(table, wanted, lowest, max_per_finding)[::-1]]  # the best last: drawn on top
    present = sorted({int(k) for k in shown[:, FINDING]})
    visible = np.isin(truth_finding, [*wanted, -1])
    truth, truth_finding = truth[visible], truth_finding[visible]

    levels = np.round(np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(levels).resize(size, Image.Resampling.LANCZOS)
    pixels = np.repeat(np.asarray(picture, np.float32)[..., None], 3, axis=2)
    hatched = False
    if maps is not None:
        values = _array(maps)
        if values.ndim != 3 or len(values) != len(findings):
            raise ValueError(f"draw_overlay: maps must be ({len(findings)}, h, w), got {values.shape}")
        for k in present:
            pixels = _tint(pixels, values[k], finding_colour(k), float(tinted[k]))
        pixels, hatched = _hatch(pixels, np.isnan(values).all(0), style)
    picture = Image.fromarray(np.round(pixels).astype(np.uint8))

    draw = ImageDraw.Draw(picture)
    annotated = [(int(k), _box(box, to_picture)) for k, box in zip(truth_finding, truth, strict=True)]
    for row in shown:
        draw_box(draw, _box(row[BOX], to_picture), finding_colour(int(row[FINDING])), style)
    for _, box in annotated:
        draw_box(draw, box, TRUTH, style, dashed=True)
    peaks = shown[:, [PEAK_X, PEAK_Y]] * to_picture
    reach = 6 * style.line
    tags = Tags(draw, size, style, [(x - reach, y - reach, x + reach, y + reach) for x, y in peaks.tolist()])
    for row, (x, y) in zip(shown, peaks.tolist(), strict=True):
        finding, box = int(row[FINDING]), _box(row[BOX], to_picture)
        draw_peak(draw, x, y, finding_colour(finding), style, min(box[2] - box[0], box[3] - box[1]))
        text = f"{findings[finding]} {score_text(row[SCORE])}" if legend else score_text(row[SCORE])
        tags.place(box, text, finding_colour(finding))
    for k, box in annotated:
        if legend and k >= 0:
            tags.place(box, findings[k], TRUTH, below=True)
    if not legend:
        return picture

    entries = [Entry("box", finding_colour(k), findings[k]) for k in present]
    if not present and findings:
        entries.append(Entry("box", "#6e7681", f"no candidate with a score of {_least(lowest)} or more"))
    elif present and maps is not None:
        least = _least(tinted[present])
        entries.append(Entry("fill", _mixed(finding_colour(present[0])), f"tint: patch score above {least}"))
    if len(truth):
        entries.append(Entry("dashed", TRUTH, "annotated"))
    if hatched:
        entries.append(Entry("hatch", "#aeb6c0", "not seen by the network"))
    return add_legend(picture, entries, caption, style)


def score_text(score: float) -> str:
    """Two digits; what is nearly but not 1 does not read as 1."""
    return ">0.99" if 0.995 <= score < 1 else f"{score:.2f}"


def _array(values: Any) -> NDArray[np.floating[Any]]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().float().numpy() if not values.dtype.is_floating_point else values.detach().cpu()
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _truth(boxes: Any, box_finding: Any, count: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
    """Boxes without padding, and their findings, -1 where no name is known."""
    if boxes is None or not np.size(boxes):
        return np.zeros((0, 4)), np.zeros(0, np.int64)
    truth = _array(boxes).reshape(-1, 4)
    finding = np.full(len(truth), -1) if box_finding is None else _array(box_finding).astype(np.int64).reshape(-1)
    if len(finding) != len(truth):
        raise ValueError(f"draw_overlay: {len(truth)} boxes but {len(finding)} findings of boxes")
    keep = np.isfinite(truth).all(1) & ((finding >= 0) | (box_finding is None))
    return truth[keep], finding[keep].astype(np.int64)


def _box(box: NDArray[np.floating[Any]], to_picture: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (box.reshape(2, 2) * to_picture).ravel().tolist()
    return x0, y0, x1, y1


def _tint(
    pixels: NDArray[np.float32], probability: NDArray[np.floating[Any]], colour: str, floor: float
) -> NDArray[np.float32]:
    height, width = pixels.shape[:2]
    whole = Image.fromarray(np.nan_to_num(probability).astype(np.float32))
    p = np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))
    span = max(1 - floor, 1e-6)
    opacity = (_TINT * np.clip((p - floor) / span, 0, 1) ** _TINT_GAMMA)[..., None]
    ink = np.asarray(rgb(colour), np.float32)
    return (pixels * (1 - opacity) + ink * opacity).astype(np.float32)


def _hatch(pixels: NDArray[np.float32], unseen: NDArray[np.bool_], style: Style) -> tuple[NDArray[np.float32], bool]:
    """Light diagonals over what the network has not seen, and whether there is any."""
    if not unseen.any():
        return pixels, False
    height, width = pixels.shape[:2]
    where = np.asarray(Image.fromarray(unseen).resize((width, height), Image.Resampling.NEAREST))
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // style.line % 6) == 0
    lines = (where & stripe)[..., None]
    hatched: NDArray[np.float32] = np.where(lines, 0.6 * pixels + 0.4 * 190, pixels).astype(np.float32)
    return hatched, True


def _least(scores: NDArray[np.float64]) -> str:
    """Lowest scores in words."""
    low, high = float(scores.min()), float(scores.max())
    return f"{low:.2f}" if low == high else f"{low:.2f} to {min(high, 1):.2f} (by finding)"


def _mixed(colour: str) -> str:
    """The colour as a full tint shows it on middle grey."""
    return "#" + "".join(f"{round(_TINT * c + (1 - _TINT) * 96):02X}" for c in rgb(colour))
