"""Which files of a folder are read, and what their outputs are called."""

import json
import logging
import os
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
    reasons = {entry["file"]: entry["reason"] for entry in refused}
    assert list(reasons) == ["DICOMDIR", "b_map.nii.gz", "b_overlay.png", "colour.png", "cut.dcm", "notes.txt"]
    assert "colour" in reasons["colour.png"]
    assert str(folder) not in reasons["colour.png"]
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
    assert "@anonymous_names" in config["anonymous"]
    with caplog.at_level(logging.WARNING):
        samples = radiograph_samples(folder, unreadable=report, anonymous=True)
    assert len(samples) == 3
    refused = {entry["candidate"]: entry["reason"] for entry in json.loads(report.read_text())}
    assert list(refused) == [1, 2, 3, 4, 6, 7, 8]  # in the order of the names; 5, b.dcm, is read
    assert "does not parse" in refused[2]
    assert "colour" in refused[3]
    for text in (report.read_text(), caplog.text):
        assert "Smith" not in text
    assert "candidate 3: the image is colour" in caplog.text


def test_every_file_is_read_or_listed(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """But for hidden files, and what inference wrote."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "b.json").write_text(json.dumps({"note": "n", "frame": "f", "stored_size": {}}))  # b_overlay.png is ours
    for name in ("scan_overlay.png", "scan_map.png", "labels.png"):  # and these are not
        Image.fromarray((GREY >> 4).astype(np.uint8)).save(folder / name)
    (folder / "scan.json").write_text("{}")
    listed = {
        "archive.zip": b"PK\x03\x04" + bytes(300),
        "archive.tar": bytes(257) + b"ustar" + bytes(300),
        "picture.bmp": b"BM\x36\x03\0\0\0\0\0\0" + bytes(300),
        "picture.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300),
        "movie": b"\0\0\0\x18ftypheic" + bytes(300),
        "Labels/final/b.nii.gz": b"",
        "ward/masks/b.png": b"",
    }
    for name, content in listed.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_dicom(folder / "labelsTr_1.dcm", GREY)
    (folder / "shelf").symlink_to(elsewhere)
    (folder / "gone.dcm").symlink_to(elsewhere / "gone.dcm")
    os.mkfifo(folder / "pipe.dcm")
    report = tmp_path / "unreadable.json"
    for check in ("pixels", "header", "none"):
        read = relative(radiograph_files(folder, check=check, unreadable=report), folder)
        reasons = {entry["file"]: entry["reason"] for entry in json.loads(report.read_text())}
        everything = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        ours = {"b.json", "b_map.nii.gz", "b_overlay.png", ".hidden/c.dcm"}
        assert {*read, *reasons} == {*everything, "shelf"} - ours
        assert {"scan_overlay.png", "scan_map.png", "labels.png", "labelsTr_1.dcm"} <= set(read)
        for name, word in {"archive.zip": "ZIP archive", "picture.bmp": "BMP picture", "DICOMDIR": "index"}.items():
            assert word in reasons[name]
        assert "drawings" in reasons["Labels/final/b.nii.gz"]
        assert "pipe" in reasons["pipe.dcm"]
        assert "a link to a folder" in reasons["shelf"]
    assert "2 files of no known image format" in caplog.text
    masks = folder / "Labels" / "final"
    with pytest.raises(ValueError, match=r"1 files, none readable; the first: .*is empty"):  # given, it is looked at
        radiograph_files(masks)


def test_nothing_to_read_says_where_and_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: there is no such .*DICOM"):
        radiograph_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no such file in it. Wanted .*\.png"):
        radiograph_files(tmp_path)
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(ValueError, match=r"no such file in it"):
        radiograph_files(tmp_path, patterns=["*.png"])
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"2 files, none readable; the first: .*a\.png"):
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
