"""Images in an array of an HDF5 file: read in place, by FILE.h5/ARRAY/ROW."""

import h5py
import numpy as np
import pytest

from bundle.reading import ReadingOptions
from bundle.reading.radiograph import RadiographError, RadiographNotFoundError, look_at_header, read_radiograph

ROWS, COLUMNS = 60, 50
RNG = np.random.default_rng(0)
PICTURES = np.clip(RNG.normal(120, 40, (4, ROWS, COLUMNS)), 0, 255)


@pytest.fixture
def h5(tmp_path):
    path = tmp_path / "cxr.h5"
    with h5py.File(path, "w") as file:
        file["cxr"] = PICTURES.astype(np.float32)
        file.create_dataset("deep/bytes", data=PICTURES.astype(np.uint8), chunks=(1, ROWS, COLUMNS), compression="gzip")
        file["deep/words"] = (PICTURES * 200).astype(">u2")
        file["colours"] = np.zeros((2, ROWS, COLUMNS, 3), np.uint8)
        file["names"] = ["a", "b"]
    return path


def refused(path, *words, **options):
    with pytest.raises(RadiographError) as caught:
        read_radiograph(path, **options)
    assert all(word in str(caught.value) for word in words), caught.value
    return caught.value


@pytest.mark.parametrize("isolated", [True, False])
def test_a_row_is_read_as_it_is_stored(h5, isolated):
    options = ReadingOptions(isolated=isolated, value_range=(0, 255))
    for row in (0, 3):
        image, metadata = read_radiograph(h5 / "cxr" / str(row), options)
        assert image.shape == (1, ROWS, COLUMNS)
        assert np.allclose(image[0], PICTURES[row] / 255, atol=1e-6)
        assert metadata["stored_size"] == (ROWS, COLUMNS)
        assert metadata["format"] == "HDF5"
        assert metadata["spacing"] is None
        assert look_at_header(h5 / "cxr" / str(row)).size == (ROWS, COLUMNS)


def test_integers_span_their_type_unless_they_take_little_of_it(h5):
    image, metadata = read_radiograph(h5 / "deep" / "bytes" / "1")
    assert np.allclose(image[0], PICTURES[1].astype(np.uint8) / 255, atol=1e-6)
    assert metadata["window"]["kind"] == "type_range"
    image, metadata = read_radiograph(h5 / "deep" / "words" / "1")
    assert np.allclose(image[0], (PICTURES[1] * 200).astype(np.uint16) / 65535, atol=1e-6)
    assert read_radiograph(h5 / "cxr" / "1")[1]["window"]["kind"] == "percentile"


def test_what_is_no_row_of_grey_pictures_is_refused(h5, tmp_path):
    refused(h5 / "cxr" / "4", "has 4 rows", "FILE.h5/ARRAY/ROW")
    refused(h5 / "cxr" / "last", "names no row")
    refused(h5 / "7", "names no row")
    refused(h5 / "xray" / "0", "no such array", "colours, cxr, deep, names")
    refused(h5 / "deep" / "0", "it is a group, of bytes, words")
    refused(h5 / "cxr" / "more" / "0", "no such array")
    refused(h5 / "colours" / "0", "(2, 60, 50, 3)")
    refused(h5 / "names" / "0", "the shape (2,)")
    refused(h5, "an HDF5 file", "FILE.h5/ARRAY/ROW")
    with pytest.raises(RadiographNotFoundError):
        read_radiograph(tmp_path / "none.h5" / "cxr" / "0")


def test_a_damaged_file_is_refused(h5):
    whole = h5.read_bytes()
    for share in (0.02, 0.3, 0.9):
        h5.write_bytes(whole[: int(share * len(whole))])
        refused(h5 / "cxr" / "3")
    h5.write_bytes(b"no HDF5 at all" * 10)
    refused(h5 / "cxr" / "0", "cannot be read")


def test_nothing_leads_to_another_file(h5, tmp_path):
    with h5py.File(tmp_path / "leads.h5", "w") as file:
        file["away"] = h5py.ExternalLink(h5.name, "cxr")
        file["soft"] = h5py.SoftLink("/own")
        file["own"] = PICTURES.astype(np.uint8)
        layout = h5py.VirtualLayout(shape=PICTURES.shape, dtype="f4")
        layout[:] = h5py.VirtualSource(h5, "cxr", shape=PICTURES.shape)
        file.create_virtual_dataset("virtual", layout)
        (tmp_path / "raw").write_bytes(bytes(PICTURES.size))
        file.create_dataset("raw", PICTURES.shape, "u1", external=[(tmp_path / "raw", 0, PICTURES.size)])
    for name in ("away", "virtual", "raw"):
        refused(tmp_path / "leads.h5" / name / "0", "other file" if name != "away" else "another file")
    assert read_radiograph(tmp_path / "leads.h5" / "soft" / "0")[0].shape == (1, ROWS, COLUMNS)


def test_a_folder_of_that_name_is_a_folder(write_dicom, picture, tmp_path):
    (tmp_path / "folder.h5").mkdir()
    path = write_dicom(picture).rename(tmp_path / "folder.h5" / "a.dcm")
    assert read_radiograph(path)[1]["format"] == "DICOM"
