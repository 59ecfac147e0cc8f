"""Image-level figures of metrics.json beyond AUROC: average precision, operating points, calibration."""

import math
from collections.abc import Mapping

import numpy as np

from bundle.metrics.calibration import brier_score, calibration_error, fit_temperature, scaled_probability
from bundle.metrics.operating_point import (
    FIGURES,
    average_precision,
    average_precision_replicates,
    operating_figures,
    operating_replicates,
    sensitivity_threshold,
    youden_threshold,
)
from bundle.metrics.records import Floats, Records
from bundle.metrics.table import FigureTable, Metrics, Notes, draw_units

WANTED_SENSITIVITY = 0.9
OPERATING_POINTS = ("youden", "sensitive")
_EDGE = 1e-6  # of a probability from 0 and 1, so that its logit is finite


def choose_operating_points(
    records: Records, score: str, wanted: float = WANTED_SENSITIVITY
) -> dict[str, dict[str, float]]:
    """Thresholds and temperature of each finding: to be chosen on validation, and frozen.

    Args:
        records: of the validation section.
        score: name of the image score, a probability.
        wanted: sensitivity of the point `sensitive`.

    Returns:
        Finding -> `youden`, `sensitive` (thresholds) and `temperature`; what cannot be chosen is left out.
    """
    chosen: dict[str, dict[str, float]] = {}
    for k, finding in enumerate(records.findings):
        probability, label = records.images.scores[score][:, k], records.images.label[:, k]
        found = {
            "youden": youden_threshold(probability, label)[0],
            "sensitive": sensitivity_threshold(probability, label, wanted)[0],
            "temperature": fit_temperature(logit(probability), label)[0],
        }
        chosen[finding] = {name: value for name, value in found.items() if math.isfinite(value)}
    return chosen


def summarise_images(
    records: Records,
    points: Mapping[str, Mapping[str, float]],
    replicates: int = 1000,
    seed: int = 0,
    primary: str | None = None,
    level: float = 0.95,
) -> tuple[Metrics, Notes]:
    """Average precision, and what the frozen thresholds and temperatures do.

    Keys, with <f> a finding or `mean` (of the findings for which it is defined), each with `/low` and `/high`:

    - `ap/<f>`: average precision; chance is the prevalence, `prevalence/<f>`;
    - `operating/<p>/<f>/<figure>`: sensitivity, specificity, ppv and npv at point <p>, `youden` or `sensitive`, and its
      `/threshold`, which has no interval because it was frozen; none without points;
    - `calibration/<f>/ece` (10 bins of equal width) and `/brier`, without interval; `/ece_scaled` and `/brier_scaled`
      after temperature scaling, and the `/temperature`.

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
    scores = records.images.scores[primary or next(iter(records.images.scores))]
    for k, finding in enumerate(records.findings):
        mine, label, chosen = scores[:, k], records.images.label[:, k], points.get(finding, {})
        value, reason = average_precision(mine, label)
        draws = None if counts is None or reason else average_precision_replicates(counts, mine, label, unit)
        table.put(f"ap/{finding}", value, reason, draws)
        known = ~np.isnan(label)
        table.put(f"prevalence/{finding}", float(np.mean(label[known])) if known.any() else math.nan, "no known label")
        for point in OPERATING_POINTS if points else ():
            key = f"operating/{point}/{finding}"
            if point not in chosen:
                for name in FIGURES:
                    table.put(f"{key}/{name}", math.nan, "no threshold could be chosen on validation")
                continue
            table.put(f"{key}/threshold", chosen[point])
            figures = operating_figures(mine, label, chosen[point], level)
            drawn = None if counts is None else operating_replicates(counts, mine, label, unit, chosen[point])
            for name in FIGURES:
                figure = getattr(figures, name)
                table.put(f"{key}/{name}", figure.value, figure.reason, None if drawn is None else drawn[name])
        _calibration(table, finding, mine, label, chosen.get("temperature"))
    for kind in ("ap/{}", "prevalence/{}", *(f"calibration/{{}}/{name}" for name in _CALIBRATION)):
        table.mean(kind)
    for point in OPERATING_POINTS if points else ():
        for name in FIGURES:
            table.mean(f"operating/{point}/{{}}/{name}")
    metrics, notes = table.finish()
    notes.pop("bootstrap", None)  # said once, by summarise
    return metrics, notes


_CALIBRATION = ("ece", "brier", "ece_scaled", "brier_scaled")


def _calibration(
    table: FigureTable, finding: str, probability: Floats, label: Floats, temperature: float | None
) -> None:
    key = f"calibration/{finding}"
    table.put(f"{key}/ece", *calibration_error(probability, label))
    table.put(f"{key}/brier", *brier_score(probability, label))
    if temperature is None:  # as without any plan
        for name in ("ece_scaled", "brier_scaled"):
            table.put(f"{key}/{name}", math.nan, "no temperature was fitted on validation")
        return
    scaled = scaled_probability(logit(probability), temperature)
    table.put(f"{key}/temperature", temperature)
    table.put(f"{key}/ece_scaled", *calibration_error(scaled, label))
    table.put(f"{key}/brier_scaled", *brier_score(scaled, label))


def logit(probability: Floats) -> Floats:
    """log(p / (1 - p)) of probabilities kept 1e-6 away from 0 and 1."""
    clipped = np.clip(probability, _EDGE, 1 - _EDGE)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result
