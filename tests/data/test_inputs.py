"""Which files of a folder are read, and what their outputs are called."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data.inputs import radiograph_files, radiograph_samples
from bundle.data.output_names import output_names
from bundle.reading.radiograph import RadiographError
from tests.tiny import write_dicom

ROOT = Path(__file__).resolve().parents[2]

GREY = np.arange(80 * 60, dtype=np.uint16).reshape(80, 60) % 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "ward").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write_dicom(folder / "b.dcm", GREY)
    write_dicom(folder / "ward" / "1.2.840.1", GREY)  # DICOM without extension
    write_dicom(folder / ".hidden" / "c.dcm", GREY)
    write_dicom(folder / "DICOMDIR", GREY)
    Image.fromarray((GREY >> 4).astype(np.uint8)).save(folder / "ward" / "a.PNG")
    (folder / "notes.txt").write_text("read me")
    Image.new("RGB", (8, 8), "red").save(folder / "b_overlay.png")
    (folder / "b_map.nii.gz").write_bytes(b"")
    return folder


def relative(files: list[str], folder: Path) -> list[str]:
    return [Path(file).relative_to(folder).as_posix() for file in files]


def test_radiographs_are_found_with_and_without_extension(folder: Path) -> None:
    assert relative(radiograph_files(folder), folder) == ["b.dcm", "ward/1.2.840.1", "ward/a.PNG"]
    assert relative(radiograph_files(folder, patterns=["*.DCM", "*.png"]), folder) == ["b.dcm", "ward/a.PNG"]
    assert radiograph_samples(folder / "b.dcm") == [{"image": str(folder / "b.dcm")}]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGB", (8, 8), "red").save(folder / "colour.png")
    whole = (folder / "b.dcm").read_bytes()
    (folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    report = tmp_path / "out" / "unreadable.json"
    with caplog.at_level(logging.WARNING):
        files = radiograph_files(folder, unreadable=report)
    assert relative(files, folder) == ["b.dcm", "ward/1.2.840.1", "ward/a.PNG"]
    refused = json.loads(report.read_text())
    assert [entry["file"] for entry in refused] == ["colour.png", "cut.dcm"]
    assert "colour" in refused[0]["reason"]
    assert str(folder) not in refused[0]["reason"]
    assert "cut.dcm" in caplog.text
    # colour shows only in the pixels
    assert "colour.png" in relative(radiograph_files(folder, check="header"), folder)
    assert "cut.dcm" not in relative(radiograph_files(folder, check="header"), folder)
    assert "cut.dcm" in relative(radiograph_files(folder, check="none"), folder)


def test_names_of_files_stay_out_of_an_anonymous_run(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A truncated NIfTI file is one whose name nibabel quotes in its message."""
    (folder / "Smith^John.nii").write_bytes(b"")
    (folder / "Smith^Jane.nii").write_bytes(b"no header")
    Image.new("RGB", (8, 8), "red").save(folder / "Smith^Jim.png")
    report = tmp_path / "out" / "unreadable.json"
    config = json.loads((ROOT / "configs" / "inference.json").read_text())["dataset"]["data"]
    assert config["anonymous"] == "@anonymous_names"
    with caplog.at_level(logging.WARNING):
        samples = radiograph_samples(folder, unreadable=report, anonymous=True)
    assert len(samples) == 3
    refused = json.loads(report.read_text())
    assert [entry["candidate"] for entry in refused] == [1, 2, 3]
    assert "does not parse" in refused[0]["reason"]
    assert "colour" in refused[1]["reason"]
    for text in (report.read_text(), caplog.text):
        assert "Smith" not in text
    assert "candidate 2: the image is colour" in caplog.text


def test_nothing_to_read_says_where_and_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: there is no such .*DICOM"):
        radiograph_files(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no such file in it. Wanted .*\.png"):
        radiograph_files(tmp_path)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"1 files, none readable; the first: .*a\.png"):
        radiograph_files(tmp_path)
    with pytest.raises(RadiographError, match=r"a\.png"):
        radiograph_files(tmp_path / "a.png")
    with pytest.raises(ValueError, match="check must be one of"):
        radiograph_files(tmp_path, check="all")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/in/a.dcm"], ["a"]),
        (["/in/a.dcm", "/in/b.nii.gz", "/in/1.2.840.1"], ["a", "b", "1.2.840.1"]),
        (["/in/x/a.dcm", "/in/y/a.dcm"], ["x/a", "y/a"]),
        (["/in/a.dcm", "/in/a.png", "/in/b.png"], ["a.dcm", "a.png", "b"]),
        (["/in/a.dcm", "/in/A.dcm"], ["a.dcm", "A.dcm~2"]),
        (["/in/a.dcm", "/in/a.png", "/in/a.dcm.png"], ["a.dcm", "a.png", "a.dcm~2"]),
        (["/in/Müller 1.dcm", "/in/a?b.dcm", "/in/...dcm"], ["Müller 1", "a_b", "_"]),
    ],
)
def test_names_are_short_where_they_can_be_and_never_the_same(files: list[str], names: list[str]) -> None:
    assert list(output_names(files).values()) == names
    assert len({name.casefold() for name in names}) == len(files)


def test_anonymous_names_are_numbers_in_the_order_of_the_files() -> None:
    assert output_names(["/in/b.dcm", "/in/a.dcm"], anonymous=True) == {"/in/b.dcm": "000001", "/in/a.dcm": "000002"}
