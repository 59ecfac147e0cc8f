"""Several readers' boxes in a datalist: kept apart by reader, and one reference of what any of them saw."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.datalist import datalist_section
from bundle.data.repeated_boxes import Repeats, without_repeats
from tests.data.datalist_document import FINDINGS, write_image


def drawn(reader, *corners, finding="Mass"):
    return {"finding": finding, "box": list(corners), "reader": reader}


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("R1", "R2", 1),  # IoU .5
        ("R1", "R1", 2),  # one reader drew two
        ("R1", None, 2),
        (None, None, 2),
    ],
)
def test_two_readers_draw_one_lesion_more_loosely_than_one_reader_twice(first, second, count):
    boxes = [drawn(first, 0, 0, 10, 10), drawn(second, 0, 0, 10, 5)]
    assert len(without_repeats(boxes, Repeats())) == count
    boxes[1]["box"][3] = 4.9
    assert len(without_repeats(boxes, Repeats())) == 2


def test_each_reader_keeps_the_own_boxes_and_the_reference_is_what_any_saw(document, write):
    document["training"][0].update(
        readers=["R1", "R2", "R3"],
        labels={"Mass": 1, "Effusion": 1},
        boxed=["Mass", "Effusion"],
        boxes=[drawn("R2", 0, 0, 10, 10), drawn("R1", 0, 0, 10, 8), drawn("R2", 30, 0, 40, 9, finding="Effusion")],
    )
    read, unread = datalist_section(write(document), "training")
    np.testing.assert_array_equal(read["boxes"], [[0, 0, 10, 9], [30, 0, 40, 9]])
    assert list(read["readers"]) == ["R1", "R2", "R3"]
    np.testing.assert_array_equal(read["readers"]["R1"]["boxes"], [[0, 0, 10, 8]])
    np.testing.assert_array_equal(read["readers"]["R2"]["boxes"], [[0, 0, 10, 10], [30, 0, 40, 9]])
    assert [FINDINGS[k] for k in read["readers"]["R2"]["box_finding"]] == ["Mass", "Effusion"]
    assert read["readers"]["R3"]["boxes"].shape == (0, 4)
    assert unread["readers"] == {}
    (only_mass, _) = datalist_section(write(document), "training", findings=["Mass"])
    assert only_mass["readers"]["R2"]["boxes"].tolist() == [[0, 0, 10, 10]]


def test_boxes_are_turned_as_the_picture_is(document, write, folder):
    write_image(folder / "images" / "d.dcm", PatientOrientation=["F", "L"])  # columns go up, rows go left
    document["test"][0].update(
        readers=["R1"], labels={"Mass": 1}, boxes=[drawn("R1", 0, 0, 10, 5)], boxed=["Mass"], patient_id="p9"
    )
    (item,) = datalist_section(write(document), "test", keep=["stored_size", "stored_orientation"])
    assert item["stored_size"] == (40, 60)
    (turned,) = item["readers"]["R1"]["boxes"].tolist()
    assert sorted((turned[2] - turned[0], turned[3] - turned[1])) == [5, 10]
    assert turned[2] - turned[0] == 5  # the picture stands upright: its rows are the file's columns
