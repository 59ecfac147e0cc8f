"""A lesion that several readers boxed counts once, and lesions side by side count as they are."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from bundle.data.datalist import datalist_section, load_datalist
from bundle.data.repeated_boxes import Repeats, without_repeats


def box(x0: float, y0: float, x1: float, y1: float, finding: str = "Mass", **more: Any) -> dict[str, Any]:
    return {"finding": finding, "box": [x0, y0, x1, y1], **more}


def kept(*boxes: dict[str, Any]) -> list[list[float]]:
    return [each["box"] for each in without_repeats(boxes, Repeats())]


def test_boxes_of_three_readers_become_their_mean_in_the_first_ones_place():
    other = box(0, 0, 9, 9)
    boxes = [box(10, 10, 30, 40), other, box(10, 10, 30, 40), box(13, 10, 30, 43)]
    assert kept(*boxes) == [[11, 10, 30, 41], [0, 0, 9, 9]]
    assert kept(*reversed(boxes)) == [[11, 10, 30, 41], [0, 0, 9, 9]]


@pytest.mark.parametrize(
    ("second", "count"),
    [
        (box(0, 0, 10, 8), 1),  # IoU .8
        (box(0, 0, 10, 7.5), 1),  # .75
        (box(0, 0, 10, 7.4), 2),
        (box(10, 0, 20, 10), 2),  # they touch
        (box(5, 0, 15, 10), 2),  # they overlap, IoU 1/3
        (box(2, 2, 5, 5), 2),  # one within the other
        (box(0, 0, 10, 10, "Nodule"), 2),
    ],
)
def test_what_counts_as_one(second, count):
    assert len(kept(box(0, 0, 10, 10), second)) == count


def test_a_chain_of_readers_is_one_lesion_in_any_order():
    chain = [box(0, 0, 100, 10), box(12, 0, 112, 10), box(24, 0, 124, 10)]  # the ends: IoU .61
    for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2]):
        assert kept(*(chain[i] for i in order)) == [[12, 0, 112, 10]]


def test_nothing_that_is_said_of_a_lesion_is_lost():
    found = Repeats()
    boxes = [
        box(0, 0, 9, 9, caption="", attributes={"side": "left", "zone": None}),
        box(0, 0, 9, 9, caption="a mass", attributes={"zone": "upper", "side": "right"}, reader="R2"),
        box(0, 0, 9, 9, caption="a mass", reader="R3"),
    ]
    (merged,) = without_repeats(boxes, found)
    assert merged == box(0, 0, 9, 9, caption="a mass", attributes={"zone": "upper", "side": "left"}, reader="R2")
    assert found == Repeats(lesions=1, boxes=2, differing=1)
    assert boxes[0]["attributes"] == {"side": "left", "zone": None}


def test_a_datalist_counts_a_lesion_once_and_says_so(document, write, caplog):
    entry = document["training"][0]
    entry["boxes"] = [box(20, 10, 40, 30), box(20, 10, 40, 30), box(21, 11, 40, 30), box(0, 0, 5, 5)]
    entry.update(labels={"Mass": 1}, boxed=["Mass"])
    path = write(document)
    with caplog.at_level(logging.WARNING):
        items = datalist_section(path, "training")
        datalist_section(path, "validation")
    np.testing.assert_allclose(items[0]["boxes"], [[61 / 3, 31 / 3, 40, 30], [0, 0, 5, 5]])
    assert len(items[0]["box_finding"]) == len(items[0]["box_cnr"]) == 2
    (line,) = caplog.messages
    assert "Lesions: 1; boxes merged into another: 2." in line
    assert "differ" not in line


def test_without_repeats_nothing_is_said_or_changed(document, write, caplog):
    datalist = load_datalist(write(document))
    assert datalist["training"][0]["boxes"] == document["training"][0]["boxes"]
    assert not caplog.messages
