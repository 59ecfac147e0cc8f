"""FROC by strata of the lesions: sensitivity for some lesions, with the false positives of all images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.metrics.froc import FP_RATES
from bundle.metrics.records import FindingRecords, Floats, Integers, Records, lesion_rows, of_finding
from bundle.metrics.records_check import check_records
from bundle.metrics.table import (
    Counts,
    FigureTable,
    Metrics,
    Notes,
    draw_units,
    put_oracle,
    put_sensitivities,
)

SIZE_TIERS = ("size_small", "size_mid", "size_large")
SIZE_RULE = "area of the box in patches: size_small below 1, size_mid 1 to 4, size_large above 4"
NO_SIZES = "no figures by lesion size: the patches' geometry was not given"
_SLACK = 1e-9  # a box of exactly one patch must not fall to either side by the affine's rounding


def by_size(
    records: Records,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = FP_RATES,
    patch_area: ArrayLike | None = None,
) -> tuple[Metrics, Notes]:
    """FROC by lesion size: smaller than a patch, one to four patches, larger.

    Keys, with <f> a finding or `mean` (of the findings that have such lesions) and <tier> one of `SIZE_TIERS`:
    `froc/<f>/<tier>/sens_at_<x>fp` with `/low` and `/high`, `froc/<f>/<tier>/oracle`, `n_lesions/<f>/<tier>`.
    A false positive has no size: those of all images that count stand against every tier. Where no area is given and
    the records lack that of any image, as a detector's do, there is no key at all.

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
        The metrics, and the notes: the reason of every None, and under `size_tiers` the rule, or why there are none.

    Raises:
        ValueError: where the areas are not I positive numbers, or the records contradict themselves.
    """
    check_records(records)
    if patch_area is None and not sizes_known(records):
        return {}, {"size_tiers": NO_SIZES}
    tiers = size_tiers(records, records.images.patch_area if patch_area is None else patch_area)
    table = FigureTable(records.findings, level)
    table.notes |= {"criterion": records.criterion, "size_tiers": SIZE_RULE}
    counts, unit = draw_units(table, records.images, replicates, seed)
    selections = [of_finding(records, k) for k in range(len(records.findings))]
    put_tiers(table, selections, tiers, SIZE_TIERS, fp_rates, counts, unit, "no lesions of this size")
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
    counts: Counts | None,
    unit: Integers,
    reason: str,
) -> None:
    """Put sensitivity, oracle ceiling and number of lesions of every tier, per finding and in the mean.

    Args:
        table: to put into.
        selections: what counts, for each of the table's findings.
        tier_of: for each finding (L_k,) the place of its lesions in `tiers`, or another number for none of them.
        tiers: names.
        fp_rates: false positives per image.
        counts: (G, R) draws, or None.
        unit: (I,) unit of every image.
        reason: why a tier without lesions has no figure.
    """
    for number, tier in enumerate(tiers):
        for finding, data, mine in zip(table.findings, selections, tier_of, strict=True):
            part = with_lesions(data, mine == number)
            table.put(f"n_lesions/{finding}/{tier}", len(part.lesion_score))
            put_sensitivities(table, f"froc/{finding}/{tier}", part, fp_rates, counts, unit, reason)
            put_oracle(table, f"froc/{finding}/{tier}/oracle", part, reason)
        for kind in (*(f"sens_at_{rate:g}fp" for rate in fp_rates), "oracle"):
            table.mean(f"froc/{{}}/{tier}/{kind}")


def with_lesions(data: FindingRecords, chosen: NDArray[np.bool_]) -> FindingRecords:
    """The selection with the `chosen` lesions (L,) alone; images and false positives stay."""
    return replace(
        data,
        lesion_score=data.lesion_score[chosen],
        lesion_image=data.lesion_image[chosen],
        lesion_oracle=data.lesion_oracle[chosen],
        lesion_cnr=data.lesion_cnr[chosen],
    )
