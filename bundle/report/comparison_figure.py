"""The methods of a comparison side by side."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure as Canvas

from bundle.report.figure import DOT, STYLE, Figure, Metrics, finish, percent, whisker
from bundle.results.colours import INK, MUTED, PALETTE

_SENSITIVITY = "compare/{}/mean/sens_at_1fp"
_FALSE_POSITIVES = "compare/{}/mean/fp_at_reference_sens_at_1fp"


def draw_comparison(methods: Sequence[str], reference: str, metrics: Metrics) -> Figure:
    """Left, mean sensitivity at one false positive per image; right, false positives at the reference's sensitivity.

    Args:
        methods: names, in the order of rows.
        reference: the method that the others are held against; it stands out by its colour.
        metrics: of `bundle.metrics.paired.compare`.

    Returns:
        The figure.
    """
    with matplotlib.rc_context(STYLE):
        height = 0.34 * len(methods) + 1.1
        canvas = Canvas(figsize=(9.6, height))
        left, right = canvas.subplots(1, 2, sharey=True)
        canvas.subplots_adjust(left=0.37, right=0.98, bottom=0.6 / height, top=1 - 0.15 / height, wspace=0.08)
        ends = [metrics.get(_FALSE_POSITIVES.format(name) + "/high") or 0.0 for name in methods]
        values = [metrics.get(_FALSE_POSITIVES.format(name)) or 0.0 for name in methods]
        most = max(2.0, 1.1 * max([*ends, *values]))
        for y, name in enumerate(methods):
            colour = PALETTE[5] if name == reference else PALETTE[1]
            for panel, key in ((left, _SENSITIVITY), (right, _FALSE_POSITIVES)):
                value, low, high = (metrics.get(key.format(name) + end) for end in ("", "/low", "/high"))
                if value is None:
                    # a sensitivity is always defined but without lesions
                    text = "no lesions" if metrics.get(_SENSITIVITY.format(name)) is None else "never reached"
                    panel.text(0.98, y, text, transform=panel.get_yaxis_transform(), ha="right", va="center",
                               fontsize=8, color=MUTED)  # fmt: skip
                    continue
                if low is not None and high is None:  # the interval has no end: it leaves the panel
                    high = most
                    panel.plot([1], [y], ">", color=colour, transform=panel.get_yaxis_transform(), clip_on=False, **DOT)
                whisker(panel, y, low, high, colour)
                panel.plot([value], [y], "o", color=colour, clip_on=False, **DOT)
        left.set_yticks(range(len(methods)), list(methods))
        left.set_ylim(len(methods) - 0.4, -0.6)
        left.set_xlim(0, 1.01)
        left.set_xlabel("Sensitivity at 1 FP per image and finding", fontsize=9)
        right.set_xscale("symlog", linthresh=1, base=2)
        right.set_xlim(0, most)
        ticks = [0, *(2**n for n in range(12) if 2**n <= most)]
        right.set_xticks(ticks, [str(tick) for tick in ticks])
        right.minorticks_off()
        right.set_xlabel(f"FP per image at {reference}'s sensitivity", fontsize=9)
        for panel in (left, right):
            panel.grid(True, axis="x")
            panel.set_axisbelow(True)
            panel.tick_params(axis="y", length=0, labelcolor=INK)
    text = "; ".join(f"{name} {percent(metrics.get(_SENSITIVITY.format(name)))}" for name in methods)
    alt = f"Mean sensitivity at one false positive per image: {text}."
    return finish("comparison", "Comparison of methods, means of the findings with 95% intervals", alt, canvas)
