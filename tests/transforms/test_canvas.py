"""The canvas keeps the body's proportions and the way up, and boxes find their way there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.grid import transform_boxes
from bundle.reading.upright import Upright
from bundle.transforms import FitToCanvasd, LoadRadiographd
from bundle.transforms.canvas import fit_to_canvas
from tests.tiny import write_dicom

SIDE = 60
# the directions of rows and columns that DICOM states, and the turn that undoes them
DIRECTIONS = {1: "LF", 2: "RF", 3: "RH", 4: "LH", 5: "FL", 6: "FR", 7: "HR", 8: "HL"}
BOX = [8, 30, 20, 50]  # in the upright picture


def picture() -> np.ndarray[Any, Any]:
    """Upright, 12 bits (96, 80): a bright block that is where `BOX` says."""
    pixels = np.full((96, 80), 400)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 3600
    return pixels


@pytest.mark.parametrize(("aspect", "size"), [(1.0, (60, 50)), (2.0, (60, 25)), (0.5, (36, 60))])
def test_pixels_that_are_not_square_become_square(aspect, size):
    canvas, affine = fit_to_canvas(torch.ones(1, 96, 80), (SIDE, SIDE), aspect)
    assert canvas.shape == (1, SIDE, SIDE)
    rows, columns = (int((canvas[0].amax(axis) > 0).sum()) for axis in (1, 0))
    assert (rows, columns) == size
    corners = transform_boxes(torch.tensor([[0.0, 0, 80, 96]]), affine)[0]
    assert (corners[2] - corners[0], corners[3] - corners[1]) == (columns, rows)


@pytest.mark.parametrize("tags", [{"PixelSpacing": [0.2, 0.1]}, {"PixelSpacing": None, "PixelAspectRatio": [2, 1]}])
def test_a_film_of_other_distances_down_than_across_keeps_its_shape(tmp_path, tags):
    """One body at square pixels and at half the rows: the same canvas."""
    square = picture()
    write_dicom(tmp_path / "square.dcm", square, PixelSpacing=[0.1, 0.1])
    write_dicom(tmp_path / "film.dcm", square[::2], **tags)
    boxes = {"square": [BOX], "film": [[BOX[0], BOX[1] // 2, BOX[2], BOX[3] // 2]]}
    seen = {}
    for name, box in boxes.items():
        d = FitToCanvasd(size=SIDE)(LoadRadiographd()({"image": tmp_path / f"{name}.dcm"}))
        seen[name] = transform_boxes(torch.tensor(box, dtype=torch.float64), d["canvas_from_stored"]), d["image"]
    torch.testing.assert_close(seen["film"][0], seen["square"][0])
    assert (seen["film"][1] - seen["square"][1]).abs().mean() < 0.02


def test_an_image_without_metadata_has_square_pixels():
    torch.manual_seed(0)
    image = torch.rand(1, 30, 20)
    square = MetaTensor(image, meta={"filename_or_obj": "a", "pixel_aspect": 1.0})
    first, second = (FitToCanvasd(size=SIDE)({"image": each})["image"] for each in (image, square))
    assert torch.equal(first, second.as_tensor())


@pytest.mark.parametrize(("orientation", "directions"), DIRECTIONS.items())
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_boxes_of_a_turned_radiograph_go_to_the_canvas_and_back(tmp_path, orientation, directions, kind):
    upright, turn = picture(), Upright.of(orientation)
    stored = np.ascontiguousarray(turn.undo(upright))
    spacing = [0.2, 0.1] if turn.transposed else [0.1, 0.2]  # upright, the pixels are half as high as wide
    path = write_dicom(tmp_path / "a.dcm", stored, PatientOrientation=list(directions), PixelSpacing=spacing)
    rows, columns = np.nonzero(stored == 3600)
    boxes = kind(np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32))
    d = FitToCanvasd(size=SIDE)(LoadRadiographd()({"image": str(path), "boxes": boxes}))
    assert type(d["boxes"]) is type(boxes)
    assert d["boxes"].dtype == boxes.dtype
    assert np.asarray(d["boxes"]).tolist() == [BOX]
    assert d["stored_size"].tolist() == [96, 80]
    corners = transform_boxes(torch.as_tensor(d["boxes"]), d["canvas_from_stored"])[0].tolist()
    ys, xs = torch.where(d["image"].as_tensor()[0] > 0.5)
    found = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
    assert found == pytest.approx(corners, abs=1)
    assert d["reading"]["stored_size"] == stored.shape
    assert d["reading"]["orientation"] == orientation


def test_the_place_of_a_turned_radiograph_turns_along(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", picture().T, PatientOrientation=["F", "L"], PixelSpacing=[0.3, 0.2])
    image = LoadRadiographd()({"image": str(path)})["image"]
    assert image.meta["spacing"] == (0.2, 0.3)
    assert image.meta["pixel_aspect"] == pytest.approx(2 / 3)
    torch.testing.assert_close(image.affine[:2, :2], torch.tensor([[0.0, -0.2], [-0.3, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(("directions", "wanted"), [("LF", [0.2, 0.5]), ("FL", [0.5, 0.2])])
def test_the_size_of_the_pixels_is_that_of_the_upright_picture(tmp_path: Path, directions, wanted) -> None:
    spacing = {"PatientOrientation": list(directions), "PixelSpacing": [0.2, 0.5]}
    path = write_dicom(tmp_path / "in.dcm", np.full((30, 40), 400), **spacing)
    assert LoadRadiographd()({"image": str(path)})["pixel_mm"].tolist() == wanted


def test_pixels_of_unknown_size_are_said_to_be_unknown(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "in.dcm", np.full((30, 40), 400), PixelSpacing=None)
    assert LoadRadiographd()({"image": str(path)})["pixel_mm"].isnan().all()
