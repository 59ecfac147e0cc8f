"""Observations as the simulation makes them, without its images, and what is true of them by their own fields.

The truth here reads a caption's words and looks at `Observation`; it knows nothing of the code that makes captions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from bundle.data.demo.dataset import entry_of
from bundle.data.demo.findings import FINDINGS
from bundle.data.demo.reports import Observation, write_report
from bundle.data.demo.simulate import Box, Radiograph

SIDE = 500  # of the image that boxes are drawn in, pixels
ROWS = {"upper": 100, "middle": 210, "lower": 330}
COLUMNS = {"left": 370, "right": 130, "midline": 270}
KINDS = {
    "Atelectasis": ("plate", "wedge"),
    "Cardiomegaly": ("mild", "moderate", "marked"),
    "Effusion": ("small", "moderate", "large"),
    "Infiltration": ("",),
    "Mass": ("cavitary", "spiculated", "well-defined", "ill-defined"),
    "Nodule": ("spiculated", "well-defined", "ill-defined"),
    "Pneumonia": ("consolidation",),
    "Pneumothorax": ("small", "moderate", "large"),
}
SIZES = {"Mass": (30, 70), "Nodule": (8, 30), "Pneumothorax": (9, 30)}
NOUNS = {"pleural effusion" if name == "Effusion" else name.lower(): name for name in FINDINGS}
# what cannot be said of a lesion of that kind
FALSE_SHAPES = {
    "plate": {"wedge-shaped", "rounded"},
    "wedge": {"linear", "rounded"},
    "well-defined": {"ill-defined", "spiculated"},
    "ill-defined": {"well-defined"},
    "spiculated": {"well-defined"},
    "cavitary": {"solid"},
}
SHAPES = {"linear", "solid"}.union(*FALSE_SHAPES.values(), {"cavitary"})


def draw_observations(rng: np.random.Generator) -> list[Observation]:
    """The lesions of a patient; more of a finding than the simulation draws, so that they get in each other's way."""
    result = []
    for finding in FINDINGS:
        if rng.random() > 0.35:
            continue
        both = finding == "Infiltration" and rng.random() < 0.6
        sides = ["left", "right"] if both else list(rng.choice(["left", "right"], 1 + int(rng.random() < 0.3)))
        for side in ["midline"] if finding == "Cardiomegaly" else sides:
            zone = str(rng.choice(list(ROWS)))
            size = float(rng.uniform(*SIZES[finding])) if finding in SIZES else 0.0
            lobed = finding in ("Atelectasis", "Mass", "Nodule", "Pneumonia")
            lobe = f"{side} {'upper' if zone == 'upper' else 'lower'} lobe" if lobed else ""
            kind, cnr = str(rng.choice(KINDS[finding])), float(rng.uniform(1.5, 10))
            if finding == "Effusion":
                zone = "lower"
            result.append(Observation(finding, str(side), both, zone, lobe, size, kind, cnr))
    return result


def entry(rng: np.random.Generator, observations: Sequence[Observation], number: int = 0) -> dict[str, Any]:
    """Their entry of a checked datalist, as the simulation writes it."""
    text = write_report(rng, observations)
    boxes = []
    for o, caption in zip(observations, text.captions, strict=True):
        x, y = COLUMNS[o.side] + int(rng.integers(-20, 20)), ROWS[o.zone] + int(rng.integers(-10, 10))
        boxes.append(Box(o.finding, (x - 30, y - 30, x + 30, y + 30), caption, o.attributes()))
    present = {o.finding for o in observations}
    radiograph = Radiograph(
        pixels=np.zeros((1, 1), np.uint16),
        pixel_mm=0.7,
        photometric="MONOCHROME2",
        window=(0.0, 1.0),
        labels={name: int(name in present) for name in FINDINGS},
        boxes=boxes,
        masks=[],
        report=text.report,
        summary=text.summary,
        sex="F",
        age=60,
        site="site A",
        vendor="Simulated Vendor A",
        seed=number,
    )
    return {**entry_of(radiograph, f"images/{number}.dcm"), "stored_size": (SIDE, SIDE)}


def true_of_image(caption: str, observations: Sequence[Observation]) -> bool:
    """Whether a caption can be said of an image: by these lesions, and no other being there."""
    if caption.startswith("no "):
        return not true_of_image(caption[3:], observations)
    if " both " in caption:
        for one, many in (("zone", "zones"), ("base", "bases"), ("side", "sides")):
            caption = caption.replace(many, one)
        return all(true_of_image(caption.replace(" both ", f" the {s} "), observations) for s in ("left", "right"))
    return any(can_be_said(caption, o) for o in observations)


def can_be_said(caption: str, o: Observation) -> bool:
    """Whether every word of a caption fits a lesion; fails for a word that is not understood."""
    noun = next(noun for noun in sorted(NOUNS, key=len, reverse=True) if re.search(rf"\b{noun}\b", caption))
    rest = caption.replace(noun, "")
    fits = [NOUNS[noun] == o.finding]
    for phrase, density in (("moderately dense", "moderate"), ("dense", "marked"), ("faint", "subtle")):
        if phrase in rest:
            rest = rest.replace(phrase, "")
            fits.append(o.density == density)
    for word in rest.split():
        if word in ("left", "right"):
            fits.append(o.bilateral or o.side == word)
        elif word in ("upper", "mid", "lower"):
            fits.append(o.zone == {"mid": "middle"}.get(word, word))
        elif word in ("small", "medium-sized", "moderate", "large", "mild", "marked"):
            fits.append(_size(o) == word)
        elif word in SHAPES:
            fits.append(word not in FALSE_SHAPES.get(o.kind, ()))
        else:
            assert word in ("in", "at", "on", "the", "zone", "base", "side"), f"{word} in {caption}"
    return all(fits)


def _size(o: Observation) -> str:
    """The word for a lesion's size; millimetres to a tenth, as the datalist has them."""
    if o.finding in ("Mass", "Nodule"):
        medium, large = (40, 55) if o.finding == "Mass" else (12, 20)
        size = round(o.size_mm, 1)
        return "small" if size < medium else "medium-sized" if size < large else "large"
    return o.kind
