"""How often a 95% interval holds the truth, on simulated test sets: python -m scripts.interval_coverage

Patients have one lesion each, or (clustered) one, two or three that are alike: each patient's chance to be found is
drawn from a beta distribution with intraclass correlation .3, and its number of false positives varies too. False
positives are Poisson, 3 an image, with scores u uniform in 0..1; a lesion scores above u with chance 1 - u^k, k such
that the wanted sensitivity is had where 1 false positive an image scores higher. So the truth is known, and the
threshold is chosen by the same data as the sensitivity. Image scores are normal, of equal variance. All draws have
seed 0.

Of 200 trials .95 shows as .92 to .98. So a share under .95 is that of 4 times as many instead, and where that is under
.94, of 16 times as many: 3,200 trials show .95 as .942 to .958.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import fire
import numpy as np
from scipy.special import betaln
from scipy.stats import norm

from bundle.metrics.classification import auroc
from bundle.metrics.draws import Draws
from bundle.metrics.froc import FP_RATES
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.intervals import Difference, Kind, figure_interval, mean_kind
from bundle.metrics.records import FindingRecords, Floats, Integers
from bundle.metrics.table import area_of, share_of

TRUTHS = (0.75, 0.9, 0.97, 0.99)
LESIONS = (12, 62, 200)
FINDINGS = 3  # that a mean is of
STAGES = ((1, 0.95), (4, 0.94), (16, 0.0))  # times the trials, and the share that needs no more of them
RATE, ALIKE = 3.0, 0.3  # false positives an image; correlation within a patient
KINDS = {
    "share": "Share: sensitivity at a fixed threshold",
    "sensitivity": "Share: sensitivity at 1 FP/image",
    "score": "Share: FROC score",
    "mean": f"Mean of {FINDINGS} shares: sensitivity at 1 FP/image",
    "auroc": "Area: AUROC, two images without for one with the finding",
    "auroc_mean": f"Mean of {FINDINGS} areas",
    "difference": "Paired difference of sensitivities at 1 FP/image, the other method with twice the misses",
}


class Case(NamedTuple):
    """What is simulated: the true figure, the number of lesions (or of positive images), and whether clustered."""

    truth: float
    lesions: int
    clustered: bool

    @property
    def patient(self) -> Integers:
        """(L,) the patient of each lesion."""
        each = np.tile([1, 2, 3], self.lesions) if self.clustered else np.ones(self.lesions, int)
        return np.repeat(np.arange(len(each)), each)[: self.lesions]


def main(
    truths: Sequence[float] = TRUTHS,
    lesions: Sequence[int] = LESIONS,
    trials: int = 200,
    replicates: int = 200,
    kinds: Sequence[str] = tuple(KINDS),
) -> None:
    """Print a table for each kind of figure: the share of the intervals that hold the true figure."""
    cases = [Case(truth, int(n), clustered) for truth in truths for clustered in (False, True) for n in lesions]
    for kind in kinds:
        held = {case: _settled(case, trials, replicates, kind) for case in cases}
        print(f"\n{KINDS[kind]}:\n\n| truth |" + "".join(f" {n} |" for n in lesions), end="")
        print("".join(f" {n} clustered |" for n in lesions) + "\n|---" + "|---" * (2 * len(lesions)) + "|")
        for truth in truths:
            print(f"| {truth:g} |" + "".join(f" {held[case]:.3f} |" for case in cases if case.truth == truth))


def _settled(case: Case, trials: int, replicates: int, kind: str) -> float:
    """`coverage` of as many trials as `STAGES` asks for."""
    for times, enough in STAGES:
        held = coverage(case, times * trials, replicates, [kind])[kind]
        if held >= enough:
            break
    return held


def coverage(case: Case, trials: int, replicates: int, kinds: Sequence[str] = tuple(KINDS)) -> Mapping[str, float]:
    """Share of simulated test sets whose interval holds the truth, by kind."""
    patients = 3 * (case.patient.max() + 1)  # two without for each with a lesion
    draws = Draws.of(np.arange(patients), replicates, 0)
    held = {}
    for kind in kinds:
        rng = np.random.default_rng(0)
        held[kind] = float(np.mean([_SIMULATED[kind](rng, case, draws) for _ in range(trials)]))
    return held


def _share(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    return _holds_sensitivity(case, [_finding(rng, case, draws, fixed=True)], draws)


def _sensitivity(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    return _holds_sensitivity(case, [_finding(rng, case, draws)], draws)


def _mean(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    return _holds_sensitivity(case, [_finding(rng, case, draws) for _ in range(FINDINGS)], draws)


def _score(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    data = _finding(rng, case, draws)
    kind = share_of(np.tile(data.lesion_image, len(FP_RATES)))
    low, high = _interval(sensitivities(draws, data, FP_RATES).mean(0), kind)
    return bool(low <= np.mean([_true_sensitivity(case, rate) for rate in FP_RATES]) <= high)


def _difference(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    seed = int(rng.integers(2**32))  # the same lesions, as hard, and the same false positives for both methods
    other = case._replace(truth=2 * case.truth - 1)
    pair = [_finding(np.random.default_rng(seed), each, draws) for each in (case, other)]
    ours, theirs = (sensitivities(draws, data, [1.0])[0] for data in pair)
    low, high = _interval(ours - theirs, Difference.of(share_of(pair[0].lesion_image)))
    return bool(low <= case.truth - other.truth <= high)


def _auroc(rng: np.random.Generator, case: Case, draws: Draws, areas: int = 1) -> bool:
    patient = case.patient
    patients = len(draws.counts)
    own = np.concatenate([patient, patient + patients // 3, patient + 2 * (patients // 3)])  # (3 L,)
    positive = np.arange(len(own)) < len(patient)
    figures, kinds = [], []
    for _ in range(areas):
        alike = np.sqrt(ALIKE * case.clustered)
        scores = alike * rng.normal(size=patients)[own] + np.sqrt(1 - alike**2) * rng.normal(size=len(own))
        scores += positive * np.sqrt(2) * norm.ppf(case.truth)
        figures.append(auroc(scores, positive.astype(float), draws.at(own)))
        kinds.append(area_of(own[positive], own[~positive]))
    low, high = _interval(np.mean(figures, 0), kinds[0] if areas == 1 else mean_kind(kinds))
    return low <= case.truth <= high


def _auroc_mean(rng: np.random.Generator, case: Case, draws: Draws) -> bool:
    return _auroc(rng, case, draws, FINDINGS)


_SIMULATED: Mapping[str, Callable[[np.random.Generator, Case, Draws], bool]] = {
    "share": _share,
    "sensitivity": _sensitivity,
    "score": _score,
    "mean": _mean,
    "auroc": _auroc,
    "auroc_mean": _auroc_mean,
    "difference": _difference,
}


def _holds_sensitivity(case: Case, findings: Sequence[FindingRecords], draws: Draws) -> bool:
    """Whether the interval of the mean sensitivity at 1 FP/image, which for one finding is its own, holds the truth."""
    figures = [sensitivities(draws, data, [1.0])[0] for data in findings]
    kinds = [share_of(data.lesion_image) for data in findings]
    low, high = _interval(np.mean(figures, 0), kinds[0] if len(kinds) == 1 else mean_kind(kinds))
    return low <= case.truth <= high


def _interval(figure: Floats, kind: Kind | None) -> tuple[float, float]:
    """Of a figure with its replicates, (1 + R,)."""
    return figure_interval(float(figure[0]), figure[1:], kind)


def _finding(rng: np.random.Generator, case: Case, draws: Draws, fixed: bool = False) -> FindingRecords:
    """One finding of a test set, an image a patient; `fixed`: no false positives, so no threshold is chosen."""
    images, patient = len(draws.counts), case.patient
    missed = np.full(images, 1 - case.truth)
    number = rng.poisson(RATE * (rng.gamma(2, 0.5, images) if case.clustered else np.ones(images)))
    fp_score = rng.random(number.sum())
    hard = rng.random(len(patient))
    if case.clustered:
        missed = rng.beta((1 - case.truth) * (1 / ALIKE - 1), case.truth * (1 / ALIKE - 1), images)
    power = np.log(np.clip(missed, 1e-300, 1 - 1e-12)) / np.log(1 - 1 / RATE)  # chance to be missed at u = 2/3
    score = hard ** (1 / power[patient])
    if fixed:
        score, fp_score, number = np.where(score >= 1 - 1 / RATE, 1.0, -np.inf), np.zeros(0), np.zeros(images, int)
    none: Floats = np.zeros(0)
    return FindingRecords(
        image=np.arange(images),
        fp_score=fp_score,
        fp_image=np.repeat(np.arange(images), number),
        lesion_score=score,
        lesion_image=patient,
        normal_score=none,
        normal_image=np.zeros(0, int),
        lesion_oracle=none,
        lesion_cnr=none,
    )


def _true_sensitivity(case: Case, rate: float) -> float:
    """At so many false positives an image: 1 - E[missed^c], c = log u / log (1 - 1 / RATE), u = 1 - rate / RATE."""
    if rate >= RATE:
        return 1.0
    power = np.log(1 - rate / RATE) / np.log(1 - 1 / RATE)
    if not case.clustered:
        return float(1 - (1 - case.truth) ** power)
    a, b = (1 - case.truth) * (1 / ALIKE - 1), case.truth * (1 / ALIKE - 1)
    return float(1 - np.exp(betaln(a + power, b) - betaln(a, b)))


if __name__ == "__main__":
    fire.Fire(main)
