"""JSON and NIfTI of one radiograph."""

import json
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
import torch

from bundle.probability import OperatingPoints
from bundle.results.findings_file import findings_document, write_maps
from bundle.results.sampled_maps import sample_maps

FINDINGS = ["Effusion", "Mass"]


def test_document_has_nulls_order_and_whole_candidates() -> None:
    scores = {"image": torch.tensor([0.25, 0.75]), "sparse": torch.tensor([float("nan"), 0.5])}
    rows = torch.tensor([[0, 0.4, 1, 2, 0, 0, 3, 4], [1, 0.9, 5.123, 6, 4, 4, 8, 8]], dtype=torch.float64)
    document = json.loads(
        json.dumps(findings_document(FINDINGS, scores, rows, (30, 20), None, file="a"), allow_nan=False)
    )
    assert list(document["findings"]) == FINDINGS
    assert document["findings"]["Effusion"] == {"image": 0.25, "sparse": None}
    assert document["candidates"][0] == {
        "finding": "Mass",
        "score": 0.9,
        "peak": [5.12, 6.0],
        "box": [4.0, 4.0, 8.0, 8.0],
        "shown": True,
    }
    assert document["candidates"][1]["shown"] is False  # below .5, and so is the image's score
    assert document["probability"].startswith("uncalibrated")
    assert document["stored_size"] == {"height": 30, "width": 20}
    assert document["spacing_mm"] is None
    assert "not for clinical use" in document["note"]
    assert document["file"] == "a"
    points = {"Mass": {"slope": 1.0, "offset": -1.0, "image": 0.1, "box": 0.2}}
    points["Effusion"] = {**points["Mass"], "image": 0.3}
    document = findings_document(FINDINGS, scores, rows, (30, 20), None, points=OperatingPoints(FINDINGS, points))
    assert [candidate["shown"] for candidate in document["candidates"]] == [True, False]
    assert document["probability"].startswith("calibrated")
    assert document["operating_points"] == points


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score 'image' must be \(2,\)"):
        findings_document(FINDINGS, {"image": torch.zeros(3)}, torch.zeros(0, 8), (3, 3), None)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        findings_document(FINDINGS, {}, torch.full((1, 8), 2.0), (3, 3), None)


@pytest.mark.parametrize("side", [None, 40])
def test_maps_lie_where_the_radiograph_is(tmp_path: Path, side: int | None) -> None:
    height, width, spacing = 80, 120, (0.5, 0.25)
    affine = [[-spacing[1], 0, 0, 0], [0, -spacing[0], 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    grid_from_stored = torch.diag(torch.tensor([12 / width, 8 / height, 1.0], dtype=torch.float64))
    patches = torch.zeros(2, 8, 12)
    patches[1, 2, 9] = 1.0  # its centre is stored (95, 25)
    maps = sample_maps(patches, grid_from_stored, (height, width), side)
    path = tmp_path / "m.nii.gz"
    write_maps(path, maps, affine, (height, width))
    image = nibabel.load(path)
    assert image.shape == ((120, 80) if side is None else (40, 27)) + (1, 2)
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units()[0] == "mm"
    data = np.asarray(image.dataobj)
    place = np.unravel_index(data[..., 1].argmax(), data.shape[:3])
    # where the maps' peak is, in mm, and where the radiograph's pixel index says its patch is
    peak = image.affine @ [*place, 1]
    patch = np.array(affine) @ [95 - 0.5, 25 - 0.5, 0, 1]
    assert np.abs(peak - patch).max() <= (0.5 if side is None else 1.5) * max(spacing) * (1 if side is None else 2)
    # both corners are the radiograph's: half a pixel outside its first and last centres
    w, h = image.shape[:2]
    for corner, stored in (((-0.5, -0.5), (-0.5, -0.5)), ((w - 0.5, h - 0.5), (width - 0.5, height - 0.5))):
        assert image.affine @ [*corner, 0, 1] == pytest.approx(np.array(affine) @ [*stored, 0, 1], abs=1e-5)


def test_itk_reads_it_in_the_radiographs_frame(tmp_path: Path) -> None:
    """What ITK, and with it 3D Slicer, makes of a PNG without spacing: origin 0, spacing 1, axes of LPS."""
    picture = np.zeros((30, 40), np.uint8)
    itk.imwrite(itk.image_from_array(picture), str(tmp_path / "x.png"))
    maps = np.zeros((2, 30, 40), np.float32)
    maps[1, 7, 33] = 1.0
    write_maps(tmp_path / "m.nii.gz", maps, np.diag([-1.0, -1.0, 1.0, 1.0]).tolist(), (30, 40), known_spacing=False)
    radiograph, volume = itk.imread(str(tmp_path / "x.png")), itk.imread(str(tmp_path / "m.nii.gz"))
    assert list(itk.spacing(volume))[:2] == list(itk.spacing(radiograph)) == [1.0, 1.0]
    assert list(itk.origin(volume))[:2] == list(itk.origin(radiograph)) == [0.0, 0.0]
    assert np.array_equal(np.asarray(volume.GetDirection())[:2, :2], np.eye(2))
    array = itk.array_from_image(volume)  # (finding, slice, y, x)
    assert array.shape == (2, 1, 30, 40)
    assert array[1, 0, 7, 33] == 1.0
    assert array[0].max() == 0.0


def test_where_the_network_has_not_looked_is_nan(tmp_path: Path) -> None:
    grid_from_stored = torch.tensor([[0.1, 0, 0], [0, 0.1, -2.0], [0, 0, 1]], dtype=torch.float64)
    write_maps(
        tmp_path / "m.nii",
        sample_maps(torch.ones(1, 4, 4), grid_from_stored, (40, 40), None),
        np.eye(4).tolist(),
        (40, 40),
    )
    data = np.asarray(nibabel.load(tmp_path / "m.nii").dataobj)
    assert np.isnan(data[:, :20]).all()
    assert data[:, 20:] == pytest.approx(1.0)
