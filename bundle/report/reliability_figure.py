"""The reliability figure: observed share of positives against predicted probability."""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np

from bundle.metrics.calibration import ReliabilityCurve, reliability_curve
from bundle.metrics.records import Records
from bundle.probability import calibrated
from bundle.report.figure import STYLE, Figure, finish, panels
from bundle.results.colours import INK, MUTED, finding_colour

COLUMNS = ("finding", "calibrated", "images", "predicted_probability", "share_of_positives", "share_low", "share_high")


def draw_reliability(
    records: Records, points: Mapping[str, Mapping[str, float]], primary: str | None = None, bins: int = 10
) -> Figure | None:
    """A panel a finding: after the plan's calibration and before, with Wilson intervals of the observed shares.

    Args:
        records: of the evaluation, with image scores.
        points: of `bundle.metrics.image_level.choose_operating_points`.
        primary: name of the image score; the first if None.
        bins: of equal width.

    Returns:
        The figure; None without image scores or without a known label.
    """
    if not records.images.scores:
        return None
    scores = records.images.primary_score(primary)
    known = [k for k in range(len(records.findings)) if (~np.isnan(records.images.label[:, k])).any()]
    if not known:
        return None
    table: list[Sequence[str | float]] = [COLUMNS]
    with matplotlib.rc_context(STYLE):
        names = [records.findings[k] for k in known]
        canvas, axes = panels(names, 2.4, "Predicted probability (mean of the bin)", "Share of positives")
        for panel, k in zip(axes, known, strict=True):
            label, colour = records.images.label[:, k], finding_colour(k)
            panel.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, zorder=0)
            probability, point = scores[:, k], points.get(records.findings[k], {})
            if "slope" in point:
                raw = reliability_curve(scores[:, k], label, bins)
                table += _rows(records.findings[k], "no", raw)
                panel.plot(raw.predicted, raw.observed, "o:", color="#8b949e", markersize=3.5, linewidth=1)
                probability = calibrated(probability, point["slope"], point["offset"])
            curve = reliability_curve(probability, label, bins)
            table += _rows(records.findings[k], "yes" if "slope" in point else "no", curve)
            panel.vlines(curve.predicted, curve.low, curve.high, color=INK, linewidth=1)
            panel.plot(curve.predicted, curve.observed, "o-", color=colour, markeredgecolor=INK, markersize=5)
        axes[0].set_xlim(-0.03, 1.03)
        axes[0].set_ylim(-0.03, 1.03)
    alt = (
        "Observed share of positives against predicted probability, a panel a finding; the dashed diagonal is perfect. "
        "Coloured: calibrated on validation, where it is. Grey and dotted: the network's own score."
    )
    return finish("reliability", "Reliability of image probabilities", alt, canvas, table)


def _rows(finding: str, is_calibrated: str, curve: ReliabilityCurve) -> Iterator[Sequence[str | float]]:
    columns = (curve.count, curve.predicted, curve.observed, curve.low, curve.high)
    yield from ((finding, is_calibrated, *row) for row in zip(*(each.tolist() for each in columns), strict=True))
