"""What the simulator draws from, stage by stage: chest, detector, processing, presentation. The defaults are version 3.

JSON can set every field, as {"detector": {"dose": [0.1, 1.0]}}; `Stages.of` reads it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from bundle.comments import without_comments

Range = tuple[float, float]


@dataclass(frozen=True)
class Chest:
    """The lesion-free patient on the detector, beside what the CT gives. Ranges are uniform.

    Attributes:
        lung_density: standard deviation of the logarithm of the lungs' attenuation.
        bone: factor on what bone adds above water, less 1.
        slope_mm: standard deviation of the soft tissue's change from the centre to an edge, mm of water.
        thickness_mm: standard deviation of the soft tissue's thickness.
        breast_female_mm: thickness of the breasts, mm of water.
        breast_male_mm: likewise.
    """

    lung_density: float = 0.28
    bone: Range = (0.2, 1.8)
    slope_mm: float = 5.0
    thickness_mm: float = 12.0
    breast_female_mm: Range = (4, 22)
    breast_male_mm: Range = (0, 7)


@dataclass(frozen=True)
class Detector:
    """The exposure.

    Attributes:
        dose: noise behind 90 mm of water, mm of water, log-uniform; the vendor's factor comes on top.
    """

    dose: Range = (0.5, 1.6)


@dataclass(frozen=True)
class Processing:
    """From mm of water to stored values; uniform ranges.

    Attributes:
        below_lung_mm: how far below the lungs' third percentile black lies, mm of water.
        bright_percentile: of the body, that is shown white.
        bend: size of the tone curve's curvature.
        bend_signs: by one of which it is multiplied.
        black: stored value of black.
        span: white minus black, as a share of what is left up to 4095.
    """

    below_lung_mm: Range = (15, 45)
    bright_percentile: Range = (93, 98)
    bend: Range = (0.1, 0.9)
    bend_signs: tuple[float, ...] = (-0.6, 1.0)
    black: Range = (150, 700)
    span: Range = (0.68, 0.85)


@dataclass(frozen=True)
class Presentation:
    """Collimation and side marker; shares are of the image's height or width.

    Attributes:
        collimated: share of images that are.
        border_chance: chance with which each side of those has a border.
        border: its width.
        border_value: stored value of the borders, as a factor on black.
        marker_px: pixels of the screen to one of the letter's strokes; the upper end is left out.
        marker_top: distance of the letter from the exposed part's upper edge.
        marker_inset: and from its side.
    """

    collimated: float = 0.35
    border_chance: float = 0.6
    border: Range = (0, 0.035)
    border_value: float = 0.5
    marker_px: tuple[int, int] = (3, 6)
    marker_top: Range = (0.02, 0.10)
    marker_inset: Range = (0.015, 0.06)


@dataclass(frozen=True)
class Stages:
    """The four stages in their order."""

    chest: Chest = field(default_factory=Chest)
    detector: Detector = field(default_factory=Detector)
    processing: Processing = field(default_factory=Processing)
    presentation: Presentation = field(default_factory=Presentation)

    @classmethod
    def of(cls, settings: "Stages | Mapping[str, Mapping[str, Any]] | None") -> "Stages":
        """Stages from JSON's words, or as they are; what is not said keeps its default.

        Raises:
            ValueError: a stage or a field that does not exist, or a number where several are wanted, or the reverse.
        """
        if isinstance(settings, Stages):
            return settings
        stages = cls()
        given = without_comments(settings)
        _refuse_unknown("", given, stages)
        return cls(**{name: _set(name, getattr(stages, name), without_comments(given[name])) for name in given})

    def changed(self) -> dict[str, dict[str, Any]]:
        """What is not as in version 3, in JSON's words; empty where all is."""
        usual = asdict(Stages())
        differing = {
            name: {key: value for key, value in stage.items() if value != usual[name][key]}
            for name, stage in asdict(self).items()
        }
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in stage.items()}
            for name, stage in differing.items()
            if stage
        }


def _set(name: str, usual: Any, given: Mapping[str, Any]) -> Any:
    """A stage with some fields of another value."""
    _refuse_unknown(f"{name}.", given, usual)
    values = {}
    for key, value in given.items():
        before = getattr(usual, key)
        several = isinstance(before, tuple)
        if several != isinstance(value, list | tuple) or (several and key != "bend_signs" and len(value) != 2):
            wanted = "a list of numbers" if key == "bend_signs" else "[low, high]" if several else "a number"
            raise ValueError(f"Simulator: {name}.{key} is {value!r}; give {wanted}, such as {before}.")
        values[key] = tuple(value) if several else value
    return type(usual)(**values)


def _refuse_unknown(where: str, given: Mapping[str, Any], usual: Any) -> None:
    known = [each.name for each in fields(usual)]
    for key in given:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {where}{near[0]}?" if near else f"there are {', '.join(known)}."
            raise ValueError(f"Simulator: there is no {where}{key}; {hint}")
