"""Inference outputs of real files, through MONAI's own loader, collation and post-processing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose
from PIL import Image
from pydicom import dcmread

from bundle.data.inputs import radiograph_samples
from bundle.data.loading import collate_radiographs
from bundle.probability import OperatingPoints
from bundle.reading.picture_decoder import gdcm_place
from bundle.results import MapsToCandidatesd, save_findings
from bundle.results.colours import finding_colour, rgb
from bundle.results.overlay import draw_overlay
from bundle.results.save_findings import SaveFindingsd
from bundle.transforms import FitToCanvasd, LoadRadiographd
from tests.tiny import write_dicom

FINDINGS = ["Effusion", "Mass"]
CANVAS, GRID = 160, 16
HEIGHT, WIDTH = 300, 200
LESION = (130, 60, 160, 90)  # x0, y0, x1, y1 in stored pixels


def lesion_pixels() -> np.ndarray:
    """A 12-bit radiograph (300, 200), dark but for one square."""
    pixels = np.full((HEIGHT, WIDTH), 400, np.uint16)
    x0, y0, x1, y1 = LESION
    pixels[y0:y1, x0:x1] = 4000
    return pixels


def infer(source: Path, output: Path, batch_size: int = 2, **settings: Any) -> list[dict[str, Any]]:
    """The inference pipeline with a detector of brightness in the network's place: Mass is bright, Effusion is not."""
    samples = radiograph_samples(source)
    loader = DataLoader(
        Dataset(samples, Compose([LoadRadiographd(), FitToCanvasd(size=CANVAS)])),
        batch_size=batch_size,
        collate_fn=collate_radiographs,
    )
    post = Compose(
        [
            MapsToCandidatesd(canvas=CANVAS),
            SaveFindingsd(findings=FINDINGS, output_dir=output, inputs=samples, **settings),
        ]
    )
    done = []
    for batch in loader:
        bright = torch.nn.functional.avg_pool2d(batch["image"].as_tensor(), CANVAS // GRID)  # (B, 1, Gh, Gw)
        batch["pred"] = torch.cat([0.01 * bright, bright], 1)
        peak = batch["pred"].amax((2, 3))
        batch["scores"] = {"image": peak, "sparse": torch.where(peak > 0.5, peak, torch.nan)}
        done += [post(sample) for sample in decollate_batch(batch)]
    return done


def test_what_is_written_points_at_the_lesion(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in.dcm", lesion_pixels(), PatientBirthDate="19501231", InstitutionName="Secret Hospital")
    (sample,) = infer(tmp_path / "in.dcm", tmp_path / "out", map_side=None)
    assert {"pred", "candidates", "scores", "image"} <= set(sample)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["in.json", "in_map.nii.gz", "in_overlay.png"]
    patch = max(HEIGHT, WIDTH) / GRID  # stored pixels a patch
    centre = np.array([(LESION[0] + LESION[2]) / 2, (LESION[1] + LESION[3]) / 2])

    document = json.loads((tmp_path / "out" / "in.json").read_text())
    best = document["candidates"][0]
    assert best["finding"] == "Mass"
    assert np.abs(np.array(best["peak"]) - centre).max() < patch / 2
    assert np.abs(np.array(best["box"]) - LESION).max() <= patch
    assert document["stored_size"] == {"height": HEIGHT, "width": WIDTH}
    assert document["spacing_mm"] == {"row": 0.5, "column": 0.5}
    assert list(document["findings"]) == FINDINGS
    assert document["findings"]["Effusion"]["sparse"] is None
    assert document["findings"]["Mass"]["image"] > 0.8
    assert document["file"] == "in.dcm"
    assert document["reading"]["pixels_sha256"] == hashlib.sha256(lesion_pixels().astype("<u2").tobytes()).hexdigest()
    assert {"python", "torch", "monai"} <= set(document["versions"])
    assert "not for clinical use" in document["note"]
    for secret in ("Secret", "SECRET", "1950"):
        assert secret not in json.dumps(document)

    maps = nibabel.load(tmp_path / "out" / document["map"]["file"])
    data = np.asarray(maps.dataobj)
    assert data.shape == (WIDTH, HEIGHT, 1, 2)
    x, y, _ = np.unravel_index(data[..., 1].argmax(), data.shape[:3])
    assert np.abs(np.array([x, y]) + 0.5 - centre).max() <= patch

    overlay = np.asarray(Image.open(tmp_path / "out" / "in_overlay.png").convert("RGB"))
    assert overlay.shape[1] == round(WIDTH * 800 / HEIGHT)  # a small image is enlarged
    stretch = np.array([overlay.shape[1] / WIDTH, 800 / HEIGHT] * 2)
    x0, y0, x1, y1 = np.round(np.array(best["box"]) * stretch).astype(int).tolist()
    down, right = y0 + (y1 - y0) // 3, x0 + (x1 - x0) // 3
    for row, column in ((down, x0), (down, x1 - 1), (y1 - 1, right)):
        assert tuple(overlay[row, column]) == rgb(finding_colour(1))


def test_notes_of_the_reader_are_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = []

    def draw(*arguments: Any, **settings: Any) -> Image.Image:
        captions.append(settings["caption"])
        return draw_overlay(*arguments, **settings)

    monkeypatch.setattr(save_findings, "draw_overlay", draw)
    write_dicom(tmp_path / "in.dcm", lesion_pixels(), WindowCenter=30000, WindowWidth=100)
    infer(tmp_path / "in.dcm", tmp_path / "out")
    note = "the window of centre 30000 and width 100 holds no pixel; it was passed over"
    assert json.loads((tmp_path / "out" / "in.json").read_text())["reading"]["notes"] == [note]
    assert [f"How it was read: {note}." in caption for caption in captions] == [True]


def test_the_overlay_has_square_pixels(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in.dcm", lesion_pixels(), PixelSpacing=[0.2, 0.4])
    infer(tmp_path / "in.dcm", tmp_path / "out", maps=False, points=OperatingPoints(FINDINGS, min_score=0.99))
    grey = np.asarray(Image.open(tmp_path / "out" / "in_overlay.png").convert("L"))
    assert grey.shape[1] == 800  # 200 pixels of .4 mm, wider than 300 of .2
    rows, columns = (np.flatnonzero((grey[:600] > 200).sum(axis) > 30) for axis in (1, 0))
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(2, rel=0.05)  # of a square in stored pixels


@pytest.mark.parametrize(
    ("tags", "spacing", "unit"),
    [
        ({"ImagerPixelSpacing": [0.5, 0.5]}, 0.5, "mm"),
        ({"ImagerPixelSpacing": [0.4, 0.4]}, 0.4, "unknown"),  # at the detector, where PixelSpacing is calibrated
        ({}, 1.0, "unknown"),  # a DX image without the spacing that ITK wants of it
    ],
)
def test_itk_sees_the_map_where_it_sees_the_dicom_image(
    tmp_path: Path, tags: dict[str, Any], spacing: float, unit: str
) -> None:
    write_dicom(tmp_path / "in.dcm", lesion_pixels(), **tags)
    infer(tmp_path / "in.dcm", tmp_path / "out", map_side=None, overlay=False)
    maps = nibabel.load(tmp_path / "out" / "in_map.nii.gz")
    assert maps.header.get_zooms()[:2] == pytest.approx((spacing, spacing))
    assert maps.header.get_xyzt_units()[0] == unit
    radiograph = itk.imread(str(tmp_path / "in.dcm"))
    seen = itk.imread(str(tmp_path / "out" / "in_map.nii.gz"))
    for index in ((0, 0), (WIDTH - 1, HEIGHT - 1)):
        there = list(radiograph.TransformIndexToPhysicalPoint([*index, 0][: radiograph.GetImageDimension()]))
        assert list(seen.TransformIndexToPhysicalPoint([*index, 0, 0]))[:2] == pytest.approx(there[:2], abs=1e-4)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.4, 0.5]},
        {"NominalScannedPixelSpacing": [0.6, 0.7]},
        {
            "PixelSpacing": [0.2, 0.3],
            "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
            "ImagePositionPatient": [1, 2, 3],
        },
    ],
    ids=["both", "nominal", "turned"],
)
@pytest.mark.parametrize(
    "kind", ["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.1.29"], ids=["SC", "CR", "HC"]
)
def test_gdcm_places_a_dicom_image_where_itk_does(tmp_path: Path, kind: str, tags: dict[str, Any]) -> None:
    header = dcmread(write_dicom(tmp_path / "a.dcm", lesion_pixels(), **tags))
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = kind
    header.save_as(tmp_path / "a.dcm")
    reader = itk.GDCMImageIO.New()
    reader.SetFileName(str(tmp_path / "a.dcm"))
    reader.ReadImageInformation()
    place = np.eye(4)
    for axis in range(3):
        place[:3, axis] = np.asarray(reader.GetDirection(axis)) * reader.GetSpacing(axis)
        place[axis, 3] = reader.GetOrigin(axis)
    np.testing.assert_allclose(gdcm_place(tmp_path / "a.dcm"), place, atol=1e-9)


def test_a_dicom_file_that_itk_does_not_read_stops_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in").mkdir()
    write_dicom(tmp_path / "in" / "a.dcm", lesion_pixels())
    floats = dcmread(write_dicom(tmp_path / "in" / "b.dcm", lesion_pixels()))
    floats.FloatPixelData = floats.pixel_array.astype(np.float32).tobytes()
    floats.BitsAllocated = 32
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(floats, keyword)
    floats.save_as(tmp_path / "in" / "b.dcm")
    infer(tmp_path / "in", tmp_path / "out", overlay=False)
    seen = [nibabel.load(tmp_path / "out" / f"{name}_map.nii.gz") for name in "ab"]
    assert seen[1].header.get_zooms()[:2] == pytest.approx((0.5 * 200 / seen[1].shape[0], 0.5 * 300 / seen[1].shape[1]))
    assert seen[1].header.get_xyzt_units()[0] == "mm"
    assert "ITK does not read a DICOM file" in caplog.text


@pytest.mark.parametrize("kind", ["png", "tiff", "nii.gz"])
def test_other_formats_go_the_same_way(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "nii.gz":  # as ITK writes a radiograph: identity of LPS
        nibabel.save(nibabel.Nifti1Image(lesion_pixels().T[:, :, None], np.diag([-0.2, -0.2, 1, 1])), path)
    else:
        Image.fromarray((lesion_pixels() // 16).astype(np.uint8)).save(path)
    infer(path, tmp_path / "out", map_side=100)
    document = json.loads((tmp_path / "out" / "a.json").read_text())
    x, y = document["candidates"][0]["peak"]
    assert LESION[0] <= x < LESION[2]
    assert LESION[1] <= y < LESION[3]
    maps = nibabel.load(tmp_path / "out" / "a_map.nii.gz")
    assert maps.shape == (67, 100, 1, 2)
    assert document["map"]["size"] == {"height": 100, "width": 67}
    assert document["spacing_mm"] == ({"row": 0.2, "column": 0.2} if kind == "nii.gz" else None)
    assert maps.header.get_xyzt_units()[0] == ("mm" if kind == "nii.gz" else "unknown")


def test_equal_names_in_subfolders_are_kept_apart_and_mixed_files_share_a_batch(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / "in" / place).mkdir(parents=True)
        write_dicom(tmp_path / "in" / place / "scan.dcm", lesion_pixels())
    Image.fromarray((lesion_pixels()[:150] // 16).astype(np.uint8)).save(tmp_path / "in" / "a" / "scan.png")
    infer(tmp_path / "in", tmp_path / "out", batch_size=3, maps=False, overlay=False)
    written = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.json"))
    assert written == ["a/scan.dcm.json", "a/scan.png.json", "b/scan.json"]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_anonymous_outputs_hold_no_file_name(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("Smith_Anna.dcm", "Jones.dcm"):
        write_dicom(tmp_path / "in" / name, lesion_pixels())
    infer(tmp_path / "in", tmp_path / "out", anonymous_names=True, model={"name": "Patch-CLIP", "version": "0.1.0"})
    assert sorted(p.name for p in (tmp_path / "out").glob("*.json")) == ["000001.json", "000002.json"]
    for path in (tmp_path / "out").glob("*.json"):
        assert "Smith" not in path.read_text()
        assert "Jones" not in path.read_text()
        assert json.loads(path.read_text())["model"]["version"] == "0.1.0"


def test_a_finding_that_the_whole_image_speaks_against_is_named_but_not_drawn(tmp_path: Path) -> None:
    """Mass has an image score of 0.8: drawn at a limit of 0.5, not at 0.9; its candidates are written all the same."""
    write_dicom(tmp_path / "in.dcm", lesion_pixels())
    pictures = {}
    for limit in (0.5, 0.9, 0.0):
        output = tmp_path / str(limit)
        infer(tmp_path / "in.dcm", output, points=OperatingPoints(FINDINGS, min_image_score=limit), maps=False)
        document = json.loads((output / "in.json").read_text())
        expected = {0.5: ["Mass"], 0.9: [], 0.0: FINDINGS}[limit]
        assert document["overlay"]["findings_considered"] == expected
        assert document["candidates"][0]["finding"] == "Mass"
        picture = np.asarray(Image.open(output / "in_overlay.png").convert("RGB"))
        pictures[limit] = (picture[:800] == rgb(finding_colour(1))).all(-1).sum()
    assert pictures[0.9] == 0
    assert pictures[0.5] == pictures[0.0] > 100


def test_without_the_list_of_inputs_nothing_is_overwritten(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        write_dicom(tmp_path / place / "scan.dcm", lesion_pixels())
    samples = [infer(tmp_path / place, tmp_path / "one", maps=False, overlay=False)[0] for place in ("a", "b")]
    save = SaveFindingsd(findings=FINDINGS, output_dir=tmp_path / "two", maps=False, overlay=False)
    save(samples[0])
    save(samples[0])  # the same file again is no other file
    with pytest.raises(ValueError, match=r"would both be written as 'scan'.*inputs"):
        save(samples[1])


def test_settings_and_samples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="findings must be named"):
        SaveFindingsd(findings=[], output_dir=tmp_path)
    with pytest.raises(ValueError, match="anonymous_names numbers the files"):
        SaveFindingsd(findings=FINDINGS, output_dir=tmp_path, anonymous_names=True)
    write_dicom(tmp_path / "x.dcm", lesion_pixels())
    (sample,) = infer(tmp_path / "x.dcm", tmp_path / "out", maps=False, overlay=False)
    with pytest.raises(ValueError, match="maps of 2 findings but 1 names"):
        SaveFindingsd(findings=["Mass"], output_dir=tmp_path)(sample)
    with pytest.raises(ValueError, match="not among `inputs`"):
        SaveFindingsd(findings=FINDINGS, output_dir=tmp_path, inputs=["other.dcm"])(sample)
    write_dicom(tmp_path / "x.dcm", lesion_pixels()[:100])
    with pytest.raises(ValueError, match=r"the file is now \(100, 200\)"):
        SaveFindingsd(findings=FINDINGS, output_dir=tmp_path)(sample)
