"""What a file states of its orientation: TIFF and EXIF undone by the reader, DICOM's told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import tifffile

from bundle.reading import read_radiograph, stored_size
from bundle.reading.upright import AS_STORED, Upright, patient_upright
from tests.reading.plain_files import STORED, chunk, exif, jpeg, png

ORIENTATIONS = sorted(STORED)


def shown(path: Path) -> np.ndarray[Any, Any]:
    image, metadata = read_radiograph(path)
    assert stored_size(path) == metadata["stored_size"] == image.shape[1:]
    return image[0]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["plain", "tiles", "lzw", "big endian"])
def test_tiff_orientation_is_undone_with_all_bits(picture, tmp_path, orientation, dtype, kind):
    pixels = (picture << 4 if dtype == np.uint16 else picture >> 4).astype(dtype)
    stored = np.ascontiguousarray(STORED[orientation](pixels))
    path = tmp_path / "a.tif"
    if kind == "lzw":
        from PIL import Image

        Image.fromarray(stored).save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    else:
        how = {"tiles": {"tile": (16, 16)}, "big endian": {"byteorder": ">"}}.get(kind, {})
        tifffile.imwrite(path, stored, extratags=[(274, "H", 1, orientation, True)], **how)
    np.testing.assert_allclose(shown(path), pixels / np.iinfo(dtype).max, atol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_of_jpeg_is_undone(picture, tmp_path, orientation):
    pixels = (picture >> 4).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg(np.ascontiguousarray(STORED[orientation](pixels)), orientation))
    np.testing.assert_allclose(shown(tmp_path / "a.jpg"), pixels / 255, atol=6 / 255)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_orientation_of_png_is_undone(picture, tmp_path, orientation, place, dtype):
    pixels = (picture << 4 if dtype == np.uint16 else picture >> 4).astype(dtype)
    content = png(STORED[orientation](pixels), **{place: chunk(b"eXIf", exif(orientation))})
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_allclose(shown(tmp_path / "a.png"), pixels / np.iinfo(dtype).max, atol=1e-6)


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\x08\0\0\0\xff\xff", exif(0), exif(9), b"no exif at all"])
def test_an_orientation_that_is_none_changes_nothing(picture, tmp_path, block):
    (tmp_path / "a.png").write_bytes(png(picture << 4, chunk(b"eXIf", block)))
    np.testing.assert_allclose(shown(tmp_path / "a.png"), (picture << 4) / 65535, atol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png"])
def test_viewers_on_itk_find_the_upright_pixels_where_they_put_them(tmp_path, orientation, name):
    """ITK undoes some of TIFF's orientations and none of EXIF's; a map with our affine lies right all the same."""
    pixels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 16).repeat(8, 0).repeat(8, 1) * 2
    stored = np.ascontiguousarray(STORED[orientation](pixels))
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, stored, extratags=[(274, "H", 1, orientation, True)])
    else:
        blob = jpeg(stored, orientation) if name == "a.jpg" else png(stored, chunk(b"eXIf", exif(orientation)))
        path.write_bytes(blob)
    image, metadata = read_radiograph(path)
    seen = itk.array_from_image(itk.imread(str(path), itk.UC))
    for row, column in [(4, 4), (4, 124), (60, 4), (36, 84)]:
        x, y, _, _ = np.diag([-1, -1, 1, 1]) @ metadata["affine"] @ (column, row, 0, 1)
        assert abs(seen[round(y), round(x)] / 255 - image[0, row, column]) < 6 / 255


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_boxes_and_places_turn_alike(orientation):
    upright = np.arange(6 * 4).reshape(6, 4)
    stored, turn = STORED[orientation](upright), Upright.of(orientation)
    assert turn.orientation == orientation
    assert turn.size(stored.shape) == upright.shape
    np.testing.assert_array_equal(turn.apply(stored), upright)
    np.testing.assert_array_equal(turn.undo(upright), stored)
    for row in range(6):
        for column in range(4):
            ((y, x),) = np.argwhere(stored == upright[row, column])
            assert turn.boxes([x, y, x + 1, y + 1], stored.shape).tolist() == [column, row, column + 1, row + 1]
            place = turn.affine(stored.shape, np.diag([0.5, 0.25, 1, 1])) @ (column, row, 0, 1)
            np.testing.assert_allclose(place[:2], (0.5 * x, 0.25 * y))


def test_numbers_that_are_no_orientation_change_nothing():
    assert Upright.of(0) == Upright.of(9) == AS_STORED


DIRECTIONS = {
    ("L", "F"): 1,
    ("R", "F"): 2,
    ("R", "H"): 3,
    ("L", "H"): 4,
    ("F", "L"): 5,
    ("H", "L"): 8,
    ("H", "R"): 7,
    ("F", "R"): 6,
    ("P", "F"): 1,
    ("A", "F"): 1,
    ("A", "H"): 4,
    ("F", "A"): 5,
    ("LF", "FR"): 1,
    ("l", "f"): 1,
}


@pytest.mark.parametrize(("directions", "orientation"), DIRECTIONS.items())
def test_patient_orientation(directions, orientation):
    turn = patient_upright(directions)
    assert turn is not None
    assert turn.orientation == orientation


@pytest.mark.parametrize(
    "directions", [("L", "P"), ("L", "R"), ("F", "H"), ("L",), ("", "F"), ("X", "F"), ("L", "F", "P")]
)
def test_directions_of_no_radiograph(directions):
    assert patient_upright(directions) is None


def test_dicom_keeps_its_stored_pixels_and_says_how_they_lie(picture, write_dicom):
    plain, _ = read_radiograph(write_dicom(picture, PatientOrientation=["L", "F"]))
    image, metadata = read_radiograph(write_dicom(picture[:, ::-1].copy(), PatientOrientation=["R", "F"]))
    np.testing.assert_array_equal(image[..., ::-1], plain)
    assert metadata["orientation"] == 2
    assert "PatientOrientation is R\\F" in metadata["notes"][0]
    _, metadata = read_radiograph(write_dicom(picture, PatientOrientation=["L", "P"]))
    assert metadata["orientation"] == 1
    assert "no frontal and no lateral" in metadata["notes"][0]
    for unstated in ("", None, ["", ""]):
        attributes = {} if unstated is None else {"PatientOrientation": unstated}
        _, metadata = read_radiograph(write_dicom(picture, **attributes))
        assert (metadata["orientation"], metadata["notes"]) == (1, [])
