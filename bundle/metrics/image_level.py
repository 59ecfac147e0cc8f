"""Image-level figures of metrics.json beyond AUROC: average precision, operating points, calibration."""

import math
from collections.abc import Mapping

import numpy as np

from bundle.metrics.calibration import NO_LABELS, brier_score, by_other_half, calibration_error, fit_platt
from bundle.metrics.decision_curve import TRUST, worth
from bundle.metrics.draws import Draws
from bundle.metrics.labelled import lacking_class
from bundle.metrics.operating_point import (
    NOTHING,
    average_precision,
    operating_figures,
    sensitivity_threshold,
    youden_threshold,
)
from bundle.metrics.recalibration import recalibration, undefined
from bundle.metrics.records import Floats, Records
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units, share_of
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
    draws = draw_units(table, records.images, replicates, seed)
    if not records.images.scores:
        return table.finish()
    scores = records.images.primary_score(primary)
    for k, finding in enumerate(records.findings):
        mine, label, chosen = scores[:, k], records.images.label[:, k], points.get(finding, {})
        probability = calibrated(mine, chosen["slope"], chosen["offset"]) if "slope" in chosen else mine
        known = ~np.isnan(label)
        # an average precision is a mean over the positives
        share, reason = share_of(draws.unit[label == 1]), lacking_class(label[known] == 1)
        table.put(f"ap/{finding}", average_precision(mine, label, draws), reason, share)
        table.put(f"prevalence/{finding}", float(np.mean(label[known])) if known.any() else math.nan, "no known label")
        for point in OPERATING_POINTS if points else ():
            key = f"operating/{point}/{finding}"
            if point not in chosen:
                for name in NOTHING:
                    table.put(f"{key}/{name}", math.nan, "no threshold could be chosen on validation")
                continue
            table.put(f"{key}/threshold", chosen[point])
            for name, (figure, own) in operating_figures(probability, label, chosen[point], draws).items():
                table.put(f"{key}/{name}", figure, NOTHING[name], share_of(draws.unit[own]))
        _calibration(table, finding, mine, probability, label, chosen, draws)
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
        for name in NOTHING:
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
    draws: Draws,
) -> None:
    key = f"calibration/{finding}"
    table.put(f"{key}/ece", calibration_error(score, label)[0], NO_LABELS)
    table.put(f"{key}/brier", brier_score(score, label)[0], NO_LABELS)
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
    table.put(f"ece/{finding}", calibration_error(probability, label, draws), NO_LABELS)
    table.put(f"brier/{finding}", brier_score(probability, label, draws), NO_LABELS)
    halves, why = by_other_half(score, label, draws.unit)
    table.put(f"ece_recalibrated/{finding}", math.nan if why else calibration_error(halves, label)[0], why)
    slope, intercept = recalibration(probability, label, draws)
    table.put(f"recalibration/{finding}/slope", slope, undefined(label))
    table.put(f"recalibration/{finding}/intercept", intercept, undefined(label))
    for threshold in TRUST if not np.isnan(label).all() else ():
        own, everywhere = worth(probability, label, threshold)
        table.put(f"net_benefit/{finding}/at_{threshold:g}", draws.mean(own))
        table.put(f"net_benefit/{finding}/at_{threshold:g}/treat_all", float(np.nanmean(everywhere)))
