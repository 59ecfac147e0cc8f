"""Findings are filed with the image that they are of, and with no other of the same size."""

import json
import logging
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from bundle.reading.radiograph import read_radiograph
from bundle.results.dicom import dicom_results
from tests.results.dicom_case import document, write_radiograph

READING = ("format", "photometric_interpretation", "inverted", "window", "spacing_source", "pixels_sha256")


def read(image: Path) -> dict[str, object]:
    """The reading part of a document about an image, as JSON gives it back."""
    meta = read_radiograph(image, hash_pixels=True)[1]
    return json.loads(json.dumps({key: meta[key] for key in READING}))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two patients' images, of the same size and kind."""
    first = write_radiograph(tmp_path / "first.dcm")
    second = dcmread(write_radiograph(tmp_path / "second.dcm", PatientName="Other^One"))
    second.PixelData = bytes(reversed(second.PixelData[:1000])) + second.PixelData[1000:]
    second.save_as(tmp_path / "second.dcm")
    return first, tmp_path / "second.dcm"


def test_findings_of_another_patients_image_are_refused(pair):
    first, second = pair
    dicom_results(first, document(reading=read(first)))
    with pytest.raises(ValueError, match=r"second\.dcm: the findings are of an image with other pixels"):
        dicom_results(second, document(reading=read(first)))


def test_a_copy_in_another_syntax_is_the_same_image(pair, caplog):
    reading = read(pair[0])
    copy = dcmread(pair[0])
    copy.compress(JPEG2000Lossless, generate_instance_uid=False)
    copy.save_as(pair[0])
    with caplog.at_level(logging.WARNING):
        dicom_results(pair[0], document(reading=reading))
    assert "hash" not in caplog.text


def test_findings_without_a_hash_are_compared_by_what_they_say(pair, tmp_path, caplog):
    older = document(reading={key: value for key, value in read(pair[0]).items() if key != "pixels_sha256"})
    older["spacing_mm"] = {"row": 0.5, "column": 0.5}
    with caplog.at_level(logging.WARNING):
        dicom_results(pair[0], older)
    assert "hold no hash of their image's pixels" in caplog.text
    assert "first" not in caplog.text
    window = write_radiograph(tmp_path / "window.dcm", WindowCenter=2000, WindowWidth=3000)
    with pytest.raises(ValueError, match=r"an image with another window\. Give the image"):
        dicom_results(window, older)
    spacing = write_radiograph(tmp_path / "spacing.dcm", PixelSpacing=[0.25, 0.5])
    with pytest.raises(ValueError, match="an image with another spacing"):
        dicom_results(spacing, older)
