"""Sensitivity by tiers of the lesions, of contrast or of size."""

from collections.abc import Mapping, Sequence

import matplotlib

from bundle.metrics.strata import SIZE_TIERS
from bundle.metrics.summary import CNR_TIERS
from bundle.report.figure import DOT, STYLE, Figure, Metrics, finish, panels, percent, whisker
from bundle.results.colours import INK, MUTED, finding_colour


def draw_contrasts(findings: Sequence[str], metrics: Metrics) -> Figure | None:
    """By thirds of contrast-to-noise ratio, from `bundle.metrics.summarise`; None where no lesion has one."""
    words = dict(zip(CNR_TIERS, ("faint", "middle", "clear"), strict=True))
    title, label = "Sensitivity by thirds of contrast-to-noise ratio", "Third of contrast-to-noise ratio"
    return _draw("cnr", title, words, label, "from the faintest to the clearest third", findings, metrics, False)


def draw_sizes(findings: Sequence[str], metrics: Metrics) -> Figure | None:
    """By size, with the grid's ceiling, from `bundle.metrics.by_size`; None where no lesion's is known."""
    words = dict(zip(SIZE_TIERS, ("below 1", "1 to 4", "above 4"), strict=True))
    title, label = "Sensitivity by lesion size, dashes the ceiling of the grid", "Area of the box in patches"
    return _draw("size", title, words, label, "from the smallest lesions to the largest", findings, metrics, True)


def _draw(
    name: str,
    title: str,
    tiers: Mapping[str, str],
    label: str,
    order: str,
    findings: Sequence[str],
    metrics: Metrics,
    ceiling: bool,
) -> Figure | None:
    """Lines from tier to tier, a panel per finding: the findings differ in level, not in axis."""
    pattern = "froc/{}/{}/sens_at_1fp"
    rows = [
        row for row in ["mean", *findings] if any(metrics.get(pattern.format(row, tier)) is not None for tier in tiers)
    ]
    if not rows:
        return None
    parts = []
    with matplotlib.rc_context(STYLE):
        names = ["Mean of findings" if row == "mean" else row for row in rows]
        canvas, axes = panels(names, 2.0, label, "Sensitivity at 1 FP per image and finding")
        for panel, row in zip(axes, rows, strict=True):
            colour = INK if row == "mean" else finding_colour(findings.index(row))
            points, told = [], []
            for x, tier in enumerate(tiers):
                key = pattern.format(row, tier)
                value, low, high = (metrics.get(key + end) for end in ("", "/low", "/high"))
                told.append("no lesions" if value is None else percent(value))
                if value is None:
                    panel.text(x, 0.03, "no lesions", ha="center", fontsize=8, color=MUTED)
                    continue
                points.append((x, value))
                whisker(panel, x, low, high, colour, upright=True)
                top = metrics.get(f"froc/{row}/{tier}/oracle") if ceiling else None
                if top is not None:
                    panel.plot([x], [top], "_", color=INK, markersize=15, markeredgewidth=1.5, clip_on=False)
            panel.plot(*zip(*points, strict=True), "-", color="#8b949e", linewidth=1, zorder=0)
            panel.plot(*zip(*points, strict=True), "o", color=colour, clip_on=False, **DOT)
            parts.append(f"{row} {', '.join(told)}")
        axes[0].set_xticks(range(len(tiers)), [*tiers.values()])
        axes[0].set_xlim(-0.4, len(tiers) - 0.6)
        axes[0].set_ylim(-0.03, 1.03)
    alt = f"At one false positive per image, {order}: {'; '.join(parts)}."
    return finish(name, title, alt, canvas)
