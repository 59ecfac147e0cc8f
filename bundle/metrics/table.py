"""Figures by key, with the replicates and the notes that belong to them, on their way to metrics.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.classification import auroc
from bundle.metrics.draws import Draws
from bundle.metrics.froc import froc_curve
from bundle.metrics.froc_figures import sensitivities, wafroc_area
from bundle.metrics.intervals import Area, Kind, Share, figure_interval, mean_kind
from bundle.metrics.labelled import lacking_class
from bundle.metrics.records import FindingRecords, Floats, ImageRecords, Integers

Metrics = dict[str, float | None]
Notes = dict[str, str]

NO_LESIONS = "no lesions among the images that count"
NOTHING_COUNTS = "no image counts: no labels 0, no complete boxes"
INTERVALS = "intervals (Wilson's for shares, Newcombe's for areas, percentiles for all else)"


@dataclass
class FigureTable:
    """Figures by key, their replicates, and the notes; a mean is taken over findings by a pattern of keys.

    Attributes:
        findings: names, over which means are taken.
        level: of confidence.
        values: key -> figure; NaN where undefined, infinite where a search has no end.
        draws: key -> (R,) replicates; NaN where undefined.
        kinds: key -> what the figure is, which decides its interval; one of no kind has percentiles of its replicates.
        notes: key -> why a figure is not a number, or what to know of it.
    """

    findings: tuple[str, ...]
    level: float = 0.95
    values: dict[str, float] = field(default_factory=dict)
    draws: dict[str, Floats] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    notes: Notes = field(default_factory=dict)

    def put(self, key: str, figure: float | Floats, reason: str | None = None, kind: Kind | None = None) -> None:
        """Keep a figure.

        Args:
            key: of it.
            figure: it alone, or (1 + R,) with its replicates; an undefined (NaN) figure has none.
            reason: why it is not a finite number, used where it is not.
            kind: what it is; None for percentiles.
        """
        value = float(figure[0]) if isinstance(figure, np.ndarray) else figure
        self.values[key] = value
        if reason is not None and not math.isfinite(value):
            self.notes[key] = reason
        if isinstance(figure, np.ndarray) and len(figure) > 1 and not math.isnan(value):
            self.draws[key] = figure[1:]
            if kind is not None:
                self.kinds[key] = kind

    def columns(self, key: str) -> Floats:
        """A figure that was put, (1 + R,), or (1,) where it has no replicates."""
        return np.append(self.values[key], self.draws.get(key, ()))

    def mean(self, pattern: str, over: Sequence[str] | None = None) -> None:
        """Mean over the findings whose figure is defined; a replicate counts where all of these are defined in it.

        A mean of shares is a share, one of areas an area, one of differences a difference.

        Args:
            pattern: of the key, with {} for the finding; the mean's key has `mean` there.
            over: other names to stand there; None for the findings.
        """
        names, what = (self.findings, "findings") if over is None else (over, "parts")
        keys = {finding: pattern.format(finding) for finding in names}
        keys = {finding: key for finding, key in keys.items() if key in self.values}
        defined = [key for key in keys.values() if not math.isnan(self.values[key])]
        target = pattern.format("mean")
        if not defined:
            why = f"undefined for {'every finding' if over is None else 'all of ' + str(len(names))}"
            self.put(target, math.nan, why)
            return
        drawn = all(key in self.draws for key in defined)
        each = [self.columns(key)[: None if drawn else 1] for key in defined]
        self.put(target, np.mean(each, 0), None, mean_kind([self.kinds.get(key) for key in defined]))
        if len(defined) < len(keys):
            missing = ", ".join(finding for finding, key in keys.items() if key not in defined)
            self.notes[target] = f"mean of {len(defined)} of {len(keys)} {what}, undefined for: {missing}"

    def finish(self) -> tuple[Metrics, Notes]:
        """Figures with `/low` and `/high`, None where not a finite number, and the notes that say why.

        Infinite replicates take part in an interval of percentiles, at its end; undefined ones in none. Both are
        counted in the notes. An interval without width would claim a certainty that no sample gives: both its ends are
        None.
        """
        metrics: Metrics = {}
        for key, value in self.values.items():
            metrics[key] = value if math.isfinite(value) else None
            if key not in self.draws:
                continue
            draws = self.draws[key]
            low, high = figure_interval(value, draws, self.kinds.get(key), self.level)
            if undefined := int(np.isnan(draws).sum()):
                self._say(key, f"interval without {undefined} of {len(draws)} replicates in which it is undefined")
            if infinite := int(np.isinf(draws).sum()):
                self._say(key, f"infinite in {infinite} of {len(draws)} replicates, which count at the interval's end")
            for end, bound in (("low", low), ("high", high)):
                metrics[f"{key}/{end}"] = bound if math.isfinite(bound) and low < high else None
                if math.isnan(bound):
                    self.notes[f"{key}/{end}"] = "undefined in every replicate"
                elif math.isinf(bound):
                    self.notes[f"{key}/{end}"] = "plus infinity" if bound > 0 else "minus infinity"
                elif low == high:
                    self.notes[f"{key}/{end}"] = "no interval: the figure is the same in every replicate"
        return metrics, self.notes

    def _say(self, key: str, text: str) -> None:
        self.notes[key] = f"{self.notes[key]}; {text}" if key in self.notes else text


def draw_units(table: FigureTable, images: ImageRecords, replicates: int, seed: int) -> Draws:
    """Draw the records' groups for a bootstrap, and note how under `bootstrap`.

    Args:
        table: whose notes say it.
        images: whose groups are the units.
        replicates: R; 0 for none.
        seed: of the draws.

    Returns:
        The sample and its replicates, of the images.
    """
    draws = Draws.of(images.group, replicates, seed)
    if draws.counts.shape[1] > 1:
        what = "images" if np.array_equal(images.group, images.index) else "patients (groups of images)"
        note_bootstrap(table, draws, seed, what)
    return draws


def note_bootstrap(table: FigureTable, draws: Draws, seed: int, what: str) -> None:
    """Note how the table's replicates were drawn, from `what`."""
    units, columns = draws.counts.shape
    table.notes["bootstrap"] = (
        f"{columns - 1} replicates, seed {seed}, {100 * table.level:g}% {INTERVALS}, drawing from {units} {what}"
    )


def put_sensitivities(
    table: FigureTable, prefix: str, data: FindingRecords, fp_rates: Sequence[float], draws: Draws, reason: str
) -> Floats:
    """Put `<prefix>/sens_at_<x>fp` for each rate, and return them (X, 1 + R); `reason` is why there are no lesions."""
    figures, kind = sensitivities(draws, data, fp_rates), share_of(draws.unit[data.lesion_image])
    for rate, figure in zip(fp_rates, figures, strict=True):
        table.put(f"{prefix}/sens_at_{rate:g}fp", figure, reason, kind)
    return figures


def threshold_at(data: FindingRecords, fp_rate: float) -> float:
    """The lowest score at which a finding has no more than so many false positives per image.

    Args:
        data: what counts for the finding.
        fp_rate: the rate.

    Returns:
        The score; +inf where even the highest gives more, or no image counts.
    """
    if not len(data.image):
        return math.inf
    # without lesions a missed one stands in: the rate of false positives is defined all the same
    lesions = data.lesion_score if len(data.lesion_score) else [-math.inf]
    curve = froc_curve(data.fp_score, lesions, len(data.image))
    return float(curve.thresholds[(curve.fp_per_image <= fp_rate).sum() - 1])


def share_of(unit: Integers) -> Share:
    """A share of as many as there are units given, (N,) one each: of their patients."""
    return Share(len(unit), len(np.unique(unit)))


def put_froc(
    table: FigureTable, prefix: str, area_key: str, data: FindingRecords, fp_rates: Sequence[float], draws: Draws
) -> None:
    """Put a finding's sensitivities, their mean (`<prefix>/score`), the ceiling (`<prefix>/oracle`) and wAFROC area.

    Args:
        table: to put into.
        prefix: of the keys.
        area_key: of the wAFROC area.
        data: what counts for the finding.
        fp_rates: false positives per image.
        draws: of the images.
    """
    reason, unit = no_lesions(data), draws.unit
    figures = put_sensitivities(table, prefix, data, fp_rates, draws, reason)
    kind = share_of(np.tile(unit[data.lesion_image], len(fp_rates)))  # found or missed, at each rate
    table.put(f"{prefix}/score", figures.mean(0), reason, kind)
    put_oracle(table, f"{prefix}/oracle", data, reason)
    what = area_of(unit[np.unique(data.lesion_image)], unit[data.normal_image])
    why = "no lesion-free images" if len(data.lesion_score) else reason
    table.put(area_key, wafroc_area(draws, data), why, what)


def area_of(positive: Integers, negative: Integers) -> Area:
    """An area of images by their units: those that should score above, (P,), and the others, (Q,)."""
    return Area(((len(positive), len(negative)),), ((len(np.unique(positive)), len(np.unique(negative))),))


def no_lesions(data: FindingRecords) -> str:
    """Why a finding has no lesions, where it has none."""
    return NO_LESIONS if len(data.image) else NOTHING_COUNTS


def put_oracle(table: FigureTable, key: str, data: FindingRecords, reason: str) -> None:
    """Put the share of the lesions that the grid lets a patch hit; `reason` is why there are none."""
    known = data.lesion_oracle[~np.isnan(data.lesion_oracle)]
    why = "the patches' geometry was not given" if len(data.lesion_score) else reason
    table.put(key, float(known.mean()) if len(known) else math.nan, why)


def put_auroc(
    table: FigureTable,
    keys: Sequence[str],
    scores: Floats,
    label: Floats,
    draws: Draws,
    positive: NDArray[np.bool_] | None = None,
) -> None:
    """Put the area of the positive images against those labelled 0, under every one of `keys`.

    Args:
        table: to put into.
        keys: of the figure.
        scores: (I,) image scores.
        label: (I,) 1, 0 or NaN.
        draws: of the images.
        positive: (I,) images to tell from those labelled 0; None for those labelled 1.
    """
    mine = label if positive is None else np.where(positive, 1.0, np.where(label == 0, 0.0, np.nan))
    reason = lacking_class(mine[~np.isnan(mine)] == 1)
    kind = None if reason else area_of(draws.unit[mine == 1], draws.unit[mine == 0])
    figure = auroc(scores, mine, draws)
    for key in keys:
        table.put(key, figure, reason, kind)
