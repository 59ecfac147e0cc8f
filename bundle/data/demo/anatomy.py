"""The CT prepared for projection: table, contrast agent and real nodule taken out; lungs, lobes and heart measured."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bundle.data.demo.removal import around, remove_lesion
from bundle.data.demo.source import LOBES, SPACING, read_ct, read_nodule
from bundle.data.demo.subjects import LIDC, NAMES, Subject, read_subject

HALF = (2 * SPACING[0], 2 * SPACING[1], SPACING[2])
"""Size in mm of a voxel of the half-resolution volumes (axes 0 and 1 halved)."""
LEFT, RIGHT = 0, 1
LOBE_NAMES = {
    10: "left upper lobe",
    11: "left lower lobe",
    12: "right upper lobe",
    13: "right middle lobe",
    14: "right lower lobe",
}
_HEART = 51
_BONES = (*range(25, 51), *range(69, 75), *range(91, 117), 118)
_NODULE_LOBE = 11
_DOME_MM, _APEX_MM = 146.25, 307.5
"""Mean of both halves of the diaphragm, and apices, of LIDC-IDRI-0001; apices of others lie there as well."""
_SEEN_MM = (332.5, 90.0)
"""Between which a usual view looks at it."""
_NODULE_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Anatomy:
    """Attenuation relative to water (1 = water, 0 = air) and organ maps of one chest.

    Attributes:
        tissue: (512, 512, 133) attenuation without table, contrast agent and nodule.
        half: (256, 256, 133) the same at :data:`HALF` spacing, smoothed: what a lesion replaces.
        bone: (256, 256, 133) attenuation of bone above that of water, 0 elsewhere.
        lobe: (256, 256, 133) TotalSegmentator lobe number, 0 outside the lungs.
        depth: (2, 256, 256, 133) mm from the surface of the left and of the right lung, 0 outside it.
        heart: (256, 256, 133) mm from the heart, 0 inside it; stretched so that a growing heart grows leftwards.
        dome: mm of the height of the left and of the right half of the diaphragm.
        nodule: (512, 512, 133) True where the real lesion was taken out.
        tall: by how much more of it than of LIDC-IDRI-0001 an image shows from head to foot: a chest in deep breath is
            taller, and should not be stretched as that one is.
    """

    tissue: NDArray[np.float32]
    half: NDArray[np.float32]
    bone: NDArray[np.float32]
    lobe: NDArray[np.uint8]
    depth: NDArray[np.float32]
    heart: NDArray[np.float32]
    dome: tuple[float, float]
    nodule: NDArray[np.bool_]
    tall: float = 1.0


def _body(hu: NDArray[np.int16]) -> NDArray[np.bool_]:
    """The patient without table and blanket, at half resolution."""
    # An opening by 7 mm cuts blanket and table off; grey filters are separable, and so faster than binary ones.
    solid = (hu[::2, ::2] > -300).view(np.uint8)
    solid = ndimage.maximum_filter(ndimage.minimum_filter(solid, (5, 5, 1)), (5, 5, 1)).astype(bool)
    parts, count = ndimage.label(solid)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]) if count else solid
    filled = np.stack([ndimage.binary_fill_holes(largest[:, :, k]) for k in range(hu.shape[2])], axis=2)
    return ndimage.maximum_filter(filled, (3, 3, 1))


def remove_nodule(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], readers: list[NDArray[np.bool_]], seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.bool_]]:
    """Replace the nodule by lung like that around it.

    The region is the readers' union grown by 6 mm, without the chest wall. It is filled with the normalised
    convolution of the lung around it (parenchyma below -700 HU, Gaussian of 8 mm) plus noise of that lung's own
    standard deviation, so that neither its mean nor its texture marks the place.

    Args:
        hu: (X, Y, Z) Hounsfield units in the frame of :mod:`~bundle.data.demo.source`; not changed.
        labels: (X, Y, Z) TotalSegmentator labels; not changed.
        readers: the readers' masks.
        seed: of the noise.

    Returns:
        The mended Hounsfield units, the mended labels (the place is left lower lobe), and the region.
    """
    union = np.logical_or.reduce(readers)
    cut = around(union, (40, 40, 12))
    near = ndimage.distance_transform_edt(~union[cut], sampling=SPACING) <= _NODULE_MARGIN_MM
    # The chest wall is what no lobe label covers and no reader drew: it stays, or the pleura would get a dent.
    region = near & (np.isin(labels[cut], LOBES) | union[cut])
    # The nodule touches the pleura, and there the lung label itself may stop short of the readers' outline.
    lung = np.isin(labels[cut], LOBES) & (hu[cut] < -700) & ~region
    values = np.where(lung, hu[cut], 0).astype(np.float32)
    sigma = [8 / s for s in SPACING]
    mean = ndimage.gaussian_filter(values, sigma) / np.maximum(
        ndimage.gaussian_filter(lung.astype(np.float32), sigma), 1e-3
    )
    noise = np.random.default_rng(seed).normal(0, hu[cut][lung].std(), region.shape)
    soft = ndimage.gaussian_filter(noise, (1.5, 1.5, 0.5))
    soft *= noise.std() / soft.std()
    hu, labels = hu.copy(), labels.copy()
    hu[cut][region] = (mean + soft)[region].astype(np.int16)
    labels[cut][region] = _NODULE_LOBE
    whole = np.zeros(hu.shape, dtype=bool)
    whole[cut] = region
    return hu, labels, whole


def _distances(lobe: NDArray[np.uint8], heart: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    depth = np.zeros((2, *lobe.shape), np.float32)
    for k, side in enumerate((LOBES[:2], LOBES[2:])):
        lung = np.isin(lobe, side)
        cut = around(lung, (1, 1, 1))
        depth[k][cut] = ndimage.distance_transform_edt(lung[cut], sampling=HALF)
    far = np.full(lobe.shape, 99, np.float32)
    cut = around(heart, (40, 40, 20))
    centre = [
        np.average(np.arange(n), weights=heart.sum(axis=other))
        for n, other in zip(heart.shape[::2], ((1, 2), (0, 1)), strict=True)
    ]
    near = ndimage.distance_transform_edt(~heart[cut], sampling=HALF).astype(np.float32)
    # A large heart grows to the patient's left and downwards; rightwards and upwards it moves about half as far.
    x = (np.arange(cut[0].start, cut[0].start + near.shape[0]) - centre[0])[:, None, None] * HALF[0]
    z = (np.arange(cut[2].start, cut[2].start + near.shape[2]) - centre[1])[None, None, :] * HALF[2]
    radius = np.sqrt(x**2 + z**2) + 20
    far[cut] = near * (1 + np.clip(-x, 0, None) / radius + 1.5 * np.clip(z, 0, None) / radius)
    return depth, far


def _dome(inside: NDArray[np.bool_]) -> float:
    """Height in mm of the top of the diaphragm under some lobes: lung much further down hides behind the abdomen."""
    floor = np.argmax(inside, axis=2)[inside.any(axis=2)]
    return float(np.percentile(floor, 85)) * HALF[2]


def load_anatomy(subject: Subject = LIDC) -> Anatomy:
    """Prepare a chest, once per process (some 8 s, 0.4 GB).

    Args:
        subject: whose.

    Returns:
        The anatomy, with the CT's own lesion removed.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: see :func:`~bundle.data.demo.source.read_ct` and
            :func:`~bundle.data.demo.subjects.read_subject`.
    """
    return _prepared(subject)


@lru_cache(maxsize=len(NAMES))
def _prepared(subject: Subject) -> Anatomy:
    lowest = 0.0
    if subject == LIDC:
        hu, labels = read_ct()
        hu, labels, nodule = remove_nodule(hu, labels, read_nodule())
    else:
        volumes = read_subject(subject)
        lowest = volumes.guessed_below
        hu, labels, nodule = remove_lesion(volumes.hu, volumes.labels)
        del volumes
    bones = np.isin(labels, _BONES)
    # The scan was made with contrast agent, which a plain radiograph does not show: what is denser than muscle is
    # taken down to blood unless it is bone (label maps cut bones short, hence the dilation).
    near_bone = ndimage.maximum_filter(bones[::2, ::2], (3, 3, 5)).repeat(2, axis=0).repeat(2, axis=1)
    hu = np.where((hu > 80) & ~near_bone, np.int16(50), hu)
    # The cap holds what contrast agent lies against bone, in the right subclavian vein, to that of the bone.
    tissue: NDArray[np.float32] = np.clip((hu.astype(np.float32) + 1000) / 1000, 0, 1.6).astype(np.float32)
    body = _body(hu).repeat(2, axis=0).repeat(2, axis=1)
    tissue *= body
    pairs = tissue.reshape(256, 2, 256, 2, -1).mean(axis=(1, 3))
    lobe = np.ascontiguousarray(np.where(np.isin(labels, LOBES), labels, 0).astype(np.uint8)[::2, ::2])
    depth, heart = _distances(lobe, labels[::2, ::2] == _HEART)
    bone = np.where(bones, np.clip(tissue - 1, 0, None), 0).reshape(256, 2, 256, 2, -1).mean(axis=(1, 3))
    half = np.ascontiguousarray(ndimage.gaussian_filter(pairs, (1, 1, 0)))
    # The upper lobe rests on the heart and would pass for a high diaphragm.
    domes = (_dome(lobe == 11), _dome((lobe == 13) | (lobe == 14)))
    tall = 1.0 if subject == LIDC else _tall(domes, lowest)
    return Anatomy(tissue, half, bone, lobe, depth, heart, domes, nodule, tall)


def _tall(domes: tuple[float, float], lowest_mm: float) -> float:
    """From the height of the lungs above the domes; a usual view is not moved below what was scanned by that."""
    lungs = (_APEX_MM - 0.5 * (domes[0] + domes[1])) / (_APEX_MM - _DOME_MM)
    return max(1.0, min(lungs, (_SEEN_MM[0] - lowest_mm) / (_SEEN_MM[0] - _SEEN_MM[1])))
