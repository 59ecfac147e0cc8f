"""The palette keeps what it promises to colour-blind readers."""

import itertools

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from bundle.results.colours import CASING, PALETTE, TRUTH, finding_colour, luminance, rgb, text_on

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as each kind of dichromat sees it
SIGHT = {
    "normal": np.eye(3),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}


def _seen(colour: str, sight: np.ndarray) -> np.ndarray:
    value = np.array(rgb(colour)) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    linear = np.clip(sight @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("kind", SIGHT)
def test_any_two_findings_differ_for_every_reader(kind: str) -> None:
    for one, other in itertools.combinations((*PALETTE, TRUTH), 2):
        distance = deltaE_ciede2000(_seen(one, SIGHT[kind]), _seen(other, SIGHT[kind]))
        assert distance > 10, f"{one} and {other} look alike ({distance:.1f}) to {kind}"


@pytest.mark.parametrize("colour", PALETTE)
def test_lines_stand_out_from_their_rim_and_letters_from_their_tag(colour: str) -> None:
    assert (luminance(colour) + 0.05) / (luminance(CASING) + 0.05) > 3
    inks = sorted([luminance(text_on(colour)), luminance(colour)])
    assert (inks[1] + 0.05) / (inks[0] + 0.05) > 4.5


def test_a_ninth_finding_starts_over() -> None:
    assert finding_colour(8) == finding_colour(0)
    assert len(set(PALETTE)) == 8
