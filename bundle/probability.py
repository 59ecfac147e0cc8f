"""From a network's score to a probability, and from probabilities to what a reader is shown: frozen on validation.

One object from the plan to the viewer: what is judged on the test section is what inference, DICOM results and MONAI
Label show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bundle.comments import without_comments

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

EDGE = 1e-6  # of a probability from 0 and 1, so that its margin is finite
NEVER = 2.0  # a threshold that no score reaches, in numbers that JSON knows
MAX_PER_FINDING = 3  # candidates of one finding that an image shows
PRESENT, ABSENT = "present", "absent"


def margin(probability: ArrayLike) -> Floats:
    """log(p / (1 - p)) of probabilities kept 1e-6 away from 0 and 1; NaN stays NaN."""
    clipped = np.clip(np.asarray(probability, np.float64), EDGE, 1 - EDGE)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result


def calibrated(probability: ArrayLike, slope: ArrayLike, offset: ArrayLike) -> Floats:
    """sigmoid(a · margin(p) + b): Platt's form, which can shift as well as sharpen (a temperature cannot shift).

    Args:
        probability: (..., K) or (I,).
        slope: a, (K,) or a number.
        offset: b, likewise.
    """
    result: Floats = 1 / (1 + np.exp(-(np.asarray(slope) * margin(probability) + np.asarray(offset))))
    return result


@dataclass(frozen=True)
class OperatingPoint:
    """What was frozen for one finding. The defaults are those of a network of which nothing is known.

    Attributes:
        slope: a > 0 of the calibration sigmoid(a · margin(p) + b) of the image score p (Platt 1999).
        offset: b.
        image: the lowest calibrated probability of an image in which the finding's candidates are shown.
        box: the lowest score of a candidate that is shown.
    """

    slope: float = 1.0
    offset: float = 0.0
    image: float = 0.5
    box: float = 0.5

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.offset]).all() and self.slope > 0):
            raise ValueError(f"wanted a finite slope above 0 and a finite offset, got {self.slope} and {self.offset}")
        for name in ("image", "box"):
            if not getattr(self, name) >= 0:  # `NEVER` shows nothing
                raise ValueError(f"{name} must be a threshold >= 0, got {getattr(self, name)}")


class OperatingPoints:
    """The operating points of all findings: calibrates image scores, and says which candidates are shown.

    A candidate is shown where its finding's calibrated image probability reaches `image`, its own score reaches
    `box`, and at most `max_per_finding` candidates of its finding and image have a higher one.

    Args:
        findings: names of the K findings, in the network's order.
        points: finding -> `slope`, `offset`, `image`, `box` of `OperatingPoint`, as a plan freezes them. What is not
            there is the default; a finding without a slope is uncalibrated.
        min_score: 0..1, in place of every finding's `box`; None or "" keeps them.
        min_image_score: 0..1, in place of every finding's `image`; None or "" keeps them.
        max_per_finding: the most candidates of one finding that are shown.

    Attributes:
        calibrated: whether all findings are.
        judged: of each finding, whether calibration and thresholds are the plan's: by these alone a finding is said to
            be present or absent.

    Raises:
        ValueError: a finding that is not the network's, or a value that is out of range.
    """

    def __init__(
        self,
        findings: Sequence[str],
        points: Mapping[str, Mapping[str, float]] | None = None,
        min_score: float | str | None = None,
        min_image_score: float | str | None = None,
        max_per_finding: int = MAX_PER_FINDING,
    ) -> None:
        known = {name: without_comments(point) for name, point in without_comments(points or {}).items()}
        if unknown := sorted(set(known) - set(findings)):
            raise ValueError(f"operating points of {unknown}; the findings are {list(findings)}.")
        own = {"box": _share("min_score", min_score), "image": _share("min_image_score", min_image_score)}
        self.findings, self.max_per_finding = tuple(findings), max_per_finding
        self.calibrated = all("slope" in known.get(name, {}) for name in findings)
        frozen = not any(value is not None for value in own.values())
        self.judged = tuple(frozen and {"slope", "image"} <= known.get(name, {}).keys() for name in findings)
        self.points = []
        for name in findings:
            try:
                point = OperatingPoint(**known.get(name, {}))
                point = replace(point, **{key: value for key, value in own.items() if value is not None})
            except (TypeError, ValueError) as error:
                raise ValueError(f"operating point of {name}: {error}") from error
            self.points.append(point)

    @property
    def image(self) -> Floats:
        """(K,) lowest image probabilities."""
        return np.array([point.image for point in self.points])

    @property
    def box(self) -> Floats:
        """(K,) lowest candidate scores."""
        return np.array([point.box for point in self.points])

    def replaced(self, min_score: float | None = None, min_image_score: float | None = None) -> OperatingPoints:
        """The same with other thresholds for all findings, where they are given."""
        other = OperatingPoints(self.findings, self.document(), min_score, min_image_score, self.max_per_finding)
        other.calibrated = self.calibrated
        other.judged = tuple(before and after for before, after in zip(self.judged, other.judged, strict=True))
        return other

    def probabilities(self, score: ArrayLike) -> Floats:
        """Image scores (..., K) to calibrated probabilities; NaN, and a finding without calibration, stay.

        Thresholds are probabilities of validation images: rounded to float32, an equal score could miss its own.
        """
        slope, offset = (np.array([getattr(point, name) for point in self.points]) for name in ("slope", "offset"))
        raw = np.asarray(score, np.float64)
        return np.where((slope == 1) & (offset == 0), raw, calibrated(raw, slope, offset))

    def probability(self, score: torch.Tensor) -> torch.Tensor:
        """`probabilities` of a tensor, (..., K) float64, on the CPU."""
        from torch import from_numpy  # for who has tensors

        return from_numpy(self.probabilities(score.detach().cpu().double().numpy()))

    def findings_to_show(self, image: ArrayLike) -> list[int]:
        """Places of the findings that the image as a whole does not speak against.

        Args:
            image: (K,) calibrated image probabilities; NaN, where there is none, speaks against nothing.
        """
        return [int(k) for k in np.flatnonzero(~(np.asarray(image, np.float64) < self.image))]

    def presence(self, image: ArrayLike) -> dict[str, str | None]:
        """What each finding is said to be: `PRESENT` where the image reaches its threshold, `ABSENT` where it does not.

        Args:
            image: (K,) calibrated image probabilities.

        Returns:
            Finding -> None where nothing was judged: without a plan, at other thresholds, or without a probability.
        """
        values = np.asarray(image, np.float64)
        said = [PRESENT if there else ABSENT for there in values >= self.image]
        known = np.array(self.judged) & ~np.isnan(values)
        return {name: said[k] if known[k] else None for k, name in enumerate(self.findings)}

    def document(self) -> dict[str, dict[str, float]]:
        """The points as plain values, as they are taken."""
        return {name: asdict(point) for name, point in zip(self.findings, self.points, strict=True)}


def _share(name: str, value: float | str | None) -> float | None:
    """A threshold for all findings; None for none."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not 0 <= number <= 1:
        raise ValueError(f"{name} is {value!r}; wanted a number from 0 to 1, or nothing for each finding's own")
    return number
