"""AUROC and FROC sensitivity by sex, age band, view, vendor and site, with counts and intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.records import FindingRecords, Floats, Records, of_finding
from bundle.metrics.records_check import check_records
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, no_lesions, put_auroc, put_sensitivities

FIELDS = ("sex", "age", "view", "vendor", "site")
AGE_BANDS = {"below_40": 40.0, "40_to_59": 60.0, "60_to_79": 80.0, "80_and_over": math.inf}  # name -> first age beyond
UNKNOWN_GROUP = "unknown"


def by_subgroup(
    records: Records,
    info: Mapping[int, Mapping[str, Any]],
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = (1.0,),
    primary: str | None = None,
    min_positives: int = 10,
    fields: Sequence[str] = FIELDS,
) -> tuple[Metrics, Notes]:
    """Figures of the images of one sex, age band, view, vendor or site at a time.

    Keys, with <g> = `subgroup/<field>/<value>` and <f> a finding or `mean` (of the findings for which it is defined):

    - `<g>/auroc/<f>`, `<g>/froc/<f>/sens_at_<x>fp`, with `/low` and `/high`. The rate of false positives is that of
      the group's own images, so each group has its own threshold;
    - `<g>/n_images`, `<g>/n_patients`: of the group; `<g>/n_images/<f>`, `<g>/n_lesions/<f>`: what its FROC counts;
      `<g>/n_positive/<f>`, `<g>/n_negative/<f>`: what its AUROC counts.

    Values are those of the datalist, a slash in them written as `_`; where one is missing it is `unknown`. Ages are in
    completed years: `below_40`, `40_to_59`, `60_to_79`, `80_and_over`. A field that no image has is left out, and
    noted. An AUROC of fewer than `min_positives` positive or negative images of the group is None with its reason, and
    so is a sensitivity of fewer lesions: of many images with one lesion there is little to say.

    Intervals are from draws of all patients, the same for every group (and, with the same replicates and seed, those of
    `summarise`): a group's size varies between replicates as it would between samples.

    A difference between groups is no proof of a cause: they differ in more than the field.

    Args:
        records: of the evaluation.
        info: index of the image -> its `sex`, `view`, `vendor`, `site` (text, empty where unknown) and `age` (years,
            NaN where unknown), as `info` of `bundle.data.datalist.datalist_section`.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        fp_rates: false positives per image.
        primary: name of the image score that stands for the network; the first if None.
        min_positives: the fewest lesions, or positive images and negative ones, that a figure may rest on.
        fields: of `info`.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: where an image has no info, `primary` names no score, or the records contradict themselves.
    """
    check_records(records)
    images = records.images
    _check_info(records, info)
    names = list(images.scores)
    if primary is not None and primary not in names:
        raise ValueError(f"no image score {primary!r}; there are {names}")
    scores = images.scores[primary or names[0]] if names else None
    table = FigureTable(records.findings, level)
    table.notes |= {
        "criterion": records.criterion,
        "subgroups": f"sensitivities of fewer than {min_positives} lesions, and AUROC of fewer than {min_positives} "
        "positive or negative images, are not given",
    }
    draws = draw_units(table, images, replicates, seed)
    selections = [of_finding(records, k) for k in range(len(records.findings))]
    for field in fields:
        groups = members(records, info, field)
        if [*groups] in ([], [UNKNOWN_GROUP]):
            table.notes[f"subgroup/{field}"] = "not known of any image"
            continue
        for value, member in groups.items():
            prefix = f"subgroup/{field}/{value}"
            table.put(f"{prefix}/n_images", int(member.sum()))
            table.put(f"{prefix}/n_patients", len(np.unique(images.group[member])))
            for k, (finding, data) in enumerate(zip(records.findings, selections, strict=True)):
                part = _within(data, member)
                _put_froc(table, prefix, finding, part, fp_rates, draws, min_positives)
                label = np.where(member, images.label[:, k], np.nan)
                own = None if scores is None else scores[:, k]
                _put_area(table, prefix, finding, own, label, draws, min_positives)
            for rate in fp_rates:
                table.mean(f"{prefix}/froc/{{}}/sens_at_{rate:g}fp")
            if scores is not None:
                table.mean(f"{prefix}/auroc/{{}}")
    return table.finish()


def members(records: Records, info: Mapping[int, Mapping[str, Any]], field: str) -> dict[str, NDArray[np.bool_]]:
    """The groups of a field in order (ages rising, others by name, the unknown last) -> which images they hold, (I,).

    Raises:
        ValueError: where an image has no info.
    """
    _check_info(records, info)
    values = [group_of(field, info[n].get(field)) for n in records.images.index.tolist()]
    return {name: np.array([each == name for each in values]) for name in _ordered(field, values)}


def _check_info(records: Records, info: Mapping[int, Mapping[str, Any]]) -> None:
    if lacking := [n for n in records.images.index.tolist() if n not in info]:
        raise ValueError(f"{len(lacking)} images of the records have no info, the first is image {lacking[0]}")


def group_of(field: str, value: Any) -> str:
    """The subgroup that a value of a field belongs to.

    Args:
        field: `age`, in years, or another, which is text.
        value: None, empty or NaN where unknown.

    Returns:
        A part of a key: no slash, not empty.
    """
    if value is None or value != value:
        return UNKNOWN_GROUP
    if field == "age":
        return next(name for name, beyond in AGE_BANDS.items() if float(value) < beyond)
    return str(value).strip().replace("/", "_") or UNKNOWN_GROUP


def _ordered(field: str, values: Sequence[str]) -> list[str]:
    """The groups that occur, ages rising, others by name, the unknown last."""
    order = [*AGE_BANDS] if field == "age" else sorted({*values} - {UNKNOWN_GROUP})
    return [name for name in [*order, UNKNOWN_GROUP] if name in values]


def _within(data: FindingRecords, member: NDArray[np.bool_]) -> FindingRecords:
    """The selection on the images of a group (I,) alone; places stay those of all images."""
    fp, lesion, normal = member[data.fp_image], member[data.lesion_image], member[data.normal_image]
    return replace(
        data,
        image=data.image[member[data.image]],
        fp_score=data.fp_score[fp],
        fp_image=data.fp_image[fp],
        lesion_score=data.lesion_score[lesion],
        lesion_image=data.lesion_image[lesion],
        normal_score=data.normal_score[normal],
        normal_image=data.normal_image[normal],
        lesion_oracle=data.lesion_oracle[lesion],
        lesion_cnr=data.lesion_cnr[lesion],
    )


def _put_froc(
    table: FigureTable,
    prefix: str,
    finding: str,
    data: FindingRecords,
    fp_rates: Sequence[float],
    draws: Draws,
    least: int,
) -> None:
    table.put(f"{prefix}/n_images/{finding}", len(data.image))
    table.put(f"{prefix}/n_lesions/{finding}", len(data.lesion_score))
    number = len(data.lesion_score)
    if not 0 < number < least:
        put_sensitivities(table, f"{prefix}/froc/{finding}", data, fp_rates, draws, no_lesions(data))
        return
    for rate in fp_rates:
        table.put(f"{prefix}/froc/{finding}/sens_at_{rate:g}fp", math.nan, f"{number} lesions, fewer than {least}")


def _put_area(
    table: FigureTable,
    prefix: str,
    finding: str,
    scores: Floats | None,
    label: Floats,
    draws: Draws,
    least: int,
) -> None:
    positive, negative = int((label == 1).sum()), int((label == 0).sum())
    table.put(f"{prefix}/n_positive/{finding}", positive)
    table.put(f"{prefix}/n_negative/{finding}", negative)
    key = f"{prefix}/auroc/{finding}"
    if scores is None:
        return
    if 0 < min(positive, negative) < least:
        reason = f"{positive} positive and {negative} negative images; fewer than {least} of either are too few"
        table.put(key, math.nan, reason)
    else:
        put_auroc(table, [key], scores, label, draws)
