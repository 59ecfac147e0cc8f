"""What the datalist knows of its images before a training: that they are grey, how they lie, which side is which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import DatalistError, datalist_section, load_datalist, section_entries
from bundle.data.regions import entry_regions
from bundle.transforms import LoadRadiographd
from tests.tiny import write_dicom

GREY = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)


def datalist(folder: Path, image: str, **more: Any) -> Path:
    entry = {"image": image, "patient_id": "p", "view": "PA", **more}
    (folder / "datalist.json").write_text(json.dumps({"findings": ["Mass"], "training": [entry]}))
    return folder / "datalist.json"


def test_an_image_in_colour_is_a_fault_before_the_training_and_not_in_its_middle(tmp_path):
    colours = np.stack([GREY, GREY, GREY // 2], -1)
    Image.fromarray(colours).save(tmp_path / "a.png")
    path = datalist(tmp_path, "a.png")
    with pytest.raises(DatalistError, match="colour"):
        load_datalist(path)
    load_datalist(path, check_images=False)


def test_what_the_check_passes_can_be_read(tmp_path):
    colours = np.stack([GREY] * 3, -1)
    colours[5, 6, 0] ^= 1
    Image.fromarray(colours).save(tmp_path / "a.png")
    (item,) = datalist_section(datalist(tmp_path, "a.png"), "training")
    assert LoadRadiographd()(item)["image"].shape == (1, 40, 60)


def test_boxes_count_in_the_picture_that_exif_makes_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(GREY).save(tmp_path / "a.jpg", exif=exif)
    box = [{"finding": "Mass", "box": [0, 30, 40, 60]}]  # of 60 rows and 40 columns
    (item,) = datalist_section(datalist(tmp_path, "a.jpg", boxes=box), "training")
    assert LoadRadiographd()(item)["boxes"].tolist() == [[0, 30, 40, 60]]
    with pytest.raises(DatalistError, match="40 x 60"):
        load_datalist(datalist(tmp_path, "a.jpg", boxes=[{"finding": "Mass", "box": [0, 0, 60, 40]}]))


@pytest.mark.parametrize(
    ("directions", "box", "side", "zone"),
    [
        (["L", "F"], [5, 5, 25, 20], "right", "upper"),
        (["R", "F"], [5, 5, 25, 20], "left", "upper"),
        (["L", "H"], [5, 80, 25, 95], "right", "upper"),
        (["F", "L"], [5, 60, 20, 75], "left", "upper"),
    ],
)
def test_the_side_of_a_box_is_the_patients_however_the_film_lies(tmp_path, directions, box, side, zone):
    size = (80, 100) if directions[0] == "F" else (100, 80)
    write_dicom(tmp_path / "a.dcm", np.full(size, 7), PatientOrientation=directions)
    more: dict[str, Any] = {"boxes": [{"finding": "Mass", "box": box}]}
    for lungs in ({}, {"lungs": [0, 0, size[1], size[0]]}):
        path = datalist(tmp_path, "a.dcm", **more, **lungs)
        _, (entry,) = section_entries(path, "training")
        assert entry["stored_size"] == size
        (region,) = entry_regions(entry)
        assert (region.side, region.zone) == (side, zone)
