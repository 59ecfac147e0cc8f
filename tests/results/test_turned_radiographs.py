"""A radiograph that was stored mirrored or lying: what is found in it is said of its stored pixels all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from bundle.reading.upright import Upright
from bundle.results import MapsToCandidatesd, SaveFindingsd, ViewerResultd
from bundle.transforms import FitToCanvasd, LoadRadiographd
from tests.tiny import write_dicom

CANVAS, GRID = 160, 16
SIZE, LESION = (300, 200), (130, 60, 160, 90)  # upright; x0, y0, x1, y1
DIRECTIONS = {1: "LF", 2: "RF", 3: "RH", 4: "LH", 5: "FL", 6: "FR", 7: "HR", 8: "HL"}


def looked_at(path: Path) -> dict[Any, Any]:
    """The sample, up to its candidates, with a detector of brightness in the network's place."""
    d = FitToCanvasd(size=CANVAS)(LoadRadiographd()({"image": str(path)}))
    d["pred"] = torch.nn.functional.avg_pool2d(d["image"].as_tensor()[None], CANVAS // GRID)[0]
    d["scores"] = {"image": d["pred"].amax((1, 2))}
    return MapsToCandidatesd(canvas=CANVAS)(d)


@pytest.mark.parametrize(("orientation", "directions"), DIRECTIONS.items())
@pytest.mark.parametrize("spacing", [[0.5, 0.5], [0.5, 0.8]])
def test_boxes_maps_and_masks_are_of_stored_pixels(
    tmp_path: Path, orientation: int, directions: str, spacing: list[float]
) -> None:
    pixels = np.full(SIZE, 400)
    x0, y0, x1, y1 = LESION
    pixels[y0:y1, x0:x1] = 4000
    stored = np.ascontiguousarray(Upright.of(orientation).undo(pixels))
    path = write_dicom(tmp_path / "in.dcm", stored, PatientOrientation=list(directions), PixelSpacing=spacing)
    rows, columns = np.nonzero(stored == 4000)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    centre = (box[:2] + box[2:]) / 2
    patch = 1.7 * max(SIZE) / GRID  # stored pixels a patch, at most

    d = looked_at(path)
    SaveFindingsd(findings=["Mass"], output_dir=tmp_path / "out", map_side=None)(d)
    document = json.loads((tmp_path / "out" / "in.json").read_text())
    assert document["stored_size"] == {"height": stored.shape[0], "width": stored.shape[1]}
    best = document["candidates"][0]
    assert np.abs(np.array(best["peak"]) - centre).max() < patch / 2
    assert np.abs(np.array(best["box"]) - box).max() <= patch
    maps = np.asarray(nibabel.load(tmp_path / "out" / "in_map.nii.gz").dataobj)[:, :, 0, 0]  # (w, h)
    assert maps.shape == stored.shape[::-1]
    assert maps[round(centre[0]), round(centre[1])] > 0.5
    assert np.nanmean(maps) < 0.2

    for show in ("regions", "boxes", "map"):
        seen = ViewerResultd(findings=["Mass"])({**d, "show": show})
        plane = np.asarray(seen["pred"])[:, :, 0].T
        assert plane.shape == stored.shape
        assert plane[round(centre[1]), round(centre[0])] > 0.5
        assert np.nanmean(plane) < 0.2
        assert seen["result"]["candidates"][0]["box"] == best["box"]


def test_a_turned_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "in.dcm", np.full((60, 40), 7), PatientOrientation=["F", "L"])
    d = looked_at(path)
    write_dicom(path, np.full((60, 40), 7), PatientOrientation=["L", "F"])
    with pytest.raises(ValueError, match="the file is now"):
        SaveFindingsd(findings=["Mass"], output_dir=tmp_path / "out")(d)
