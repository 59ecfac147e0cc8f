"""Hard negatives: wrong by one attribute, true of nothing in the image, the same every time."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from bundle.data.captions import Description, region_caption
from bundle.data.demo.findings import FINDINGS
from bundle.data.hard_negatives import KINDS, CaptionPool, could_be_true, hard_negatives
from bundle.data.region_words import VALUES
from bundle.data.regions import entry_regions
from tests.data.observations import can_be_said, draw_observations, entry, true_of_image

LEFT_MASS = Description("Mass", "left", "upper", "large", "marked", "spiculated")


@pytest.fixture(scope="module")
def patients():
    """The observations and regions of 300 simulated patients."""
    rng = np.random.default_rng(0)
    drawn = [draw_observations(rng) for _ in range(300)]
    return [(observations, entry_regions(entry(rng, observations))) for observations in drawn]


@pytest.fixture(scope="module")
def pool(patients):
    return CaptionPool(region for _, regions in patients for region in regions)


# --- against the truth ------------------------------------------------------------------------------------------------


def test_the_caption_of_a_region_is_true(patients):
    for observations, regions in patients:
        for observation, region in zip(observations, regions, strict=True):
            assert can_be_said(region_caption(region), observation)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_hard_negative_is_true_of_anything_in_its_image(patients, pool, seed):
    count = 0
    for image, (observations, regions) in enumerate(patients):
        for number, observation in enumerate(observations):
            found = hard_negatives(regions, number, pool, FINDINGS, seed=seed, image=image)
            assert len(found) == len({negative.caption for negative in found}) == 6
            for negative in found:
                assert not true_of_image(negative.caption, observations), (negative.caption, observations)
                assert not true_of_image(negative.caption, [observation]), (negative.caption, observation)
            count += 1
    assert count > 800


def test_swapping_without_care_would_often_be_true(patients):
    """The truth above can fail: the same swaps of side, zone and size without a look at the other regions."""
    careless = [
        true_of_image(
            region_caption(replace(region, side={"left": "right", "right": "left"}[region.side])), observations
        )
        for observations, regions in patients
        for region in regions
        if region.side
    ]
    assert 20 < sum(careless) < len(careless) / 2


def test_each_is_wrong_by_the_one_attribute_that_it_names(patients, pool):
    seen = set()
    for image, (_, regions) in enumerate(patients[:100]):
        for number, region in enumerate(regions):
            for negative in hard_negatives(regions, number, pool, FINDINGS, count=20, image=image):
                names = [
                    f.name for f in fields(region) if getattr(negative.description, f.name) != getattr(region, f.name)
                ]
                if negative.kind == "finding":
                    assert "finding" in names
                else:
                    assert names == ["present" if negative.kind == "presence" else negative.kind]
                seen.add(negative.kind)
    assert seen == set(KINDS)


def test_five_and_more_by_swapping_alone_where_a_finding_has_the_attributes(patients):
    least = dict.fromkeys(FINDINGS, 99)
    for observations, regions in patients:
        if len({o.finding for o in observations}) == len(observations):  # no second region in the way
            for number, region in enumerate(regions):
                least[region.finding] = min(least[region.finding], len(hard_negatives(regions, number, count=20)))
    assert least.pop("Cardiomegaly") == 3
    assert min(least.values()) >= 5


# --- drawn by hand ----------------------------------------------------------------------------------------------------


def captions(*regions, number=0, **options):
    return {negative.caption for negative in hard_negatives(regions, number, count=50, **options)}


def test_all_the_swaps_of_a_mass():
    assert captions(LEFT_MASS) == {
        "large dense spiculated mass in the right upper zone",
        "large dense spiculated mass in the left mid zone",
        "large dense spiculated mass in the left lower zone",
        "small dense spiculated mass in the left upper zone",
        "medium-sized dense spiculated mass in the left upper zone",
        "large faint spiculated mass in the left upper zone",
        "large moderately dense spiculated mass in the left upper zone",
        "large dense well-defined mass in the left upper zone",
        "no large dense spiculated mass in the left upper zone",
    }


@pytest.mark.parametrize(
    ("other", "missing"),
    [
        (replace(LEFT_MASS, side="right"), "large dense spiculated mass in the right upper zone"),
        (replace(LEFT_MASS, zone="lower"), "large dense spiculated mass in the left lower zone"),
        (replace(LEFT_MASS, size="small"), "small dense spiculated mass in the left upper zone"),
        # what is not known of the other could be as the caption says
        (replace(LEFT_MASS, side="right", density=""), "large dense spiculated mass in the right upper zone"),
        (replace(LEFT_MASS, side="", size="small"), "small dense spiculated mass in the left upper zone"),
        # a lobe excludes no zone, ill-defined no spiculated
        (replace(LEFT_MASS, zone="upper lobe"), "large dense spiculated mass in the left mid zone"),
        (replace(LEFT_MASS, side="right", shape="ill-defined"), "large dense spiculated mass in the right upper zone"),
        # another reader's word for it; small among masses is large among nodules
        (
            Description("Nodule", "right", "upper", "large", "marked"),
            "large dense spiculated mass in the right upper zone",
        ),
        (
            Description("Nodule", "left", "upper", "large", "marked"),
            "small dense spiculated mass in the left upper zone",
        ),
    ],
)
def test_what_another_region_makes_true_is_left_out(other, missing):
    assert missing in captions(LEFT_MASS)
    assert missing not in captions(LEFT_MASS, other)


@pytest.mark.parametrize(
    "other",
    [
        replace(LEFT_MASS, side="right", zone="middle"),
        replace(LEFT_MASS, side="right", shape="well-defined"),
        Description("Effusion", "right", size="large"),
    ],
)
def test_what_differs_elsewhere_is_kept(other):
    assert "large dense spiculated mass in the right upper zone" in captions(LEFT_MASS, other)


def test_both_sides_cover_either():
    haze = Description("Infiltration", "left", "lower", density="subtle")
    assert "faint infiltration in the right lower zone" in captions(haze)
    assert "faint infiltration in both lower zones" in captions(haze)
    said = captions(replace(haze, both_sides=True))
    assert not any("right" in caption or "both" in caption for caption in said)
    other = replace(haze, side="right")
    assert not any("both" in caption for caption in captions(haze, other))
    assert "faint infiltration in both lower zones" in captions(haze, replace(other, zone="upper"))


def test_no_finding_on_the_right_is_false_of_one_on_both_sides():
    claim = Description("Infiltration", "right", present=False)
    assert could_be_true(claim, [Description("Infiltration", "left")])
    assert not could_be_true(claim, [Description("Infiltration", "left", both_sides=True)])


def test_a_region_of_which_nothing_is_known_is_filled_up():
    unknown = Description("Pneumonia")
    assert captions(unknown) == {"no pneumonia"}
    others = [LEFT_MASS, Description("Infiltration", "left"), Description("Effusion", "left", size="small")]
    pool = CaptionPool(others)
    filled = hard_negatives([unknown], 0, pool, ["Mass", "Infiltration", "Effusion"])
    # an infiltration may be another's word for the pneumonia
    assert {negative.caption for negative in filled[1:]} == {
        region_caption(LEFT_MASS),
        "small pleural effusion at the left base",
    }
    assert len(hard_negatives([unknown], 0, pool, ["Effusion"])) == 2


def test_fillings_lie_at_the_regions_place_first():
    heart = Description("Effusion", "left", size="small")
    masses = [replace(LEFT_MASS, side=side, zone=zone) for side in ("left", "right") for zone in VALUES["zone"][:3]]
    found = hard_negatives([heart], 0, CaptionPool(masses), ["Mass"], count=8)
    assert [negative.description.side for negative in found if negative.kind == "finding"] == ["left"] * 3


def test_fillings_are_of_all_findings_in_turn():
    heart = Description("Cardiomegaly", size="small")
    settled = ["Mass", "Effusion", "Pneumonia", "Atelectasis"]
    pool = CaptionPool(Description(finding, side) for finding in settled for side in ("left", "right"))
    filled = [hard_negatives([heart], 0, pool, settled, count=7, image=image)[3:] for image in range(20)]
    assert all({claim.description.finding for claim in each} == set(settled) for each in filled)
    assert {each[0].description.finding for each in filled} == set(settled)


def test_what_is_never_said_of_a_finding_comes_last():
    effusion = Description("Effusion", "left", size="small")
    said = [Description("Effusion", side, size=size) for side in ("left", "right") for size in VALUES["size"]]
    for image in range(20):
        found = hard_negatives([effusion], 0, CaptionPool(said), count=5, image=image)
        assert found[-1].caption == "small pleural effusion at both bases"


def test_the_left_lung_has_no_middle_lobe():
    said = captions(Description("Pneumonia", "right", "middle lobe"))
    assert "pneumonia in the right lower lobe" in said
    assert not any("left" in caption or "both" in caption for caption in said)


def test_the_attributes_take_turns():
    kinds = [negative.kind for negative in hard_negatives([LEFT_MASS], 0, count=6)]
    assert len(set(kinds)) == 6


def test_the_same_arguments_give_the_same_and_others_give_others(patients, pool):
    regions = next(regions for _, regions in patients if len(regions) > 2)

    def drawn(**options):
        return [negative.caption for negative in hard_negatives(regions, 0, pool, FINDINGS, count=5, **options)]

    assert drawn(seed=3, image=7) == drawn(seed=3, image=7)
    assert len({tuple(drawn(seed=seed, image=image)) for seed in range(4) for image in range(4)}) > 8


@pytest.mark.parametrize(
    ("claim", "true"),
    [
        (Description("Mass", "left", "upper"), True),
        (Description("Mass", "right", "upper"), False),
        (Description("Mass", present=False), False),
        (Description("Mass", "right", present=False), True),
        (Description("Nodule", present=False), True),
        (Description("Effusion"), False),
    ],
)
def test_what_could_be_true(claim, true):
    assert could_be_true(claim, [LEFT_MASS]) is true
