"""The network's FROC curve and each reader's operating point, by the reference that the other readers make."""

from collections.abc import Sequence

import matplotlib
import numpy as np

from bundle.comparison.readers import ReaderPoint
from bundle.report.figure import DOT, STYLE, Figure, finish, panels
from bundle.results.colours import INK, PALETTE

_TICKS = {1 / 64: "1/64", 1 / 16: "1/16", 0.25: "¼", 1.0: "1", 4.0: "4"}  # of one finding, readers make few
_LEFT, _RIGHT = 1 / 64, 16.0


def draw_readers(points: Sequence[ReaderPoint]) -> Figure | None:
    """A panel per finding, a colour per reader; None without readers.

    What lies left of the axis stands at its edge: false positives have no logarithm of none.
    """
    if not points:
        return None
    findings, readers = ([*dict.fromkeys(names)] for names in ([p.finding for p in points], [p.reader for p in points]))
    told = []
    table: list[Sequence[str | float]] = [("finding", "reader", "whose", "false_positives_per_image", "sensitivity")]
    with matplotlib.rc_context(STYLE):
        canvas, axes = panels(findings, 2.4, "False positives per image", "Sensitivity")
        for panel, finding in zip(axes, findings, strict=True):
            for point in (point for point in points if point.finding == finding):
                curve = zip(point.model_fp_per_image, point.model_sensitivity, strict=True)
                table.append((finding, point.reader, "reader", point.fp_per_image, point.sensitivity))
                table += [(finding, point.reader, "network", *place) for place in curve]
                colour = PALETTE[readers.index(point.reader) % len(PALETTE)]
                x = np.clip([*point.model_fp_per_image, _RIGHT], _LEFT, _RIGHT)
                y = [*point.model_sensitivity, point.model_sensitivity[-1]]
                panel.plot(x, y, color=INK, linewidth=2.4, drawstyle="steps-post")
                panel.plot(x, y, color=colour, linewidth=1.4, drawstyle="steps-post")
                at = float(np.clip(point.fp_per_image, _LEFT, _RIGHT))
                panel.plot([at], [point.sensitivity], "o", color=colour, clip_on=False, label=point.reader, **DOT)
                told.append(f"{point.reader}, {finding}: {point.sensitivity:.2f} at {point.fp_per_image:.2f}")
        axes[0].set_xscale("log", base=2)
        axes[0].set_xlim(_LEFT, _RIGHT)
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].set_xticks([*_TICKS], [*_TICKS.values()])
        axes[0].minorticks_off()
        axes[0].legend(loc="lower right", frameon=False, fontsize=8)
    title = "Readers' operating points on the network's FROC curve by the same reference"
    alt = f"Readers' sensitivity at their false positives per image. {'; '.join(told)}."
    return finish("readers", title, alt, canvas, table)
