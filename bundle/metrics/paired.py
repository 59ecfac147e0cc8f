"""Several methods on the same images: what each reaches, and the paired difference to the reference with its interval.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), for paired draws: every replicate judges all
methods on the same drawn patients, so that what makes these patients easy or hard cancels out of a difference.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES
from bundle.metrics.froc_figures import fp_at_sensitivities, sensitivities
from bundle.metrics.intervals import Difference
from bundle.metrics.planned import Planned, put_planned
from bundle.metrics.records import FindingRecords, Floats, Integers, Records, of_finding
from bundle.metrics.records_check import check_records, check_same_truth
from bundle.metrics.strata import (
    NO_SIZES,
    NONE_OF_SIZE,
    SIZE_RULE,
    SIZE_TIERS,
    put_pooled,
    size_tiers,
    sizes_known,
    with_lesions,
)
from bundle.metrics.table import (
    FigureTable,
    Metrics,
    Notes,
    draw_units,
    no_lesions,
    put_auroc,
    put_froc,
    put_sensitivities,
)

END = "curve_end"  # the loosest threshold, at which every candidate is called
_UNPAIRED = ("oracle", END, f"fp_at_{END}")  # the grid's figure, and where a curve ends


def compare(
    records: Mapping[str, Records],
    reference: str,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fp_rates: Sequence[float] = FP_RATES,
    sensitivities: Sequence[float] = (),
    operating_rates: Sequence[float] = (1.0,),
    planned: Mapping[str, Planned] | None = None,
) -> tuple[Metrics, Notes]:
    """Judge several methods on the same images, and each against the reference.

    Keys, with <m> a method and <f> a finding or `mean`:

    - `compare/<m>/<f>/sens_at_<x>fp`, `/score`, `/oracle`, `/wafroc`: as `bundle.metrics.summary.summarise` has them;
    - `compare/<m>/<f>/fp_at_<s>sens`: false positives per image at the strictest threshold that gives sensitivity s
      (`bundle.metrics.froc_figures.fp_at_sensitivities`);
    - `compare/<m>/<f>/curve_end`, `/fp_at_curve_end`: the most sensitivity that the candidates give, and its price;
    - `compare/<m>/<f>/auroc`: of the method's image score, where it has one;
    - `compare/<m>/<f>/fp_at_reference_sens_at_<x>fp`: the same at the sensitivity that the reference has at x false
      positives per image, the claim of Patch-CLIP. In each replicate the reference's sensitivity in it is matched, not
      its first estimate;
    - `compare/<m>/<f>/fp_at_own_sens_at_<x>fp`, for all but the reference: the same at the sensitivity that the method
      itself has at x, in each replicate anew, and `/reference`, what the reference needs for it. The method reaches
      this sensitivity, also where its curve ends below the reference's;
    - `compare/<m>/<f>/<tier>/sens_at_<x>fp`, x of the operating rates: by lesion size, in patches of the reference,
      where its records know their area; `compare/<m>/mean/<tier>/sens_at_<x>fp_pooled`: of all lesions together
      (`bundle.metrics.strata.put_pooled`);
    - `<key>/difference`, for all but the reference and but the ceilings: reference minus method. Above 0, the reference
      finds more lesions; for false positives, below 0, it has fewer of them. `<key>/ratio`, for false positives:
      reference over method; 0.5 means half as many;
    - each with `/low` and `/high` (`bundle.metrics.intervals.figure_interval`), from one set of draws for all methods
      and findings;
    - `n_images/<f>`, `n_lesions/<f>`, `n_lesions/<f>/<tier>`: what all methods were judged by;
    - `planned/<name>/...`: of the planned comparisons (`bundle.metrics.planned.put_planned`). The note `exploratory`
      says that every other difference is.

    `mean` of a sensitivity is the mean over the findings with lesions. `mean` of false positives is read off the mean
    curve (`bundle.metrics.froc_figures.fp_at_sensitivities`): the rate, the same for every finding, at which the *mean*
    sensitivity is reached. A mean of the findings' own rates would be infinite as soon as one finding is out of reach.

    A sensitivity that a method does not reach, whatever the threshold, costs infinitely many false positives. That is
    known, not undefined: such replicates take part in the interval, at its end, and the notes count them. Where both
    methods fail to reach it, their difference and ratio are undefined; so is a ratio of 0 to 0. Such replicates are
    left out and counted. The metrics hold None for what is not a finite number, and the notes say which it is and why.

    Args:
        records: of each method, by name: of the same images, labels, boxes, groups and hit criterion. Candidates and
            image scores are the method's own.
        reference: the method that the others are held against.
        replicates: R of the bootstrap; 0 for no intervals.
        seed: of the draws.
        level: of confidence.
        fp_rates: false positives per image at which sensitivity is given, and over which the score is the mean.
        sensitivities: at which false positives are given, above 0; none by default.
        operating_rates: those of `fp_rates` at which the reference's sensitivity is matched, and sizes are told apart.
        planned: comparisons that were named beforehand, by name.

    Returns:
        The metrics and the notes.

    Raises:
        ValueError: where the reference is missing, a name is empty or holds a slash, a rate or sensitivity is not as
            above, a method's records contradict themselves, or the methods were not judged by the same truth.
    """
    _check_names(records, reference)
    _check_settings(fp_rates, sensitivities, operating_rates)
    for name, each in records.items():
        try:
            check_records(each)
        except ValueError as error:
            raise ValueError(f"{name!r}: {error}") from error
    check_same_truth(records, reference)

    truth = records[reference]
    table = FigureTable(truth.findings, level)
    table.notes["criterion"] = truth.criterion
    table.notes["compare"] = (
        f"differences are {reference} minus the method, ratios {reference} over the method, in the same replicates; "
        "a sensitivity that is never reached costs infinitely many false positives"
    )
    draws = draw_units(table, truth.images, replicates, seed)
    tiers = size_tiers(truth, truth.images.patch_area) if sizes_known(truth) else None
    table.notes["size_tiers"] = NO_SIZES if tiers is None else SIZE_RULE
    for k, finding in enumerate(truth.findings):
        data = of_finding(truth, k)
        table.put(f"n_images/{finding}", len(data.image))
        table.put(f"n_lesions/{finding}", len(data.lesion_score))
        for number, tier in enumerate(SIZE_TIERS):
            if tiers is not None:
                table.put(f"n_lesions/{finding}/{tier}", int((tiers[k] == number).sum()))

    judge = _Judge(tuple(fp_rates), tuple(sensitivities), tuple(operating_rates), draws, tiers)
    standard = judge.figures(truth, None)
    for name, each in records.items():
        mine = standard if name == reference else judge.figures(each, standard)
        for key in mine.values:
            full = f"compare/{name}/{key}"
            _copy(table, full, mine, key)
            if name != reference and key.rsplit("/", 1)[-1] not in _UNPAIRED:
                _put_pair(table, full, key, standard, mine, reference, name)
        if name != reference:
            theirs, ours = (judge.at_sensitivity_of(mine, side) for side in (each, truth))
            for key in theirs.values:
                if key.rsplit("/", 1)[-1] in _UNPAIRED:
                    continue
                full = f"compare/{name}/{key}"
                _copy(table, full, theirs, key)
                _copy(table, f"{full}/reference", ours, key)
                _put_pair(table, full, key, ours, theirs, reference, name)
    put_planned(table, planned or {})
    return table.finish()


@dataclass(frozen=True)
class _Judge:
    """What all methods are judged by."""

    fp_rates: tuple[float, ...]
    sensitivities: tuple[float, ...]
    operating_rates: tuple[float, ...]
    draws: Draws
    tiers: Sequence[Integers] | None

    def figures(self, records: Records, reference: FigureTable | None) -> FigureTable:
        """One method's figures, keys `<f>/...`; `reference` holds those of the reference, None for itself."""
        table = FigureTable(records.findings)
        selections = [of_finding(records, k) for k in range(len(records.findings))]
        for finding, data in zip(records.findings, selections, strict=True):
            put_froc(table, finding, f"{finding}/wafroc", data, self.fp_rates, self.draws)
        for kind in (*(f"sens_at_{rate:g}fp" for rate in self.fp_rates), "score", "oracle", "wafroc"):
            table.mean("{}/" + kind)
        self._put_sizes(table, selections)
        self._put_auroc(table, records)
        standard, columns = reference or table, self.draws.counts.shape[1]
        for finding in (*records.findings, "mean"):
            wanted = {f"{finding}/fp_at_{s:g}sens": np.full(columns, s) for s in self.sensitivities}
            wanted |= self._matched(finding, "reference", standard)
            self._put_false_positives(table, finding, selections, wanted, table.notes)
        return table

    def at_sensitivity_of(self, method: FigureTable, records: Records) -> FigureTable:
        """False positives of `records` at the sensitivities that the method with these figures has."""
        table = FigureTable(records.findings)
        selections = [of_finding(records, k) for k in range(len(records.findings))]
        for finding in (*records.findings, "mean"):
            wanted = self._matched(finding, "own", method)
            self._put_false_positives(table, finding, selections, wanted, method.notes)
        return table

    def _matched(self, finding: str, whose: str, figures: FigureTable) -> dict[str, Floats]:
        """The sensitivities of `figures` at the operating rates, by the key of the false positives that they cost."""
        kinds = [f"sens_at_{rate:g}fp" for rate in self.operating_rates]
        return {f"{finding}/fp_at_{whose}_{kind}": figures.columns(f"{finding}/{kind}") for kind in kinds}

    def _put_sizes(self, table: FigureTable, selections: Sequence[FindingRecords]) -> None:
        if self.tiers is None:
            return
        for number, tier in enumerate(SIZE_TIERS):
            parts = [with_lesions(data, mine == number) for data, mine in zip(selections, self.tiers, strict=True)]
            about = self.operating_rates, self.draws, NONE_OF_SIZE
            for finding, part in zip(table.findings, parts, strict=True):
                put_sensitivities(table, f"{finding}/{tier}", part, *about)
            put_pooled(table, f"mean/{tier}", parts, *about)
            for rate in self.operating_rates:
                table.mean(f"{{}}/{tier}/sens_at_{rate:g}fp")

    def _put_auroc(self, table: FigureTable, records: Records) -> None:
        scores = records.images.scores
        if not scores:
            return
        mine = scores.get("image", next(iter(scores.values())))
        for k, finding in enumerate(table.findings):
            label = records.images.label[:, k]
            put_auroc(table, [f"{finding}/auroc"], mine[:, k], label, self.draws)
        table.mean("{}/auroc")

    def _put_false_positives(
        self,
        table: FigureTable,
        finding: str,
        every: Sequence[FindingRecords],
        wanted: Mapping[str, Floats],
        notes: Notes,
    ) -> None:
        """False positives at the wanted sensitivities by key, and the curve's end.

        Args:
            table: gets them.
            finding: whose curve it is; `mean` for that of all findings.
            every: what counts for each finding.
            wanted: (C,) by key.
            notes: of the figures of the same truth, which say over how many findings a mean is.
        """
        whole = finding == "mean"
        selections = every if whole else [every[table.findings.index(finding)]]
        defined = [data for data in selections if len(data.lesion_score)]
        if not defined:
            for key in wanted:
                table.put(key, math.nan, "undefined for every finding" if whole else no_lesions(selections[0]))
            return
        ends = [sensitivities(self.draws, data, [np.inf])[0, 0] for data in defined]
        most, rate = float(np.mean(ends)), max(len(data.fp_score) / len(data.image) for data in defined)
        table.put(f"{finding}/{END}", most)
        table.put(f"{finding}/fp_at_{END}", rate)
        columns = np.array([*wanted.values()]).reshape(-1, self.draws.counts.shape[1])
        found = fp_at_sensitivities(self.draws, defined, columns)
        for key, figure, s in zip(wanted, found, columns, strict=True):
            never = (
                f"plus infinity: sensitivity {s[0]:.3g} is never reached, the most is {most:.3g}, with {rate:.3g} "
                "false positives an image: every candidate is called there"
            )
            table.put(key, figure, never)
            if whole and (left_out := notes.get("mean/score")):
                table.notes[key] = "; ".join([left_out, *([table.notes[key]] if key in table.notes else [])])


def _copy(table: FigureTable, full: str, side: FigureTable, key: str) -> None:
    """A figure with its replicates, kind and note."""
    table.put(full, side.columns(key), None, side.kinds.get(key))
    if key in side.notes:
        table.notes[full] = side.notes[key]


def _put_pair(
    table: FigureTable, full: str, key: str, standard: FigureTable, mine: FigureTable, reference: str, name: str
) -> None:
    """Difference, and for false positives the ratio, of one figure."""
    ours, theirs = standard.columns(key), mine.columns(key)
    if len(ours) != len(theirs):  # one is undefined
        ours, theirs = ours[:1], theirs[:1]
    with np.errstate(invalid="ignore", divide="ignore"):  # inf - inf and 0 / 0 are undefined, x / 0 infinite: so meant
        difference, ratio = ours - theirs, ours / theirs
    a, b = float(ours[0]), float(theirs[0])
    said = mine.notes.get(key), reference, name
    kind = Difference.of(mine.kinds.get(key))
    table.put(f"{full}/difference", difference, _why(float(difference[0]), a, b, *said), kind)
    if "/fp_at_" not in key:
        return
    if math.isinf(b):  # a finite number over infinity is 0 by no measurement
        ratio = np.array([math.nan])
    table.put(f"{full}/ratio", ratio, _why(float(ratio[0]), a, b, *said))


def _why(value: float, a: float, b: float, undefined: str | None, reference: str, name: str) -> str:
    """Why the difference or ratio of a (the reference's figure) and b is not a finite number, where it is not."""
    if math.isnan(a) or math.isnan(b):
        return undefined or "undefined"
    if math.isinf(a) and math.isinf(b):
        return f"neither {reference} nor {name} reaches the sensitivity"
    if math.isnan(value) and math.isinf(b):
        return f"no ratio: {name} never reaches the sensitivity"
    if math.isnan(value):
        return f"neither {reference} nor {name} has a false positive at the sensitivity"
    sign = "plus" if value > 0 else "minus"
    if math.isinf(a) or math.isinf(b):
        return f"{sign} infinity: {reference if math.isinf(a) else name} never reaches the sensitivity"
    return f"{sign} infinity: {name} has no false positive at the sensitivity"


def _check_names(records: Mapping[str, Records], reference: str) -> None:
    if reference not in records:
        raise ValueError(f"the reference {reference!r} is not among the methods {list(records)}")
    wrong = [name for name in records if not name or "/" in name]
    if wrong:
        raise ValueError(f"a method's name stands in keys with slashes: it must not be empty or hold one, got {wrong}")


def _check_settings(
    fp_rates: Sequence[float], sensitivities: Sequence[float], operating_rates: Sequence[float]
) -> None:
    if not fp_rates or not all(rate >= 0 for rate in fp_rates):
        raise ValueError(f"fp_rates must be given and >= 0, got {list(fp_rates)}")
    if not all(0 < s <= 1 for s in sensitivities):
        raise ValueError(f"sensitivities must lie above 0 and not above 1, got {list(sensitivities)}")
    if lacking := [rate for rate in operating_rates if rate not in fp_rates]:
        raise ValueError(f"operating_rates must be among the fp_rates {list(fp_rates)}, but {lacking} are not")
