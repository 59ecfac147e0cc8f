"""FROC by strata of the lesions: sensitivity for some lesions, with the false positives of all images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.records import FindingRecords, Floats, Integers, Records, lesion_rows, of_finding
from bundle.metrics.records_check import check_records
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, put_oracle, put_sensitivities, share_of

SIZE_TIERS = ("size_small", "size_mid", "size_large")
SIZE_RULE = "area of the box in patches: size_small below 1, size_mid 1 to 4, size_large above 4"
MM_TIERS = {"mm_to_15": 15.0, "mm_15_to_30": 30.0, "mm_30_to_100": 100.0, "mm_above_100": np.inf}  # name -> longest
MM_RULE = "longest side of the box in mm, by the image's pixel spacing; one that is the detector's is a little too long"
NO_MM = "no figures by lesion size in mm: the pixel spacing of no image with lesions is known"
NO_SIZES = "no figures by lesion size: the patches' geometry was not given"
NONE_OF_SIZE = "no lesions of this size"
_SLACK = 1e-9  # a box of exactly one patch must not fall to either side by the affine's rounding


def by_size(
    records: Records,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = FP_RATES,
    patch_area: ArrayLike | None = None,
) -> tuple[Metrics, Notes]:
    """FROC by lesion size: smaller than a patch, one to four patches, larger; and in millimetres.

    Keys, with <f> a finding or `mean` (of the findings that have such lesions) and <tier> one of `SIZE_TIERS` or
    `MM_TIERS`: `froc/<f>/<tier>/sens_at_<x>fp` with `/low` and `/high`, `froc/<f>/<tier>/oracle`,
    `n_lesions/<f>/<tier>`. A mean of findings gives seven lesions of one as much weight as fifty of another; beside it
    stands `froc/mean/<tier>/sens_at_<x>fp_pooled`, the share of all lesions of the tier that are found, each finding at
    its own threshold for x. A false positive has no size: those of all images that count stand against every tier.
    Where no area is given and the records lack that of any image, as a detector's do, there is no key of `SIZE_TIERS`;
    lesions of images whose pixels are of unknown size are in none of `MM_TIERS`.

    With the same replicates and seed the draws are those of `bundle.metrics.summary.summarise`.

    Args:
        records: of the evaluation.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        fp_rates: false positives per image.
        patch_area: (I,) area of one patch in stored pixels, for each row of `records.images`; that of the records if
            None.

    Returns:
        The metrics, and the notes: the reason of every None, and under `size_tiers` and `mm_tiers` the rule, or why
        there are none, or for how many lesions.

    Raises:
        ValueError: where the areas are not I positive numbers, or the records contradict themselves.
    """
    check_records(records)
    by_patch = patch_area is not None or sizes_known(records)
    longest = [lesion_mm(records)[lesion_rows(records, k)] for k in range(len(records.findings))]
    known, lesions = (sum(n) for n in zip(*((int((~np.isnan(mm)).sum()), len(mm)) for mm in longest), strict=True))
    said = {"size_tiers": SIZE_RULE if by_patch else NO_SIZES, "mm_tiers": MM_RULE if known else NO_MM}
    if 0 < known < lesions:
        said["mm_tiers"] += f"; known of {known} of {lesions} lesions"
    if not by_patch and not known:
        return {}, said
    table = FigureTable(records.findings, level)
    table.notes |= {"criterion": records.criterion, **said}
    draws = draw_units(table, records.images, replicates, seed)
    selections = [of_finding(records, k) for k in range(len(records.findings))]
    each: list[tuple[Sequence[Integers], Sequence[str]]] = []
    if by_patch:
        each += [(size_tiers(records, records.images.patch_area if patch_area is None else patch_area), SIZE_TIERS)]
    if known:
        each += [([mm_tier(mm) for mm in longest], [*MM_TIERS])]
    for tiers, names in each:
        put_tiers(table, selections, tiers, names, fp_rates, draws, NONE_OF_SIZE)
    return table.finish()


def patch_areas(to_stored: ArrayLike) -> Floats:
    """Area of one patch in stored pixels: the determinant of the affine's linear part, without its sign.

    Args:
        to_stored: (..., 3, 3) affines, grid to stored frame (`bundle.grid.grid_to_stored`).

    Returns:
        (...,) areas.
    """
    affine = np.asarray(to_stored, np.float64)
    areas: Floats = np.abs(affine[..., 0, 0] * affine[..., 1, 1] - affine[..., 0, 1] * affine[..., 1, 0])
    return areas


def sizes_known(records: Records) -> bool:
    """Whether the records hold the area of a patch for every image."""
    return not np.isnan(records.images.patch_area).any()


def lesion_mm(records: Records) -> Floats:
    """Longest side of each lesion's box in mm, NaN where the image's pixels are of unknown size: (L,)."""
    box, pixel = records.lesions.box, records.images.pixel_mm
    row_mm, column_mm = pixel[np.searchsorted(records.images.index, records.lesions.index)].T
    longest: Floats = np.maximum((box[:, 3] - box[:, 1]) * row_mm, (box[:, 2] - box[:, 0]) * column_mm)
    return longest


def mm_tier(mm: Floats) -> Integers:
    """Lengths in mm (L,) -> their places in `MM_TIERS`, a length on an edge in the smaller; -1 where NaN: (L,)."""
    return np.where(np.isnan(mm), -1, np.searchsorted([*MM_TIERS.values()], mm * (1 - _SLACK)))


def size_tiers(records: Records, patch_area: ArrayLike) -> list[Integers]:
    """The place in `SIZE_TIERS` of every lesion that counts, one array for each finding.

    Args:
        records: of the evaluation.
        patch_area: (I,) area of one patch in stored pixels, for each row of `records.images`.

    Returns:
        K arrays (L_k,), in the order of the lesions of `bundle.metrics.records.of_finding`.

    Raises:
        ValueError: where the areas are not I positive numbers.
    """
    area, images = np.asarray(patch_area, np.float64), records.images.index
    if area.shape != images.shape:
        raise ValueError(f"patch_area must give one number for each of the {len(images)} images, got {area.shape}")
    if not (np.isfinite(area) & (area > 0)).all():
        wrong = int(np.argmin(np.isfinite(area) & (area > 0)))
        raise ValueError(f"patch_area must be positive, got {area[wrong]} for image {images[wrong]}")
    box = records.lesions.box
    size = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) / area[np.searchsorted(images, records.lesions.index)]
    tier = np.where(size < 1 - _SLACK, 0, np.where(size <= 4 + _SLACK, 1, 2))
    return [tier[lesion_rows(records, k)] for k in range(len(records.findings))]


def put_tiers(
    table: FigureTable,
    selections: Sequence[FindingRecords],
    tier_of: Sequence[Integers],
    tiers: Sequence[str],
    fp_rates: Sequence[float],
    draws: Draws,
    reason: str,
) -> None:
    """Put sensitivity, oracle ceiling and number of lesions of every tier, per finding and in the mean.

    Args:
        table: to put into.
        selections: what counts, for each of the table's findings.
        tier_of: for each finding (L_k,) the place of its lesions in `tiers`, or another number for none of them.
        tiers: names.
        fp_rates: false positives per image.
        draws: of the images.
        reason: why a tier without lesions has no figure.
    """
    for number, tier in enumerate(tiers):
        for finding, data, mine in zip(table.findings, selections, tier_of, strict=True):
            part = with_lesions(data, mine == number)
            table.put(f"n_lesions/{finding}/{tier}", len(part.lesion_score))
            put_sensitivities(table, f"froc/{finding}/{tier}", part, fp_rates, draws, reason)
            put_oracle(table, f"froc/{finding}/{tier}/oracle", part, reason)
        for kind in (*(f"sens_at_{rate:g}fp" for rate in fp_rates), "oracle"):
            table.mean(f"froc/{{}}/{tier}/{kind}")
        parts = [with_lesions(data, mine == number) for data, mine in zip(selections, tier_of, strict=True)]
        put_pooled(table, f"froc/mean/{tier}", parts, fp_rates, draws, reason)


def put_pooled(
    table: FigureTable,
    prefix: str,
    parts: Sequence[FindingRecords],
    fp_rates: Sequence[float],
    draws: Draws,
    reason: str,
) -> None:
    """Put `<prefix>/sens_at_<x>fp_pooled`: sum_k (lesions found of k) / sum_k (lesions of k), k at its threshold for x.

    Args:
        table: to put into.
        prefix: of the keys.
        parts: what counts for each of the K findings.
        fp_rates: false positives per image, of each finding.
        draws: of the images.
        reason: why there are no lesions, used where there are none.
    """
    having = [part for part in parts if len(part.lesion_score)]
    unit = draws.unit
    kind = share_of(np.concatenate([unit[:0], *(unit[part.lesion_image] for part in having)]))
    pooled = np.full((len(fp_rates), 1), np.nan)
    if having:
        weight = draws.sums(
            np.stack([np.bincount(part.lesion_image, minlength=len(unit)) for part in having])
        )  # (K, C)
        found = [np.nan_to_num(sensitivities(draws, part, fp_rates)) for part in having]  # K of (X, C)
        with np.errstate(invalid="ignore"):  # no lesion drawn: 0 / 0 is NaN, as it should be
            pooled = np.einsum("kxc,kc->xc", found, weight) / weight.sum(0)
    for rate, figure in zip(fp_rates, pooled, strict=True):
        table.put(f"{prefix}/sens_at_{rate:g}fp_pooled", figure, reason, kind)


def with_lesions(data: FindingRecords, chosen: NDArray[np.bool_]) -> FindingRecords:
    """The selection with the `chosen` lesions (L,) alone; images and false positives stay."""
    return replace(
        data,
        lesion_score=data.lesion_score[chosen],
        lesion_image=data.lesion_image[chosen],
        lesion_oracle=data.lesion_oracle[chosen],
        lesion_cnr=data.lesion_cnr[chosen],
    )
