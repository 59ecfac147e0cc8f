"""From a patch probability map to candidates, without torch: scored regions of one finding on one image."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# The columns of a candidate table (M, 8), float64. Peak and box are in the stored frame of `bundle.grid`.
COLUMNS = ("finding", "score", "peak_x", "peak_y", "x0", "y0", "x1", "y1")
FINDING, SCORE, PEAK_X, PEAK_Y = range(4)
PEAK = slice(PEAK_X, PEAK_Y + 1)
BOX = slice(4, 8)

# The nearest four neighbours first: where two of eight are equally high, ascent prefers the shorter way.
_NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
_SLIVER = 1e-6  # stored pixels: a patch that shows less of the image than rounding can make lies in the pad


def candidate_tables(
    maps: NDArray[np.floating[Any]],
    to_stored: ArrayLike,
    stored_size: ArrayLike,
    floor: float = 0.05,
    smoothing: float = 0.0,
    box_fraction: float = 0.5,
    max_candidates: int | None = None,
) -> list[Floats]:
    """Local maxima of patch maps, grown by watershed, as scored regions in stored pixels.

    Patches below `floor`, and patches wholly in the pad, are removed. Every other patch belongs to the local maximum
    that steepest ascent over its eight neighbours reaches (the watershed of the negated map), so two lesions that
    touch stay two. A plateau is one maximum whatever its shape; a shelf beside higher ground belongs, patch by patch,
    to the nearest way up. Of a basin with maximum s, the region is its patches with score >= box_fraction · s (always
    8-connected: every step of an ascent is at least as high as the last), cut to the image, and

        score = s,   peak = sum_j p_j c_j / sum_j p_j,   box = the extent of the region,

    with p_j the score and c_j the centre of the visible part of patch j of the region. So the peak points between
    patches where a small lesion lies across them, and to the middle of a large one.

    Works in float64, in the order of the patches: an image gives the same candidates in any batch.

    Not a segmentation: a box is made of whole patches.

    Args:
        maps: (B, K, Gh, Gw) probabilities 0..1. NaN is allowed only in patches wholly in the pad.
        to_stored: (B, 3, 3) affines, grid to stored frame (`bundle.grid.grid_to_stored`): scale and offset only.
        stored_size: (B, 2), each image's (H, W) in stored pixels.
        floor: the lowest score of a patch that can belong to a candidate. Patches at 0 never do.
        smoothing: sigma, in patches, of a Gaussian applied first (its weights renormalised over the patches that show
            the image); 0 for none. The score is then the maximum of the smoothed map.
        box_fraction: share of its maximum, 0..1, down to which a region reaches.
        max_candidates: the most candidates kept per finding and image, highest first; None keeps all.

    Returns:
        For each image an (M, 8) float64 table, columns as in `COLUMNS`, ordered by finding, then falling
        score, then the place of the maximum (row by row).

    Raises:
        ValueError: where shapes, ranges or settings are not as above, a map is NaN inside the image, or an affine
            turns, shears or collapses.
    """
    if maps.ndim != 4:
        raise ValueError(f"maps must be (B, K, Gh, Gw), got {tuple(maps.shape)}")
    if not 0 <= floor <= 1 or not 0 <= box_fraction <= 1:
        raise ValueError(f"floor and box_fraction must lie in 0..1, got {floor} and {box_fraction}")
    if smoothing < 0 or (max_candidates is not None and max_candidates < 1):
        raise ValueError(f"smoothing must be >= 0 and max_candidates >= 1, got {smoothing} and {max_candidates}")
    b, k, gh, gw = maps.shape
    x_low, x_high, y_low, y_high = visible_patches(to_stored, stored_size, (gh, gw))
    if len(x_low) != b:
        raise ValueError(f"{b} maps but {len(x_low)} affines")
    visible = ((y_high > y_low)[:, :, None] & (x_high > x_low)[:, None, :])[:, None]  # (B, 1, Gh, Gw)
    seen = np.broadcast_to(visible, maps.shape)
    values = np.asarray(maps, np.float64)
    inside = values[seen]
    if np.isnan(inside).any():
        raise ValueError("a patch map is NaN inside its image: the network failed, which is not 'no finding'")
    if inside.size and (inside.min() < 0 or inside.max() > 1):
        raise ValueError(f"maps must be probabilities 0..1, got {inside.min():g}..{inside.max():g}")
    if smoothing:
        values = _smooth(values, visible, smoothing)

    above = seen & (np.where(seen, values, 0.0) >= max(floor, np.finfo(np.float64).tiny))
    score, basin, top = watershed_basins(values.reshape(b * k, gh, gw), above.reshape(b * k, gh, gw))
    where = np.flatnonzero(above)
    chosen = score >= box_fraction * score[top][basin]
    score_in, basin_in, where_in = score[chosen], basin[chosen], where[chosen]
    image, row, col = where_in // (k * gh * gw), where_in // gw % gh, where_in % gw
    left, right, upper, lower = x_low[image, col], x_high[image, col], y_low[image, row], y_high[image, row]

    count = len(top)
    weight = np.bincount(basin_in, score_in, count)
    table = np.empty((count, len(COLUMNS)))
    table[:, FINDING] = where[top] // (gh * gw) % k
    table[:, SCORE] = score[top]
    table[:, PEAK_X] = np.bincount(basin_in, score_in * (left + right) / 2, count) / weight
    table[:, PEAK_Y] = np.bincount(basin_in, score_in * (upper + lower) / 2, count) / weight
    table[:, BOX] = [np.inf, np.inf, -np.inf, -np.inf]
    for column, reduce, edge in (
        (4, np.minimum, left),
        (5, np.minimum, upper),
        (6, np.maximum, right),
        (7, np.maximum, lower),
    ):
        reduce.at(table[:, column], basin_in, edge)

    map_of = where[top] // (gh * gw)
    order = np.lexsort((where[top], -table[:, SCORE], map_of))
    if max_candidates is not None:
        per_map = np.bincount(map_of, minlength=b * k)
        rank = np.arange(count) - np.repeat(np.cumsum(per_map) - per_map, per_map)
        order = order[rank < max_candidates]
    per_image = np.bincount(map_of[order] // k, minlength=b)
    return [part.copy() for part in np.split(table[order], np.cumsum(per_image)[:-1])] if b else []


def visible_patches(
    to_stored: ArrayLike, stored_size: ArrayLike, grid_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The part of each grid column and row that shows the image.

    Args:
        to_stored: (B, 3, 3) affines, grid to stored frame: scale and offset only.
        stored_size: (B, 2), each image's (H, W) in stored pixels.
        grid_size: (Gh, Gw).

    Returns:
        x_low, x_high, each (B, Gw), and y_low, y_high, each (B, Gh): the stored-frame edges of each column and row,
        cut to the image; low == high where a column or row lies wholly in the pad.

    Raises:
        ValueError: where shapes do not fit, or an affine turns, shears or collapses.
    """
    affine = np.asarray(to_stored, np.float64)
    size = np.asarray(stored_size, np.float64)
    if affine.ndim != 3 or affine.shape[1:] != (3, 3) or size.shape != (len(affine), 2):
        raise ValueError(f"to_stored must be (B, 3, 3) and stored_size (B, 2), got {affine.shape} and {size.shape}")
    scale = np.abs(affine[:, [0, 1], [0, 1]])
    turn = np.abs(affine[:, [0, 1], [1, 0]]).max(initial=0.0)
    if not np.isfinite(affine).all() or (scale <= 0).any() or turn > 1e-9 * scale.max(initial=1.0):
        raise ValueError("to_stored must be scale and offset only: a turned patch has no box in the stored image")
    if not (size > 0).all():
        raise ValueError("stored_size must be positive")

    def edges(axis: int, cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        edge = affine[:, axis, axis, None] * np.arange(cells + 1) + affine[:, axis, 2, None]  # (B, cells + 1)
        edge = np.clip(edge, 0.0, size[:, 1 - axis, None])
        low, high = np.minimum(edge[:, :-1], edge[:, 1:]), np.maximum(edge[:, :-1], edge[:, 1:])
        return low, np.where(high - low > _SLIVER, high, low)

    return *edges(0, grid_size[1]), *edges(1, grid_size[0])


def watershed_basins(
    values: NDArray[np.float64], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Basins of steepest ascent over eight neighbours, for many maps at once and without a loop over them.

    Each cell points to its highest strictly higher neighbour; log2(path) rounds of pointer jumping find the summit. A
    cell of a shelf (equal neighbours, none higher) points to an equal neighbour that already has a way up, round by
    round, which is the nearest way; the cells then left without one are the summits' plateaus, joined into one basin
    each. Maps without equal neighbours, which is nearly all, skip those rounds.

    Args:
        values: (N, H, W).
        mask: (N, H, W), True for the cells to divide.

    Returns:
        The V masked cells' values (V,), in the order of `np.flatnonzero(mask)`; each one's basin (V,), 0..M-1,
        basins numbered by the place of their first summit cell; and each basin's summit (M,) as an index into the V.
    """
    n, h, w = values.shape
    padded = np.full((n, h + 2, w + 2), -np.inf)
    np.copyto(padded[:, 1:-1, 1:-1], values, where=mask)
    stride, flat = w + 2, padded.ravel()
    here = np.flatnonzero(flat > -np.inf)
    compact = np.full(flat.shape, -1, np.int64)  # padded place -> 0..V-1
    compact[here] = np.arange(len(here))
    score = flat[here]
    best, up, level = score.copy(), here.copy(), np.zeros(len(here), bool)
    for step in (dy * stride + dx for dy, dx in _NEIGHBOURS):
        other = flat[here + step]
        level |= other == score
        higher = other > best
        np.copyto(best, other, where=higher)
        np.copyto(up, here + step, where=higher)
    root = compact[up]
    pending = np.flatnonzero(level & (up == here))
    if len(pending):
        _resolve_plateaus(root, pending, here, compact, flat, stride)
    while not np.array_equal(root, hop := root[root]):
        root = hop
    is_summit = root == np.arange(len(root))
    return score, (np.cumsum(is_summit) - 1)[root], np.flatnonzero(is_summit)


def _resolve_plateaus(
    root: NDArray[np.int64],
    pending: NDArray[np.int64],
    here: NDArray[np.int64],
    compact: NDArray[np.int64],
    flat: NDArray[np.float64],
    stride: int,
) -> None:
    """Point the `pending` cells of `root` (level neighbours, none higher) to a way up, or to one summit cell."""
    steps = np.array([dy * stride + dx for dy, dx in _NEIGHBOURS])
    near = here[pending][:, None] + steps  # (P, 8)
    near = np.where(flat[near] == flat[here[pending]][:, None], compact[near], -1)  # level neighbours, else -1
    open_ = np.zeros(len(here) + 1, bool)  # the last place answers for -1
    open_[pending] = True
    while True:
        exits = (near >= 0) & ~open_[near]
        found = exits.any(1)
        if not found.any():
            break
        first = exits[found].argmax(1)
        root[pending[found]] = near[found, first]
        open_[pending[found]] = False
        pending, near = pending[~found], near[~found]
    # what is left are summits: every cell takes the first cell of its plateau, by spreading the least index
    near = np.where(near >= 0, near, pending[:, None])
    while True:
        least = np.minimum(root[pending], root[near].min(1, initial=len(here)))
        least = root[least]  # jump: the rounds grow with the logarithm of the plateau's length
        if np.array_equal(least, root[pending]):
            break
        root[pending] = least


def _smooth(values: Floats, visible: NDArray[np.bool_], sigma: float) -> Floats:
    """Gaussian of (B, K, Gh, Gw) maps over the patches that show the image: blur(p · v) / blur(v)."""
    from scipy.ndimage import correlate1d  # for those who smooth

    # the Gaussian's share of each patch, up to four sigma: of a patch or less, its value in the middle is not that
    reach = int(max(4 * sigma, 0.5) + 0.5)
    edges = [math.erf((x - 0.5) / (math.sqrt(2) * sigma)) / 2 for x in range(-reach, reach + 2)]
    kernel = np.diff(edges).clip(min=0)

    def blur(maps: Floats) -> Floats:
        for axis in (-2, -1):
            maps = correlate1d(maps, kernel, axis=axis, mode="constant")
        return maps

    shown = blur(np.asarray(visible, np.float64))
    smooth: Floats = blur(np.where(visible, values, 0.0)) / np.maximum(shown, np.finfo(np.float64).tiny)
    return smooth.clip(0, 1)
