"""What is known of a region: what the datalist says first, then its caption, then its place in the image."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.captions import Description, region_caption
from bundle.data.datalist_entry import encode_entry
from bundle.data.regions import LUNG_ROWS, describe_box, entry_regions
from tests.data.observations import draw_observations, entry

IMAGE = (1000, 800)  # rows, columns: the lungs are taken at rows 100 to 800, the midline at column 400


def box(finding="Mass", corners=(100, 100, 200, 200), caption=None, **attributes):
    return {"finding": finding, "box": list(corners), "caption": caption, "attributes": attributes}


# --- what is said -----------------------------------------------------------------------------------------------------


def test_attributes_are_taken_as_given():
    given = describe_box(box(side="Left", zone="mid", size="medium", density="faint", shape="smooth"))
    assert given == Description("Mass", "left", "middle", "medium", "subtle", "well-defined")


def test_a_shape_may_be_any_word():
    assert describe_box(box(shape="Lobulated")).shape == "lobulated"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"side": "lefft"}, r"found side 'lefft'; wanted left, right, bilateral, midline \(did you mean left\?\)"),
        ({"zone": "hilar"}, r"found zone 'hilar'; wanted upper, middle, lower"),
        ({"size": "5 cm"}, r"found size '5 cm'; wanted small, medium, large"),
        ({"density": "ground glass"}, r"found density 'ground glass'; wanted subtle, moderate, marked"),
        ({"lobe": "lingula"}, r"found lobe 'lingula'; wanted upper, middle or lower lobe"),
    ],
)
def test_words_that_are_not_in_the_vocabulary(attributes, message):
    with pytest.raises(ValueError, match=message):
        describe_box(box(**attributes))
    with pytest.raises(ValueError, match=r"boxes\[1\]\.attributes: found"):
        entry_regions({"boxes": [box(), box(**attributes)]})


def test_a_lobe_stands_for_a_zone_that_is_not_given():
    assert describe_box(box(lobe="right middle lobe")).zone == "middle lobe"
    assert describe_box(box(lobe="right middle lobe", zone="lower")).zone == "lower"


@pytest.mark.parametrize(
    ("finding", "size_mm", "size"),
    [
        ("Mass", 39.9, "small"),
        ("Mass", 40, "medium"),
        ("Mass", 55, "large"),
        ("Nodule", 11.9, "small"),
        ("Nodule", 12, "medium"),
        ("Nodule", 20, "large"),
        ("Pneumothorax", 15, "medium"),
        ("Effusion", 15, ""),
    ],
)
def test_millimetres(finding, size_mm, size):
    assert describe_box(box(finding, size_mm=size_mm)).size == size
    assert describe_box(box(finding, size_mm=size_mm, size="small")).size == "small"


@pytest.mark.parametrize(
    ("finding", "caption", "wanted"),
    [
        ("Mass", "6.0 cm spiculated mass in the right lower lobe", ("right", "lower lobe", "", "", "spiculated")),
        ("Nodule", "Faint, ill-defined nodule, left mid lung zone", ("left", "middle", "", "subtle", "ill-defined")),
        ("Mass", "moderately dense mass", ("", "", "", "moderate", "")),
        ("Effusion", "moderate right pleural effusion", ("right", "", "medium", "", "")),
        ("Effusion", "large, moderately dense effusion", ("", "", "large", "", "")),
        ("Cardiomegaly", "markedly enlarged heart", ("", "", "large", "", "")),
        ("Atelectasis", "marked wedge-shaped atelectasis", ("", "", "", "marked", "wedge-shaped")),
        # two values are none
        ("Mass", "mass of the upper zone and mid zone, left of the right hilum", ("", "", "", "", "")),
        ("Nodule", "small and large nodule", ("", "", "", "", "")),
    ],
)
def test_words_of_a_caption(finding, caption, wanted):
    assert describe_box(box(finding, caption=caption)) == Description(finding, *wanted)


def test_the_order_of_the_sources():
    corners = (600, 700, 700, 750)  # left, lower
    assert describe_box(box(corners=corners), IMAGE).side == "left"
    assert describe_box(box(corners=corners, caption="mass in the right lung"), IMAGE).side == "right"
    assert describe_box(box(corners=corners, caption="mass in the right lung", side="midline"), IMAGE).side == "midline"
    assert describe_box(box("Pneumothorax", caption="small pneumothorax", size_mm=29)).size == "small"


# --- where it lies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x0", "x1", "side"),
    [(100, 200, "right"), (600, 700, "left"), (350, 450, ""), (325, 425, "right"), (326, 426, ""), (375, 475, "left")],
)
def test_the_patients_right_is_on_the_images_left(x0, x1, side):
    assert describe_box(box(corners=(x0, 100, x1, 200)), IMAGE).side == side


@pytest.mark.parametrize(
    ("centre", "zone"),
    [(50, "upper"), (290, "upper"), (320, ""), (333, ""), (380, "middle"), (520, "middle"), (567, ""), (620, "lower")],
)
def test_zones_are_thirds_of_the_lungs(centre, zone):
    assert LUNG_ROWS == (0.1, 0.8)
    assert describe_box(box(corners=(100, centre - 20, 200, centre + 20)), IMAGE).zone == zone


def test_the_lungs_move_side_and_zone():
    mass = box(corners=(350, 280, 390, 320))
    assert describe_box(mass, IMAGE).side == "right"
    placed = describe_box(mass, IMAGE, lungs=(100, 0, 500, 400))
    assert (placed.side, placed.zone) == ("left", "lower")
    (region,) = entry_regions({"boxes": [mass], "stored_size": IMAGE, "lungs": [100, 0, 500, 400]})
    assert region == placed


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(60, 60, "small"), (100, 36, "small"), (100, 100, ""), (120, 114, ""), (200, 150, "large")],  # 0.4 mm a pixel
)
def test_the_size_of_a_mass_by_the_area_of_its_box(width, height, size):
    assert describe_box(box(corners=(0, 0, width, height)), IMAGE).size == size
    assert describe_box(box("Pneumonia", corners=(0, 0, width, height)), IMAGE).size == ""


@pytest.mark.parametrize(("size", "view"), [(None, "PA"), (IMAGE, "LATERAL"), (IMAGE, "LL")])
def test_nothing_is_read_off_a_lateral_image_or_one_of_unknown_size(size, view):
    assert describe_box(box(corners=(0, 0, 20, 20)), size, view) == Description("Mass")


# --- both sides -------------------------------------------------------------------------------------------------------


def test_a_box_of_a_finding_on_both_sides_has_its_own_side():
    by_place = describe_box(box("Infiltration", side="bilateral"), IMAGE)
    assert (by_place.side, by_place.both_sides) == ("right", True)
    by_caption = describe_box(box("Infiltration", caption="haze of the left lung", side="both"), IMAGE)
    assert (by_caption.side, by_caption.both_sides) == ("left", True)
    across = describe_box(box("Infiltration", corners=(100, 100, 700, 300), caption="haze of both lungs"), IMAGE)
    assert (across.side, across.both_sides) == ("bilateral", True)
    assert not describe_box(box("Infiltration", side="right"), IMAGE).both_sides


# --- the simulation's entries -----------------------------------------------------------------------------------------


def test_regions_stand_as_the_boxes_do_and_their_place_agrees():
    rng = np.random.default_rng(5)
    agreed = 0
    for _ in range(60):
        one = entry(rng, draw_observations(rng))
        wanted = ["Mass", "Infiltration", "Nodule"]
        regions, arrays = entry_regions(one, wanted), encode_entry(one, wanted)
        assert [wanted.index(region.finding) for region in regions] == arrays["box_finding"].tolist()
        for region, (x0, y0, x1, y1) in zip(regions, arrays["boxes"].tolist(), strict=True):
            placed = describe_box({"finding": region.finding, "box": [x0, y0, x1, y1]}, one["stored_size"], one["view"])
            assert (placed.side, placed.zone) == (region.side, region.zone)
            agreed += 1
        assert all(region_caption(region) for region in entry_regions(one))
    assert agreed > 50
