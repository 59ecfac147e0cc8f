"""Image-level figures of metrics.json beyond AUROC: average precision, operating points, calibration."""

import math
from collections.abc import Mapping

import numpy as np

from bundle.metrics.calibration import (
    brier_score,
    by_other_half,
    calibration_error,
    calibration_error_replicates,
    fit_platt,
)
from bundle.metrics.decision_curve import TRUST, worth
from bundle.metrics.means import mean_replicates
from bundle.metrics.operating_point import (
    FIGURES,
    average_precision,
    average_precision_replicates,
    operating_figures,
    operating_replicates,
    sensitivity_threshold,
    youden_threshold,
)
from bundle.metrics.recalibration import recalibration, recalibration_replicates
from bundle.metrics.records import Floats, Integers, Records
from bundle.metrics.table import Counts, FigureTable, Metrics, Notes, draw_units, share_of
from bundle.probability import calibrated

WANTED_SENSITIVITY = 0.9
OPERATING_POINTS = ("youden", "sensitive")


def choose_operating_points(
    records: Records, score: str, wanted: float = WANTED_SENSITIVITY
) -> dict[str, dict[str, float]]:
    """Calibration and thresholds of each finding: to be chosen on validation, and frozen.

    Args:
        records: of the validation section.
        score: name of the image score, 0..1.
        wanted: sensitivity of the point `sensitive`.

    Returns:
        Finding -> `slope`, `offset` (`fit_platt`), `youden`, `sensitive` (thresholds of the calibrated probability);
        empty where it cannot be calibrated.
    """
    chosen: dict[str, dict[str, float]] = {}
    for k, finding in enumerate(records.findings):
        raw, label = records.images.scores[score][:, k], records.images.label[:, k]
        slope, offset, reason = fit_platt(raw, label)
        if reason:
            chosen[finding] = {}
            continue
        probability = calibrated(raw, slope, offset)
        chosen[finding] = {
            "slope": slope,
            "offset": offset,
            "youden": youden_threshold(probability, label)[0],
            "sensitive": sensitivity_threshold(probability, label, wanted)[0],
        }
    return chosen


def summarise_images(
    records: Records,
    points: Mapping[str, Mapping[str, float]],
    replicates: int = 1000,
    seed: int = 0,
    primary: str | None = None,
    level: float = 0.95,
) -> tuple[Metrics, Notes]:
    """Average precision, and what the frozen calibration and thresholds do.

    Keys, with <f> a finding or `mean` (of the findings for which it is defined), each with `/low` and `/high`:

    - `ap/<f>`: average precision; chance is the prevalence, `prevalence/<f>`;
    - `operating/<p>/<f>/<figure>`: sensitivity, specificity, ppv and npv at point <p>, `youden` or `sensitive`, and its
      `/threshold`, which has no interval because it was frozen; none without points;
    - `calibration/<f>/ece` (10 bins of equal width) and `/brier`: of the score as the network gives it, no interval;
    - `ece/<f>`, `brier/<f>`: the same after the plan's calibration, whose `/slope` and `/offset` are
      `calibration/<f>/...`; the mean is of the findings that have one;
    - `ece_recalibrated/<f>`: the error that is left after Platt's calibration by the other half of the patients, both
      halves in turn (`bundle.metrics.calibration.by_other_half`); no interval;
    - `recalibration/<f>/slope`, `/intercept`: what is left to mend after the plan's calibration
      (`bundle.metrics.recalibration.recalibration`; 1 and 0 are best), no mean;
    - `net_benefit/<f>/at_<t>`: after the plan's calibration, t of `bundle.metrics.decision_curve.TRUST`, and
      `/treat_all` of acting on every image; acting on none has 0. No mean.

    Args:
        records: of the test section.
        points: of `choose_operating_points`, on another section; empty where nothing was planned.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws, as in `bundle.metrics.summary.summarise`.
        primary: name of the image score; the first if None.
        level: of confidence.

    Returns:
        The metrics and the notes.
    """
    table = FigureTable(records.findings, level)
    counts, unit = draw_units(table, records.images, replicates, seed)
    if not records.images.scores:
        return table.finish()
    scores = records.images.primary_score(primary)
    for k, finding in enumerate(records.findings):
        mine, label, chosen = scores[:, k], records.images.label[:, k], points.get(finding, {})
        probability = calibrated(mine, chosen["slope"], chosen["offset"]) if "slope" in chosen else mine
        value, reason = average_precision(mine, label)
        draws = None if counts is None or reason else average_precision_replicates(counts, mine, label, unit)
        # an average precision is a mean over the positives
        table.put(f"ap/{finding}", value, reason, draws, share_of(unit[label == 1]))
        known = ~np.isnan(label)
        table.put(f"prevalence/{finding}", float(np.mean(label[known])) if known.any() else math.nan, "no known label")
        for point in OPERATING_POINTS if points else ():
            key = f"operating/{point}/{finding}"
            if point not in chosen:
                for name in FIGURES:
                    table.put(f"{key}/{name}", math.nan, "no threshold could be chosen on validation")
                continue
            table.put(f"{key}/threshold", chosen[point])
            figures = operating_figures(probability, label, chosen[point], level)
            drawn = None if counts is None else operating_replicates(counts, probability, label, unit, chosen[point])
            called = probability >= chosen[point]
            for name, part in (
                ("sensitivity", label == 1),
                ("specificity", label == 0),
                ("ppv", known & called),
                ("npv", known & ~called),
            ):
                figure, draws = getattr(figures, name), None if drawn is None else drawn[name]
                table.put(f"{key}/{name}", figure.value, figure.reason, draws, share_of(unit[part]))
        _calibration(table, finding, mine, probability, label, chosen, counts, unit)
    for kind in (
        "ap/{}",
        "prevalence/{}",
        "calibration/{}/ece",
        "calibration/{}/brier",
        "ece/{}",
        "ece_recalibrated/{}",
        "brier/{}",
    ):
        table.mean(kind)
    for point in OPERATING_POINTS if points else ():
        for name in FIGURES:
            table.mean(f"operating/{point}/{{}}/{name}")
    metrics, notes = table.finish()
    notes.pop("bootstrap", None)  # said once, by summarise
    return metrics, notes


def _calibration(
    table: FigureTable,
    finding: str,
    score: Floats,
    probability: Floats,
    label: Floats,
    chosen: Mapping[str, float],
    counts: Counts | None,
    unit: Integers,
) -> None:
    key = f"calibration/{finding}"
    table.put(f"{key}/ece", *calibration_error(score, label))
    table.put(f"{key}/brier", *brier_score(score, label))
    if "slope" not in chosen:  # as without any plan; thresholds of candidates may be there all the same
        for name in (
            "ece/{}",
            "ece_recalibrated/{}",
            "brier/{}",
            "recalibration/{}/slope",
            "recalibration/{}/intercept",
        ):
            table.put(name.format(finding), math.nan, "no calibration was fitted on validation")
        return
    table.put(f"{key}/slope", chosen["slope"])
    table.put(f"{key}/offset", chosen["offset"])
    error, reason = calibration_error(probability, label)
    squares = (probability - label)[:, None] ** 2
    drawn = None if counts is None or reason else calibration_error_replicates(counts, probability, label, unit)
    table.put(f"ece/{finding}", error, reason, drawn)
    drawn = None if counts is None or reason else mean_replicates(counts, squares, unit)[0]
    table.put(f"brier/{finding}", *brier_score(probability, label), drawn)
    halves, why = by_other_half(score, label, unit)
    table.put(f"ece_recalibrated/{finding}", math.nan if why else calibration_error(halves, label)[0], why)
    slope, intercept, why = recalibration(probability, label)
    slopes, intercepts = None, None
    if counts is not None and not why:
        slopes, intercepts = recalibration_replicates(counts, probability, label, unit)
    table.put(f"recalibration/{finding}/slope", slope, why, slopes)
    table.put(f"recalibration/{finding}/intercept", intercept, why, intercepts)
    for threshold in () if reason else TRUST:
        own, everywhere = (each[:, None] for each in worth(probability, label, threshold))
        drawn = None if counts is None else mean_replicates(counts, own, unit)[0]
        table.put(f"net_benefit/{finding}/at_{threshold:g}", float(np.nanmean(own)), None, drawn)
        table.put(f"net_benefit/{finding}/at_{threshold:g}/treat_all", float(np.nanmean(everywhere)))
