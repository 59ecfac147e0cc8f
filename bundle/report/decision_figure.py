"""The decision curve: net benefit against the probability from which on one would act."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

from bundle.metrics.decision_curve import net_benefit
from bundle.metrics.records import Records
from bundle.probability import calibrated
from bundle.report.figure import STYLE, Figure, finish, panels
from bundle.results.colours import INK, MUTED, finding_colour

_THRESHOLDS = np.linspace(0.01, 0.8, 80)
COLUMNS = ("finding", "threshold_probability", "net_benefit", "net_benefit_of_acting_on_all")


def draw_decisions(
    records: Records, points: Mapping[str, Mapping[str, float]], primary: str | None = None
) -> Figure | None:
    """A panel for each finding that the plan calibrates: acting on the probability, on all images, on none.

    Args:
        records: of the evaluation, with image scores.
        points: of `bundle.metrics.image_level.choose_operating_points`.
        primary: name of the image score; the first if None.

    Returns:
        The figure; None where no finding is calibrated and labelled.
    """
    if not records.images.scores:
        return None
    scores = records.images.primary_score(primary)
    label = records.images.label
    drawn = [
        k
        for k, name in enumerate(records.findings)
        if "slope" in points.get(name, {}) and (~np.isnan(label[:, k])).any()
    ]
    if not drawn:
        return None
    table: list[Sequence[str | float]] = [COLUMNS]
    with matplotlib.rc_context(STYLE):
        names = [records.findings[k] for k in drawn]
        canvas, axes = panels(names, 2.4, "Threshold probability", "Net benefit, true positives an image")
        for panel, k in zip(axes, drawn, strict=True):
            point = points[records.findings[k]]
            probability = calibrated(scores[:, k], point["slope"], point["offset"])
            own, everything = net_benefit(probability, label[:, k], _THRESHOLDS)
            table += [(records.findings[k], *row) for row in np.stack([_THRESHOLDS, own, everything], 1).tolist()]
            panel.axhline(0, color=INK, linewidth=1)
            panel.plot(_THRESHOLDS, everything, "--", color=MUTED, linewidth=1)
            panel.plot(_THRESHOLDS, own, color=INK, linewidth=2.8)
            panel.plot(_THRESHOLDS, own, color=finding_colour(k), linewidth=1.8)
        highest = max(float((label[:, k] == 1).sum() / (~np.isnan(label[:, k])).sum()) for k in drawn)
        axes[0].set_xlim(0, float(_THRESHOLDS[-1]))
        axes[0].set_ylim(-0.3 * highest - 0.01, 1.1 * highest + 0.01)
    alt = (
        "Net benefit against the probability from which on one would act, a panel a finding. Coloured: acting on the "
        "calibrated probability. Grey and dashed: on every image. The line at 0: on none."
    )
    return finish("decision_curve", "Decision curves of image probabilities", alt, canvas, table)
