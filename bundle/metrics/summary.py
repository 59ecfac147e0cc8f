"""From records to the figures of metrics.json, with intervals, and to the notes that explain them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bundle.metrics.bootstrap import (
    auroc_replicates,
    draw_counts,
    froc_replicates,
    interval,
    wafroc_replicates,
)
from bundle.metrics.classification import auroc
from bundle.metrics.froc import FP_RATES, froc_curve, sensitivity_at, wafroc
from bundle.metrics.records import COUNTED, UNBOXED, UNKNOWN, FindingRecords, Floats, Integers, Records, of_finding

CNR_TIERS = ("cnr_low", "cnr_mid", "cnr_high")

Metrics = dict[str, float | None]
Notes = dict[str, str]
Counts = NDArray[np.int32]


def summarise(
    records: Records,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = FP_RATES,
    primary: str | None = None,
) -> tuple[Metrics, Notes]:
    """Every figure of an evaluation, per finding and in the macro mean, with bootstrap intervals.

    Keys, with <f> a finding or `mean` (of the findings for which the figure is defined):

    - `froc/<f>/sens_at_<x>fp`, `froc/<f>/score` (mean over the rates), `wafroc/<f>`: `bundle.metrics.froc`;
    - `froc/<f>/oracle`: share of lesions that the grid lets a patch hit, the ceiling beside each sensitivity;
    - `auroc/<f>`: area of the primary image score; `auroc/<score>/<f>`: of each, where there are several;
    - `n_images/<f>`, `n_lesions/<f>`, `n_excluded/<f>` with its parts `/unboxed` and `/unknown`: what FROC counts, and
      what it leaves out; `n_positive/<f>`, `n_negative/<f>`: what AUROC counts;
    - `froc/<f>/<tier>/sens_at_<x>fp`, `auroc/<f>/<tier>`, `n_lesions/<f>/<tier>`, tier `cnr_low`, `cnr_mid`,
      `cnr_high`: by thirds of contrast-to-noise ratio, where lesions carry it. `cnr_edges/1` and `/2` part the counted
      lesions of all findings together and stay fixed in the replicates. Sensitivity is then of the tier's lesions, with
      the false positives of all images; AUROC is of the images whose strongest lesion lies in the tier against all
      negatives;
    - `<key>/low`, `<key>/high`: percentile interval. The replicates of all findings are of the same draws, so that of
      a mean is honest about images that carry several findings.

    A figure that is undefined is None, and its key in the notes says why; a mean that lacks findings, and an interval
    that lacks replicates, say so there too. Units of the bootstrap are the records' groups.

    Args:
        records: of the evaluation.
        replicates: R; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        fp_rates: false positives per image.
        primary: name of the image score that stands for the network; the first if None.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: where `primary` names no score.
    """
    names = list(records.images.scores)
    if primary is not None and primary not in names:
        raise ValueError(f"no image score {primary!r}; there are {names}")
    units, unit = np.unique(records.images.group, return_inverse=True)
    counts = draw_counts(len(units), replicates, seed) if replicates and len(units) else None
    table = _Table(records.findings, level)
    table.notes["criterion"] = records.criterion
    if counts is not None:
        table.notes["bootstrap"] = (
            f"{replicates} replicates, seed {seed}, {100 * level:g}% percentile intervals, drawing from {len(units)} "
            + (
                "images"
                if np.array_equal(records.images.group, records.images.index)
                else "patients (groups of images)"
            )
        )

    selections = [of_finding(records, k) for k in range(len(records.findings))]
    edges = _cnr_edges(selections)
    for k, (finding, data) in enumerate(zip(records.findings, selections, strict=True)):
        _count(table, records, finding, k, data)
        _froc(table, finding, data, fp_rates, counts, unit)
    for kind in (*(f"sens_at_{rate:g}fp" for rate in fp_rates), "score", "oracle"):
        table.mean("froc/{}/" + kind)
    table.mean("wafroc/{}")

    for name in names:
        for k, finding in enumerate(records.findings):
            scores, label = records.images.scores[name][:, k], records.images.label[:, k]
            keys = [f"auroc/{name}/{finding}"] if len(names) > 1 else []
            keys += [f"auroc/{finding}"] if name == (primary or names[0]) else []
            _auroc(table, keys, scores, label, label == 1, counts, unit)
        if len(names) > 1:
            table.mean(f"auroc/{name}/{{}}")
    if names:
        table.mean("auroc/{}")
    if edges is not None:
        table.values["cnr_edges/1"], table.values["cnr_edges/2"] = edges
        scores_of = records.images.scores[primary or names[0]] if names else None
        _by_cnr(table, records, selections, edges, fp_rates, scores_of, counts, unit)
    return table.finish()


@dataclass
class _Table:
    """Figures by key, their replicates, and the notes; a mean is taken over findings by a pattern of keys."""

    findings: tuple[str, ...]
    level: float
    values: dict[str, float] = field(default_factory=dict)
    draws: dict[str, Floats] = field(default_factory=dict)
    notes: Notes = field(default_factory=dict)

    def put(self, key: str, value: float, reason: str | None = None, draws: Floats | None = None) -> None:
        self.values[key] = value
        if reason is not None and math.isnan(value):
            self.notes[key] = reason
        elif draws is not None:
            self.draws[key] = draws

    def mean(self, pattern: str) -> None:
        """Mean over the findings whose figure is defined; a replicate counts where all of these are defined in it."""
        keys = {finding: pattern.format(finding) for finding in self.findings}
        keys = {finding: key for finding, key in keys.items() if key in self.values}
        defined = [key for key in keys.values() if not math.isnan(self.values[key])]
        target = pattern.format("mean")
        if not defined:
            self.put(target, math.nan, "undefined for every finding")
            return
        draws = [self.draws[key] for key in defined if key in self.draws]
        mean = float(np.mean([self.values[key] for key in defined]))
        self.put(target, mean, None, np.mean(draws, 0) if len(draws) == len(defined) else None)
        if len(defined) < len(keys):
            missing = ", ".join(finding for finding, key in keys.items() if key not in defined)
            self.notes[target] = f"mean of {len(defined)} of {len(keys)} findings, undefined for: {missing}"

    def finish(self) -> tuple[Metrics, Notes]:
        metrics: Metrics = {}
        for key, value in self.values.items():
            metrics[key] = None if math.isnan(value) else value
            if key not in self.draws:
                continue
            low, high, undefined = interval(self.draws[key], self.level)
            metrics[f"{key}/low"] = None if math.isnan(low) else low
            metrics[f"{key}/high"] = None if math.isnan(high) else high
            if undefined:
                text = f"interval without {undefined} of {len(self.draws[key])} replicates in which it is undefined"
                self.notes[key] = f"{self.notes[key]}; {text}" if key in self.notes else text
                if math.isnan(low):
                    self.notes[f"{key}/low"] = self.notes[f"{key}/high"] = "undefined in every replicate"
        return metrics, self.notes


def _count(table: _Table, records: Records, finding: str, k: int, data: FindingRecords) -> None:
    status, label = records.images.status[:, k], records.images.label[:, k]
    for key, number in (
        (f"n_images/{finding}", len(data.image)),
        (f"n_lesions/{finding}", len(data.lesion_score)),
        (f"n_excluded/{finding}", (status != COUNTED).sum()),
        (f"n_excluded/{finding}/unboxed", (status == UNBOXED).sum()),
        (f"n_excluded/{finding}/unknown", (status == UNKNOWN).sum()),
        (f"n_positive/{finding}", (label == 1).sum()),
        (f"n_negative/{finding}", (label == 0).sum()),
    ):
        table.put(key, int(number))


def _froc(
    table: _Table,
    finding: str,
    data: FindingRecords,
    fp_rates: Sequence[float],
    counts: Counts | None,
    unit: Integers,
) -> None:
    lesions, images = len(data.lesion_score), len(data.image)
    reason = "no lesions among the images that count" if images else "no image counts: no labels 0, no complete boxes"
    draws = froc_replicates(counts, data, unit, fp_rates) if counts is not None and lesions else None
    sensitivities = _sensitivities(data, fp_rates)
    for i, rate in enumerate(fp_rates):
        key = f"froc/{finding}/sens_at_{rate:g}fp"
        table.put(key, sensitivities[i], reason, None if draws is None else draws[i])
    table.put(f"froc/{finding}/score", float(np.mean(sensitivities)), reason, None if draws is None else draws.mean(0))
    known = data.lesion_oracle[~np.isnan(data.lesion_oracle)]
    table.put(
        f"froc/{finding}/oracle",
        float(known.mean()) if len(known) else math.nan,
        "the patches' geometry was not given" if lesions else reason,
    )
    area, area_draws = math.nan, None
    if lesions and len(data.normal_score):
        area = wafroc(data.normal_score, data.lesion_score, data.lesion_image)
        area_draws = None if counts is None else wafroc_replicates(counts, data, unit)
    table.put(f"wafroc/{finding}", area, reason if not lesions else "no lesion-free images", area_draws)


def _sensitivities(data: FindingRecords, fp_rates: Sequence[float]) -> list[float]:
    if not len(data.lesion_score):
        return [math.nan] * len(fp_rates)
    curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
    return [sensitivity_at(curve, rate) for rate in fp_rates]


def _auroc(
    table: _Table,
    keys: Sequence[str],
    scores: Floats,
    label: Floats,
    positive: NDArray[np.bool_],
    counts: Counts | None,
    unit: Integers,
) -> None:
    """Area of `positive` images against those labelled 0, under every one of `keys`."""
    negative = label == 0
    value, reason = auroc(scores, np.where(positive, 1.0, np.where(negative, 0.0, np.nan)))
    draws = None
    if counts is not None and reason is None:
        draws = auroc_replicates(counts, scores[negative], unit[negative], scores[positive], unit[positive])
    for key in keys:
        table.put(key, value, reason, draws)


def _cnr_edges(selections: Sequence[FindingRecords]) -> tuple[float, float] | None:
    cnr = np.concatenate([data.lesion_cnr for data in selections]) if selections else np.zeros(0)
    cnr = cnr[~np.isnan(cnr)]
    if not len(cnr):
        return None
    low, high = np.quantile(cnr, [1 / 3, 2 / 3])
    return float(low), float(high)


def _by_cnr(
    table: _Table,
    records: Records,
    selections: Sequence[FindingRecords],
    edges: tuple[float, float],
    fp_rates: Sequence[float],
    scores: Floats | None,
    counts: Counts | None,
    unit: Integers,
) -> None:
    for number, tier in enumerate(CNR_TIERS):
        for k, (finding, data) in enumerate(zip(records.findings, selections, strict=True)):
            # a value on an edge belongs to the lower tier; NaN would sort last, so it is kept out by name
            inside = (np.searchsorted(edges, data.lesion_cnr) == number) & ~np.isnan(data.lesion_cnr)
            part = replace(data, lesion_score=data.lesion_score[inside], lesion_image=data.lesion_image[inside])
            table.put(f"n_lesions/{finding}/{tier}", int(inside.sum()))
            draws = froc_replicates(counts, part, unit, fp_rates) if counts is not None and inside.any() else None
            for i, value in enumerate(_sensitivities(part, fp_rates)):
                key = f"froc/{finding}/{tier}/sens_at_{fp_rates[i]:g}fp"
                table.put(key, value, "no lesions in this third", None if draws is None else draws[i])
            if scores is not None:
                strongest = np.full(len(records.images.index), -np.inf)
                np.fmax.at(strongest, data.lesion_image, data.lesion_cnr)
                label = records.images.label[:, k]
                positive = (label == 1) & np.isfinite(strongest) & (np.searchsorted(edges, strongest) == number)
                _auroc(table, [f"auroc/{finding}/{tier}"], scores[:, k], label, positive, counts, unit)
        for rate in fp_rates:
            table.mean(f"froc/{{}}/{tier}/sens_at_{rate:g}fp")
        if scores is not None:
            table.mean(f"auroc/{{}}/{tier}")
