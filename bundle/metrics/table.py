"""Figures by key, with the replicates and the notes that belong to them, on their way to metrics.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.bootstrap import (
    auroc_replicates,
    draw_counts,
    froc_replicates,
    wafroc_replicates,
)
from bundle.metrics.classification import auroc
from bundle.metrics.froc import froc_curve, sensitivity_at, wafroc
from bundle.metrics.intervals import Area, Kind, Share, figure_interval, mean_kind
from bundle.metrics.records import FindingRecords, Floats, ImageRecords, Integers

Metrics = dict[str, float | None]
Notes = dict[str, str]
Counts = NDArray[np.int32]

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

    def put(
        self,
        key: str,
        value: float,
        reason: str | None = None,
        draws: Floats | None = None,
        kind: Kind | None = None,
    ) -> None:
        """Keep a figure.

        Args:
            key: of it.
            value: it.
            reason: why it is not a finite number, used where it is not.
            draws: its replicates; an undefined (NaN) figure has none.
            kind: what it is; None for percentiles.
        """
        self.values[key] = value
        if reason is not None and not math.isfinite(value):
            self.notes[key] = reason
        if draws is not None and not math.isnan(value):
            self.draws[key] = draws
            if kind is not None:
                self.kinds[key] = kind

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
            self.put(
                target, math.nan, f"undefined for {'every finding' if over is None else 'all of ' + str(len(names))}"
            )
            return
        draws = [self.draws[key] for key in defined if key in self.draws]
        mean = float(np.mean([self.values[key] for key in defined]))
        kind = mean_kind([self.kinds.get(key) for key in defined])
        self.put(target, mean, None, np.mean(draws, 0) if len(draws) == len(defined) else None, kind)
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


def draw_units(table: FigureTable, images: ImageRecords, replicates: int, seed: int) -> tuple[Counts | None, Integers]:
    """Draw the records' groups for a bootstrap, and note how.

    Args:
        table: whose notes say it, under `bootstrap`.
        images: whose groups are the units.
        replicates: R; 0 for none.
        seed: of the draws.

    Returns:
        (G, R) counts of `bundle.metrics.bootstrap.draw_counts`, None without replicates or images; and the unit of
        every image (I,), 0..G-1.
    """
    units, unit = np.unique(images.group, return_inverse=True)
    if not replicates or not len(units):
        return None, unit
    what = "images" if np.array_equal(images.group, images.index) else "patients (groups of images)"
    table.notes["bootstrap"] = (
        f"{replicates} replicates, seed {seed}, {100 * table.level:g}% {INTERVALS}, drawing from {len(units)} {what}"
    )
    return draw_counts(len(units), replicates, seed), unit


def sensitivities(data: FindingRecords, fp_rates: Sequence[float]) -> list[float]:
    """`sensitivity_at` each rate of false positives per image; NaN without lesions."""
    if not len(data.lesion_score):
        return [math.nan] * len(fp_rates)
    curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
    return [sensitivity_at(curve, rate) for rate in fp_rates]


def put_sensitivities(
    table: FigureTable,
    prefix: str,
    data: FindingRecords,
    fp_rates: Sequence[float],
    counts: Counts | None,
    unit: Integers,
    reason: str,
) -> None:
    """Put `<prefix>/sens_at_<x>fp` for each rate.

    Args:
        table: to put into.
        prefix: of the keys.
        data: what counts for the finding.
        fp_rates: false positives per image.
        counts: (G, R) draws, or None.
        unit: (I,) unit of every image.
        reason: why there are no lesions, used where there are none.
    """
    draws = froc_replicates(counts, data, unit, fp_rates) if counts is not None and len(data.lesion_score) else None
    kind = share_of(unit[data.lesion_image])
    for i, value in enumerate(sensitivities(data, fp_rates)):
        table.put(f"{prefix}/sens_at_{fp_rates[i]:g}fp", value, reason, None if draws is None else draws[i], kind)


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
    table: FigureTable,
    prefix: str,
    area_key: str,
    data: FindingRecords,
    fp_rates: Sequence[float],
    counts: Counts | None,
    unit: Integers,
) -> None:
    """Put a finding's sensitivities, their mean (`<prefix>/score`), the ceiling (`<prefix>/oracle`) and wAFROC area.

    Args:
        table: to put into.
        prefix: of the keys.
        area_key: of the wAFROC area.
        data: what counts for the finding.
        fp_rates: false positives per image.
        counts: (G, R) draws, or None.
        unit: (I,) unit of every image.
    """
    reason = no_lesions(data)
    put_sensitivities(table, prefix, data, fp_rates, counts, unit, reason)
    keys = [f"{prefix}/sens_at_{rate:g}fp" for rate in fp_rates]
    draws = [table.draws[key] for key in keys if key in table.draws]
    score = float(np.mean([table.values[key] for key in keys]))
    kind = share_of(np.tile(unit[data.lesion_image], len(fp_rates)))  # found or missed, at each rate
    table.put(f"{prefix}/score", score, reason, np.mean(draws, 0) if draws else None, kind)
    put_oracle(table, f"{prefix}/oracle", data, reason)
    area, area_draws, what = math.nan, None, None
    if len(data.lesion_score) and len(data.normal_score):
        area = wafroc(data.normal_score, data.lesion_score, data.lesion_image)
        area_draws = None if counts is None else wafroc_replicates(counts, data, unit)
        what = area_of(unit[np.unique(data.lesion_image)], unit[data.normal_image])
    table.put(area_key, area, "no lesion-free images" if len(data.lesion_score) else reason, area_draws, what)


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
    positive: NDArray[np.bool_],
    counts: Counts | None,
    unit: Integers,
) -> None:
    """Put the area of `positive` images against those labelled 0, under every one of `keys`.

    Args:
        table: to put into.
        keys: of the figure.
        scores: (I,) image scores.
        label: (I,) 1, 0 or NaN.
        positive: (I,) images to tell from those labelled 0.
        counts: (G, R) draws, or None.
        unit: (I,) unit of every image.
    """
    negative = label == 0
    value, reason = auroc(scores, np.where(positive, 1.0, np.where(negative, 0.0, np.nan)))
    draws = None
    if counts is not None and reason is None:
        draws = auroc_replicates(counts, scores[negative], unit[negative], scores[positive], unit[positive])
    kind = None if reason else area_of(unit[positive], unit[negative])
    for key in keys:
        table.put(key, value, reason, draws, kind)
