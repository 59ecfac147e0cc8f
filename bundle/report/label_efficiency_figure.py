"""The label-efficiency curve: quality against the share of boxes."""

from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas

from bundle.report.figure import DOT, STYLE, Figure, finish, percent, whisker
from bundle.results.colours import INK, MUTED, PALETTE

_NAMES = {"froc/mean/sens_at_1fp": "Sensitivity at 1 FP per image and finding", "auroc/mean": "AUROC"}


def draw_label_efficiency(summary: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Means over findings and seeds with intervals that include the seeds; small dots are the seeds, squares a rival.

    Args:
        summary: of `bundle.experiments.label_efficiency.summarise_cells`.

    Returns:
        The figure.
    """
    shares = sorted(summary, key=float)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(7.2, 3.4))
        panels = canvas.subplots(1, len(_NAMES))
        canvas.subplots_adjust(left=0.07, right=0.98, bottom=0.19, top=0.88, wspace=0.22)
        for panel, (key, name), colour in zip(panels, _NAMES.items(), (PALETTE[4], PALETTE[5]), strict=True):
            rivals = [f"{key}/rival"] * all(f"{key}/rival" in summary[share] for share in shares)
            for line, marker, mine in zip("-:", "os", [key, *rivals], strict=False):
                rows = [summary[share][mine] for share in shares]
                panel.plot(range(len(rows)), [row["value"] for row in rows], line, color=MUTED, linewidth=1, zorder=0)
                for x, row in enumerate(rows):
                    if row["low"] is not None:
                        whisker(panel, x, row["low"], row["high"], colour, upright=True)
                    panel.plot([x + 0.16] * len(row["seeds"]), row["seeds"], ".", color=INK, markersize=4)
                    panel.plot([x], [row["value"]], marker, color=colour, **DOT)
            panel.set_title(name + " (squares: rival)" * bool(rivals), fontsize=11, loc="left")
            panel.set_xticks(range(len(shares)), [f"{float(share):.0%}" for share in shares])
            panel.set_xlim(-0.4, len(shares) - 0.6)
            panel.set_ylim(0, 1.02)
            panel.grid(True, axis="y")
            panel.set_axisbelow(True)
        canvas.supxlabel("Share of training images that keep their boxes", fontsize=10, y=0.02)
    text = "; ".join(
        f"{name}: " + ", ".join(f"{percent(summary[share][key]['value'])} with {float(share):.0%}" for share in shares)
        for key, name in _NAMES.items()
    )
    return finish("label_efficiency", "Label efficiency", f"Mean of findings and seeds. {text} of the boxes.", canvas)
