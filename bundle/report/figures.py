"""Figures of an evaluation."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES, FROCCurve, froc_curve, sensitivity_at
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.records import Records, of_finding
from bundle.report.figure import DOT, STYLE, Figure, Metrics, Table, finish, listed, panels, percent, whisker
from bundle.report.tier_figure import draw_contrasts
from bundle.results.colours import INK, MUTED, finding_colour

Floats = NDArray[np.float64]

# Where the bands are computed: eight places an octave, from below the first reported rate to above the last.
_BAND_RATES = np.geomspace(FP_RATES[0] / 2, FP_RATES[-1] * 2, 57)
FROC_COLUMNS = ("finding", "false_positives_per_image", "sensitivity", "sensitivity_low", "sensitivity_high")


def draw_figures(records: Records, metrics: Metrics, replicates: int = 1000, seed: int = 0) -> list[Figure]:
    """All figures of an evaluation.

    FROC curves per finding with pointwise 95% bands, sensitivity at one false positive per image beside the ceiling
    that the grid sets, AUROC, and sensitivity by thirds of contrast-to-noise ratio where lesions carry it. A figure
    that would be empty is left out.

    Args:
        records: of the evaluation.
        metrics: of `bundle.metrics.summary.summarise` for these records.
        replicates: R of the bands, drawn as `summarise` draws them; 0 for no bands.
        seed: of the bands.

    Returns:
        The figures, in the order of reading.
    """
    drawn = [
        _froc_figure(records, metrics, replicates, seed),
        _sensitivity_figure(records.findings, metrics),
        _auroc_figure(records.findings, metrics),
        draw_contrasts(records.findings, metrics),
    ]
    return [figure for figure in drawn if figure is not None]


def _froc_figure(records: Records, metrics: Metrics, replicates: int, seed: int) -> Figure | None:
    draws = Draws.of(records.images.group, replicates, seed)
    curves: list[tuple[str, str, Floats, Floats | None, FROCCurve | None]] = []
    each: list[Floats] = []
    for k, finding in enumerate(records.findings):
        data = of_finding(records, k)
        if not len(data.lesion_score):
            continue
        own = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        each.append(sensitivities(draws, data, _BAND_RATES.tolist()))  # (X, 1 + R)
        curves.append((finding, finding_colour(k), each[-1][:, 0], _band(each[-1]), own))
    if not curves:
        return None
    together: Floats = np.mean(each, axis=0)
    mean = together[:, 0]
    lines = [("Mean of findings", INK, mean, _band(together), None), *curves]

    with matplotlib.rc_context(STYLE):
        canvas, axes = panels([name for name, *_ in lines], 2.4, "False positives per image", "Sensitivity")
        for panel, (_, colour, line, band, curve) in zip(axes, lines, strict=True):
            if band is not None:
                panel.fill_between(_BAND_RATES, band[0], band[1], color=colour, alpha=0.22, linewidth=0)
            if curve is None:
                panel.plot(_BAND_RATES, line, color=INK, drawstyle="steps-post", linewidth=2)
            else:
                panel.plot(_BAND_RATES, mean, color="#8b949e", drawstyle="steps-post", linewidth=1, linestyle=":")
                _rimmed(panel, *_steps(curve), colour)
        axes[0].set_xscale("log", base=2)
        axes[0].set_xlim(FP_RATES[0] / 1.15, FP_RATES[-1] * 1.15)
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].set_xticks(FP_RATES, ["⅛", "¼", "½", "1", "2", "4", "8"])
        axes[0].minorticks_off()
    title = "FROC: sensitivity against false positives per image"
    means = ", ".join(
        f"{percent(metrics.get(f'froc/mean/sens_at_{rate:g}fp'))} at {rate:g}" for rate in (0.125, 1.0, 8.0)
    )
    alt = (
        f"{len(curves)} curves, one per finding, and their mean. Mean sensitivity by FP per image: {means}. "
        "At one per image: " + listed(records.findings, metrics, "froc/{}/sens_at_1fp") + "."
    )
    return finish("froc", title, alt, canvas, _froc_table(lines))


def _froc_table(lines: Sequence[tuple[str, str, Floats, Floats | None, FROCCurve | None]]) -> Table:
    """Rows at eight rates an octave, however many candidates there are; the ends of the interval are pointwise."""
    rows: list[Sequence[str | float]] = [FROC_COLUMNS]
    for name, _, line, band, _ in lines:
        low, high = np.full((2, len(line)), np.nan) if band is None else band
        rows += [(name, *row) for row in np.stack([_BAND_RATES, line, low, high], 1).tolist()]
    return rows


def _sensitivity_figure(findings: Sequence[str], metrics: Metrics) -> Figure | None:
    alt = "Sensitivity at one false positive per image: " + listed(findings, metrics, "froc/{}/sens_at_1fp")
    alt += ". Ceiling that the patch grid sets: " + listed(findings, metrics, "froc/{}/oracle", interval=False) + "."
    title = "Sensitivity at one false positive per image"
    return _dots(
        "sensitivity", title, alt, findings, metrics, "froc/{}/sens_at_1fp", "Sensitivity", ceiling="froc/{}/oracle"
    )


def _auroc_figure(findings: Sequence[str], metrics: Metrics) -> Figure | None:
    alt = "Area under the ROC curve: " + listed(findings, metrics, "auroc/{}") + "."
    return _dots("auroc", "AUROC of whole-image scores", alt, findings, metrics, "auroc/{}", "AUROC", chance=0.5)


def _dots(
    name: str,
    title: str,
    alt: str,
    findings: Sequence[str],
    metrics: Metrics,
    pattern: str,
    label: str,
    ceiling: str | None = None,
    chance: float | None = None,
) -> Figure | None:
    """One row per finding and one for the mean: a dot, its interval and, where given, the ceiling or chance."""
    rows = [*findings, "mean"]
    if all(metrics.get(pattern.format(row)) is None for row in rows):
        return None
    with matplotlib.rc_context(STYLE):
        height = 0.42 * len(rows) + 1.3
        canvas = Canvas(figsize=(7.2, height))
        left = min(0.45, 0.03 + 0.012 * max(map(len, rows)))
        axes = canvas.add_axes((left, 0.65 / height, 0.92 - left, 1 - 1.1 / height))
        for y, row in enumerate(rows):
            colour = INK if row == "mean" else finding_colour(y)
            value, low, high = (metrics.get(pattern.format(row) + end) for end in ("", "/low", "/high"))
            top = metrics.get(ceiling.format(row)) if ceiling else None
            if top is not None:
                axes.plot(
                    [top], [y], "|", color=INK, markersize=15, markeredgewidth=1.5, label="_" if y else "grid's ceiling"
                )
            if value is None:
                axes.text(0.01, y, "not defined (see the notes)", va="center", fontsize=9, color=MUTED)
                continue
            whisker(axes, y, low, high, colour)
            axes.plot([value], [y], "o", color=colour, clip_on=False, **DOT)
            axes.annotate(f"{value:.2f}", (1.015, y), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        if chance is not None:
            axes.axvline(chance, color=MUTED, linestyle="--", linewidth=1, label="chance", zorder=0)
        axes.axhline(len(findings) - 0.5, color="#8b949e", linewidth=0.8)
        axes.set_yticks(range(len(rows)), [*findings, "Mean"])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1.01)
        axes.set_xlabel(label + ", with its 95% interval")
        axes.grid(True, axis="x")
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    return finish(name, title, alt, canvas)


def _steps(curve: FROCCurve) -> tuple[Floats, Floats]:
    """Places and heights of a curve's steps within the axes; what lies left of them enters at the left edge."""
    start = _BAND_RATES[0]
    x = np.concatenate([[start], curve.fp_per_image[curve.fp_per_image > start], [_BAND_RATES[-1]]])
    y = np.array([sensitivity_at(curve, float(place)) for place in x])
    return x, y


def _rimmed(axes: Axes, x: Floats, y: Floats, colour: str) -> None:
    """A line with a thin dark rim: the light colours of the palette need it on white."""
    axes.plot(x, y, color=INK, linewidth=2.8, drawstyle="steps-post")
    axes.plot(x, y, color=colour, linewidth=1.8, drawstyle="steps-post")


def _band(figure: Floats) -> Floats | None:
    """(X, 1 + R) -> (2, X): pointwise 2.5% and 97.5% over the replicates that are defined; None without replicates."""
    if figure.shape[1] == 1:
        return None
    defined = figure[:, 1:][:, ~np.isnan(figure[:, 1:]).any(0)]
    if not defined.shape[1]:
        return np.full((2, len(figure)), np.nan)
    band: Floats = np.quantile(defined, [0.025, 0.975], axis=1)
    return band
