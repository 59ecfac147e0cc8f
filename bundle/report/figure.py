"""One figure as PNG and SVG with the text that stands for it, its numbers, and what all figures share."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bundle.results.colours import INK, MUTED

Metrics = Mapping[str, float | None]
Table = Sequence[Sequence[str | float]]  # names of the columns, then rows

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#8b949e",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": "#e2e6ea",
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: found by search, read by screen readers, small
    "svg.hashsalt": "bundle",  # equal figures give equal files
}
DOT: dict[str, Any] = {"markersize": 8, "markeredgecolor": INK, "markeredgewidth": 1}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: of its files, without suffix.
        title: its heading.
        alt: what it shows, in words, for those who cannot see it.
        png: the picture at 160 dpi.
        svg: an `<svg>` element with title and description, to be written as a file or put into a page. Its ids start
            with the name, so that several fit into one page.
        table: the numbers of its curves; empty where `metrics.json` has all that is drawn.
    """

    name: str
    title: str
    alt: str
    png: bytes
    svg: str
    table: Table = ()

    def csv(self) -> str:
        """The table; a number is as short as it can be and still be read back, and empty where it is not defined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in self.table:
            writer.writerow([cell if isinstance(cell, str) or cell == cell else "" for cell in row])
        return text.getvalue()


def whisker(axes: Axes, at: float, low: float | None, high: float | None, colour: str, upright: bool = False) -> None:
    """An interval in the finding's colour with a thin dark rim; nothing where an end is not defined."""
    if low is None or high is None:
        return
    for width, ink in ((4.5, INK), (2.8, colour)):
        x, y = [low, high], [at, at]
        axes.plot(*((y, x) if upright else (x, y)), color=ink, linewidth=width, solid_capstyle="butt", snap=False)


def finish(name: str, title: str, alt: str, canvas: Canvas, table: Table = ()) -> Figure:
    """A drawn canvas as a figure: both files, with title and description in them, and its numbers."""
    png, svg = io.BytesIO(), io.StringIO()
    with matplotlib.rc_context(STYLE):
        canvas.savefig(png, format="png", dpi=160, metadata={"Software": None, "Description": alt, "Title": title})
        canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(name, title, alt, png.getvalue(), _accessible(svg.getvalue(), name, title, alt), table)


def _accessible(svg: str, name: str, title: str, alt: str) -> str:
    """matplotlib's file as one element with title and description, of flexible size, its ids made unique by `name`."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    head, body = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    head += f' role="img" aria-labelledby="{name}-title {name}-desc"'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(alt)}</desc>'
    return f"{head}>{words}{body}"


def listed(findings: Sequence[str], metrics: Metrics, pattern: str, interval: bool = True) -> str:
    """ "Effusion 0.91 (0.88 to 0.94), ...": one key per finding in words, for a figure's description."""
    texts = []
    for finding in findings:
        key = pattern.format(finding)
        low, high = metrics.get(f"{key}/low"), metrics.get(f"{key}/high")
        text = f"{finding} {percent(metrics.get(key))}"
        if interval and low is not None and high is not None:
            text += f" ({percent(low)} to {percent(high)})"
        texts.append(text)
    return ", ".join(texts)


def percent(value: float | None) -> str:
    """Two digits, or that it is not defined."""
    return "not defined" if value is None else f"{value:.2f}"


def panels(names: Sequence[str], height: float, x_label: str, y_label: str) -> tuple[Canvas, list[Axes]]:
    """Small panels with common axes, three in a row. Margins are in inches: a layout engine takes most of the time."""
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    width, total = 3.2 * columns + 0.4, height * rows + 0.9
    canvas = Canvas(figsize=(width, total))
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    canvas.subplots_adjust(
        left=0.75 / width, right=1 - 0.15 / width, bottom=0.6 / total, top=1 - 0.35 / total, wspace=0.08, hspace=0.28
    )
    axes = list(grid.ravel())
    for panel, name in zip(axes, names, strict=False):
        panel.set_title(name, fontsize=11, loc="left", y=1.0)  # a given height is not searched for
        panel.grid(True)
        panel.set_axisbelow(True)
    for panel in axes[len(names) :]:
        panel.remove()
    canvas.supxlabel(x_label, fontsize=10, y=0.12 / total)
    canvas.supylabel(y_label, fontsize=10, x=0.12 / width)
    return canvas, axes[: len(names)]
