"""The lesion of a further CT taken out: lung from elsewhere in the same chest put in its place, vessels and all.

A mass is too large for the mean of what lies around it, which serves a nodule (`remove_nodule`): 55 mm without a vessel
show on a projection as a hole. Lung of the same size is copied instead, moved or mirrored, from where it fits best.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.source import LOBES, SPACING
from bundle.data.demo.subjects import LESION

MARGIN_MM = 7.0
_SURE_MM = 4.0
"""Of the margin, what is replaced wholly; the rest fades into what was there."""
_CLOSED_MM = 16.0
"""Gaps between lesion and lung up to this count as lesion."""
_SMOOTH_MM = 10.0
_STEP_MM = (6.0, 6.0, 5.0)
_REACH_MM = (36.0, 60.0, 110.0)
_SAMPLES = 3000
_PARENCHYMA, _USUAL = -700, -850
_SOLID = -500


def remove_lesion(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.bool_]]:
    """Replace a lesion by lung.

    The region is the lesion grown by 7 mm, without chest wall, mediastinum and diaphragm. What it gets differs from the
    copied lung by the slow difference of the parenchyma here and there (a Gaussian of 10 mm). Where the copied place is
    no lung, the parenchyma's mean and noise stand instead.

    Args:
        hu: (X, Y, Z) Hounsfield units in the frame of :mod:`bundle.data.demo.source`; not changed.
        labels: (X, Y, Z) labels of :mod:`bundle.data.demo.subjects`; not changed.
        seed: of the sampling of places, and of the noise.

    Returns:
        The mended Hounsfield units, labels with lobes in place of the lesion, and the region.

    Raises:
        ValueError: there is no lesion, or nowhere lung of its size.
    """
    lesion = labels == LESION
    if not lesion.any():
        raise ValueError(f"Found no voxel labelled {LESION}, the lesion that is to be taken out.")
    lung = np.isin(labels, LOBES)
    cut = around(lesion, tuple(int(np.ceil((MARGIN_MM + 3 * _SMOOTH_MM) / s)) for s in SPACING))
    away = ndimage.distance_transform_edt(~lesion[cut], sampling=SPACING)
    # The edge of a lesion in thick slices is neither lesion nor lung, and would stay as a shell.
    size = [2 * round(_CLOSED_MM / 2 / s) + 1 for s in SPACING]
    chest = ndimage.minimum_filter(ndimage.maximum_filter((lung | lesion)[cut], size), size)
    region = (away <= MARGIN_MM) & chest
    first = np.array([c.start for c in cut])
    place = np.argwhere(region) + first  # (N, 3)
    donor = _best_donor(place, lung & ~_grown(lesion), hu, np.random.default_rng(seed))
    source = _donor_index(place, donor, hu.shape)
    values = np.full(region.shape, np.nan, np.float32)
    usable = lung[tuple(source.T)] & ~lesion[tuple(source.T)]
    values[region] = np.where(usable, hu[tuple(source.T)], np.nan)

    known = lung[cut] & (hu[cut] < _PARENCHYMA) & (away > _SURE_MM)
    here = _mean(hu[cut], known)
    there = _mean(np.nan_to_num(values), np.isfinite(values) & (values < _PARENCHYMA))
    noise = np.random.default_rng(seed + 1).normal(0, 1, region.shape)
    noise = ndimage.gaussian_filter(noise, (1.5, 1.5, 0.5))
    plain = here + noise * (float(hu[cut][known].std()) / noise.std())
    filled = np.where(np.isfinite(values), values + np.clip(here - there, -150, 150), plain)
    fade = np.clip((MARGIN_MM - away) / (MARGIN_MM - _SURE_MM), 0, 1)

    hu, labels = hu.copy(), labels.copy()
    mixed = fade * filled + (1 - fade) * hu[cut]
    hu[cut][region] = np.clip(mixed, -1000, None)[region].astype(np.int16)
    lobes = np.where(np.isin(labels[cut], LOBES), labels[cut], 0)
    nearest = ndimage.distance_transform_edt(lobes == 0, return_distances=False, return_indices=True)
    labels[cut][region] = lobes[tuple(nearest)][region]
    whole = np.zeros(hu.shape, bool)
    whole[cut] = region
    return hu, labels, whole


def around(mask: NDArray[np.bool_], margin: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest box that holds a mask, widened by a margin in voxels."""
    cut = []
    for axis, more in enumerate(margin):
        some = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        cut.append(slice(max(int(some[0]) - more, 0), int(some[-1]) + 1 + more))
    return tuple(cut)


def _grown(lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    size = [2 * int(MARGIN_MM / s) + 1 for s in SPACING]
    return np.asarray(ndimage.maximum_filter(lesion, size))


def _mean(values: NDArray, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Normalised convolution: the mean of what is known nearby, far from it that of all."""
    sigma = [_SMOOTH_MM / s for s in SPACING]
    usual = float(values[where].mean()) if where.any() else float(_USUAL)
    known = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(where, values, 0).astype(np.float32), sigma)
    return np.asarray((total + 1e-2 * usual) / (known + 1e-2), np.float32)


def _donor_index(
    place: NDArray[np.intp], donor: tuple[bool, NDArray[np.intp]], shape: tuple[int, ...]
) -> NDArray[np.intp]:
    """Voxels that are copied, (N, 3), for the voxels that they are copied to."""
    mirrored, shift = donor
    moved = place + shift
    if mirrored:
        moved[:, 0] = shape[0] - 1 - place[:, 0] + shift[0]
    return np.clip(moved, 0, np.array(shape) - 1)


def _best_donor(
    place: NDArray[np.intp], lung: NDArray[np.bool_], hu: NDArray[np.int16], rng: np.random.Generator
) -> tuple[bool, NDArray[np.intp]]:
    """Whether to mirror, and the shift in voxels: most lung, least of it solid, and then the nearest."""
    some = place[rng.choice(len(place), min(_SAMPLES, len(place)), replace=False)]
    airy = lung & (hu < _SOLID)
    best: tuple[float, tuple[bool, NDArray[np.intp]]] | None = None
    axes = [np.arange(-reach, reach + step, step) for reach, step in zip(_REACH_MM, _STEP_MM, strict=True)]
    for mirrored in (False, True):
        for offset in np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3):
            shift = np.rint(offset / SPACING).astype(np.intp)
            there = tuple(_donor_index(some, (mirrored, shift), hu.shape).T)
            outside = 1 - float(lung[there].mean())
            if outside > 0.5:
                continue
            solid = outside + float(lung[there].mean()) - float(airy[there].mean())
            cost = 4 * outside + solid + 0.001 * float(np.abs(offset).sum())
            if best is None or cost < best[0]:
                best = (cost, (mirrored, shift))
    if best is None:
        raise ValueError("Found no lung of the lesion's size to put in its place, mirrored or moved by up to 11 cm.")
    return best[1]
