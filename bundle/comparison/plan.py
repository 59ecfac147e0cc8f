"""The plan: what is chosen on validation and frozen to a file before the test section is looked at."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from bundle.comparison.judge import judge
from bundle.comparison.observe import Observed, Truth, geometry
from bundle.frozen_plan import as_shown
from bundle.grid import plane_size
from bundle.metrics.calibration import fit_platt
from bundle.metrics.candidates import extract_candidates_batch, visible_mask
from bundle.metrics.froc_metric import FROCMetric
from bundle.metrics.image_level import choose_operating_points
from bundle.metrics.matching import HitCriterion
from bundle.metrics.records import Records, of_finding
from bundle.metrics.shown import box_thresholds, summarise_shown
from bundle.probability import NEVER, calibrated
from bundle.saliency import scale_by_constant, scale_by_probability

logger = logging.getLogger(__name__)

FIFTHS = 5  # parts of the validation patients by which thresholds are tried on others
REPLICATES = 1000  # of the bootstrap that says how roughly validation knows false marks
SCALINGS = ("none", "raw", "probability", "calibrated")


@dataclass(frozen=True)
class Setting:
    """How one method's maps become candidates.

    Attributes:
        scaling: one of `SCALINGS`: maps that are 0..1 already, over a constant, or times the image's score, as it is
            or calibrated (`bundle.saliency.scaling`).
        scale: (K,) constants of scaling "raw": each finding's highest value on validation, pad left out.
        floor: of `extract_candidates_batch`, like the next.
        smoothing: sigma in patches.
        slope: (K,) of the image score's calibration, for scaling "calibrated"; 1 where a finding has none.
        offset: (K,) likewise, 0 where it has none.
    """

    scaling: str
    scale: tuple[float, ...]
    floor: float
    smoothing: float
    slope: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    def at_edge(self, grid: "Grid") -> list[str]:
        """Which settings are the outermost of a grid that might go on there: others beyond may be better."""
        said = []
        for name, value, tried in (("floor", self.floor, grid.floors), ("smoothing", self.smoothing, grid.smoothings)):
            if len(tried) > 1 and (value == max(tried) or value == min(tried) > 0):
                said.append(f"{name} {value:g} of {', '.join(f'{each:g}' for each in tried)}")
        return said


@dataclass(frozen=True)
class Grid:
    """The settings to choose from, the same for every method.

    Attributes:
        floors: lowest scores of a patch.
        smoothings: sigmas in patches.
        box_fraction: fixed; see `extract_candidates_batch`.
        max_candidates: fixed.
    """

    floors: tuple[float, ...] = (0.001, 0.02, 0.2)
    smoothings: tuple[float, ...] = (0.0, 0.7, 1.4)
    box_fraction: float = 0.5
    max_candidates: int | None = 20


def records_of(
    observed: Observed,
    truths: Sequence[Truth],
    setting: Setting,
    grid: Grid,
    findings: Sequence[str],
    criterion: HitCriterion,
) -> Records:
    """The records of one method with one setting: as `run evaluating` would leave them.

    Args:
        observed: its maps (I, K, Gh, Gw) and image probabilities.
        truths: of the I images.
        setting: scaling, floor, smoothing.
        grid: the fixed settings.
        findings: names.
        criterion: when a candidate hits.

    Returns:
        Records, with the image probabilities as score `image`.
    """
    return judge(_candidates(observed, truths, setting, grid), observed.probability, truths, findings, criterion)


def _candidates(observed: Observed, truths: Sequence[Truth], setting: Setting, grid: Grid) -> list[torch.Tensor]:
    maps = observed.maps
    to_stored, size = geometry(truths, plane_size(maps))
    if setting.scaling == "raw":
        maps = scale_by_constant(maps, torch.tensor(setting.scale))
    elif setting.scaling in ("probability", "calibrated"):
        score = observed.probability
        if setting.scaling == "calibrated":
            score = torch.from_numpy(calibrated(score.numpy(), setting.slope, setting.offset)).to(score)
        maps = scale_by_probability(maps, score, visible_mask(to_stored, size, plane_size(maps)))
    return extract_candidates_batch(
        maps, to_stored, size, setting.floor, setting.smoothing, grid.box_fraction, grid.max_candidates
    )


def choose(
    observed: Observed,
    truths: Sequence[Truth],
    scalings: Sequence[str],
    grid: Grid,
    findings: Sequence[str],
    criterion: HitCriterion,
) -> tuple[Setting, float]:
    """The setting with the highest macro FROC score on these images; of equal ones the first with the highest floor.

    Args:
        observed: a method on the validation section.
        truths: of its images.
        scalings: to choose from.
        grid: floors and smoothings to choose from.
        findings: names.
        criterion: when a candidate hits.

    Returns:
        The setting, and its FROC score (NaN where no finding has lesions: the first setting then stands).
    """
    own = plane_size(observed.maps)
    pad = ~visible_mask(*geometry(truths, own), own)[:, None]
    shown = observed.maps.masked_fill(pad, 0)  # no map is below 0
    highest = tuple(shown.amax((0, 2, 3)).clamp(min=torch.finfo(torch.float32).tiny).tolist())
    slope, offset = _calibration(observed, truths)
    best, best_score = None, float("nan")
    froc = FROCMetric(findings, *astuple(criterion))
    # without the grid no ceiling is computed
    plain = truths if criterion.name == "patch" else [{k: v for k, v in t.items() if k != "grid_size"} for t in truths]
    known = froc.truths(plain)
    for scaling, smoothing, floor in itertools.product(scalings, grid.smoothings, sorted(grid.floors, reverse=True)):
        setting = Setting(scaling, highest, floor, smoothing, slope, offset)
        froc.reset()
        froc(_candidates(observed, truths, setting, grid), known)
        score = froc.aggregate().item()
        if best is None or score > best_score or (np.isnan(best_score) and not np.isnan(score)):
            best, best_score = setting, score
    if best is None:
        raise ValueError(f"No setting to choose from: scalings {list(scalings)}, {grid}.")
    return best, best_score


def _calibration(observed: Observed, truths: Sequence[Truth]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Slope and offset of each finding's image score on these images."""
    label = np.stack([np.asarray(truth["label"], np.float64) for truth in truths])
    fits = [fit_platt(score, known) for score, known in zip(observed.probability.numpy().T, label.T, strict=True)]
    return tuple(1.0 if why else a for a, _, why in fits), tuple(0.0 if why else b for _, b, why in fits)


class Aim(NamedTuple):
    """What thresholds of candidates were chosen for, in false marks an image.

    Attributes:
        wanted: what was asked for.
        left_out: what thresholds for `wanted` give on patients who did not choose them; None of fewer than five.
        above: how far the false marks of another section of the same size may lie above this one's, as a ratio; None
            where there is no interval, of one patient or no false mark.
        aimed: wanted / (max(1, left_out / wanted) · above), a factor that is not known being 1.
    """

    wanted: float
    left_out: float | None
    above: float | None
    aimed: float


def choose_points(records: Records, score: str, false_marks: float) -> tuple[dict[str, dict[str, float]], Aim]:
    """Calibration and thresholds of each finding on these images.

    `false_marks` is meant to hold where it is looked at next: on a section of as many other patients of the same kind.
    So thresholds are chosen for false_marks / (o·u^√2) instead: o = m / false_marks, at least 1, where m is what those
    chosen for `false_marks` on four fifths of the patients give on the fifth left out, in the mean over the fifths
    (thresholds look better on the images they were chosen on than on others); u how far the upper end of the 95%
    interval (bootstrap of patients) of the section's false marks lies above them. That end allows for this section's
    chance; the next one has as much of its own, and variances add (the interval's logarithm grows by √2). So about one
    such section in forty has more than `false_marks`; other sites and machines are not in it. (u is that of
    `false_marks`; of the fewer that are chosen for it is a little more.)

    Args:
        records: of the validation section.
        score: name of the image score.
        false_marks: wanted an image, of all findings together (`bundle.metrics.shown.box_thresholds`).

    Returns:
        Finding -> what `choose_operating_points` gives, and `box`, the threshold of its candidates, `NEVER` where none
        is worth its false marks. `bundle.frozen_plan.shown_points` makes of them what inference takes. And the aim.
    """
    for k, name in enumerate(records.findings):
        if not len(of_finding(records, k).lesion_score):
            logger.warning("%s has no lesions on validation: none of its candidates will be shown.", name)
    left_out = _false_marks_elsewhere(records, score, false_marks)
    above = _another_section(records, score, false_marks)
    if left_out is None or above is None:
        logger.warning(
            "Too few patients or false marks on validation to say how far %.3g false marks an image hold on others.",
            false_marks,
        )
    over = max(1.0, (left_out or 0.0) / false_marks) if false_marks else 1.0
    aim = Aim(false_marks, left_out, above, false_marks / (over * (above or 1.0)))
    logger.info("Thresholds of candidates, in false marks an image: %s.", aim)
    return _points_for(records, score, aim.aimed), aim


def _points_for(records: Records, score: str, false_marks: float) -> dict[str, dict[str, float]]:
    points = choose_operating_points(records, score)
    probability, image, _, most = as_shown(records.findings, points, records.images.scores[score])
    box = box_thresholds(records, probability, image, most, false_marks)
    return {name: {**points[name], "box": min(float(box[k]), NEVER)} for k, name in enumerate(records.findings)}


def _another_section(records: Records, score: str, false_marks: float) -> float | None:
    """u^√2 of `choose_points`, at thresholds chosen for `false_marks`."""
    middle, high = _counted(records, _points_for(records, score, false_marks), score, REPLICATES)
    return (high / middle) ** 2**0.5 if middle and high else None


def _false_marks_elsewhere(records: Records, score: str, false_marks: float) -> float | None:
    """What the thresholds of four fifths of the patients give on the others, mean over fifths."""
    fifth = np.unique(records.images.group, return_inverse=True)[1] % FIFTHS
    found = []
    for number in range(FIFTHS):
        taught, left = (records.of_images((fifth == number) == held) for held in (False, True))
        if not len(taught.images.index) or not len(left.images.index):
            return None
        found.append(_counted(left, _points_for(taught, score, false_marks), score, 0)[0])
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _counted(
    records: Records, points: Mapping[str, Mapping[str, float]], score: str, replicates: int
) -> tuple[float | None, float | None]:
    """False marks an image, and the upper end of their interval; None where nothing counts."""
    limits = as_shown(records.findings, points, records.images.scores[score])
    found = summarise_shown(records, *limits, replicates)[0]
    return found["shown/false_marks_per_image"], found.get("shown/false_marks_per_image/high")


def as_setting(content: Mapping[str, Any]) -> Setting:
    """A setting as `asdict` wrote it."""
    lists = (tuple(content[name]) for name in ("slope", "offset"))
    return Setting(content["scaling"], tuple(content["scale"]), content["floor"], content["smoothing"], *lists)


def setting_dict(setting: Setting) -> dict[str, Any]:
    """A setting as JSON holds it."""
    return asdict(setting)
