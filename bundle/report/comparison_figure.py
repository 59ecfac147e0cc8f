"""The methods of a comparison side by side."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure as Canvas

from bundle.report.figure import DOT, STYLE, Figure, Metrics, finish, percent, whisker
from bundle.results.colours import INK, MUTED, PALETTE

_SENSITIVITY = "compare/{}/mean/sens_at_1fp"
_OWN = "compare/{}/mean/fp_at_own_sens_at_1fp"


def draw_comparison(methods: Sequence[str], reference: str, metrics: Metrics) -> Figure:
    """Left, mean sensitivity at 1 FP/image per finding; right, the ratio of false positives at that sensitivity.

    The ratio is the reference's false positives over the method's, both at the sensitivity that the *method* has at 1
    FP/image.

    Args:
        methods: names, in the order of rows.
        reference: the method that the others are held against; it stands out by its colour.
        metrics: of `bundle.metrics.paired.compare`.

    Returns:
        The figure.
    """
    with matplotlib.rc_context(STYLE):
        height = 0.34 * len(methods) + 1.25
        canvas = Canvas(figsize=(9.6, height))
        left, right = canvas.subplots(1, 2, sharey=True)
        canvas.subplots_adjust(left=0.37, right=0.98, bottom=0.75 / height, top=1 - 0.15 / height, wspace=0.08)
        ratio = f"{_OWN}/ratio"
        found = [metrics.get(ratio.format(name) + end) or 0.0 for name in methods for end in ("", "/high")]
        most = max(1.2, 1.1 * max(found))
        for y, name in enumerate(methods):
            colour = PALETTE[5] if name == reference else PALETTE[1]
            for panel, key in ((left, _SENSITIVITY), (right, ratio)):
                if panel is right and name == reference:
                    continue
                value, low, high = (metrics.get(key.format(name) + end) for end in ("", "/low", "/high"))
                if value is None:
                    panel.text(0.98, y, _why(metrics, name, reference), transform=panel.get_yaxis_transform(),
                               ha="right", va="center", fontsize=8, color=MUTED)  # fmt: skip
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
        parts = [0.25, 0.5, 0.75] if most <= 4 else []  # else their labels overlap
        ticks = [0, *parts, *(2**n for n in range(12) if 2**n <= most)]
        right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        right.minorticks_off()
        right.set_xlabel(f"Ratio of FP at that sensitivity:\n{reference} over the method", fontsize=9)
        for panel in (left, right):
            panel.grid(True, axis="x")
            panel.set_axisbelow(True)
            panel.tick_params(axis="y", length=0, labelcolor=INK)
    text = "; ".join(f"{name} {percent(metrics.get(_SENSITIVITY.format(name)))}" for name in methods)
    shares = "; ".join(
        f"{name} {percent(share)}"
        for name in methods
        if (share := metrics.get(f"{_OWN}/ratio".format(name))) is not None
    )
    alt = f"Mean sensitivity at one false positive per image: {text}. {reference}'s false positives there: {shares}."
    return finish("comparison", "Comparison of methods, means of the findings with 95% intervals", alt, canvas)


def _why(metrics: Metrics, name: str, reference: str) -> str:
    """What stands in place of a number; a sensitivity is always defined but without lesions."""
    if metrics.get(_SENSITIVITY.format(name)) is None:
        return "no lesions"
    needed = f"{_OWN}/reference".format(name)
    if needed not in metrics:  # of a comparison made before there was the figure
        return "not computed"
    return f"not reached by {reference}" if metrics[needed] is None else "no FP"
