"""From a drawn mask to a datalist's boxes."""

import json

import itk
import nibabel
import numpy as np
import pytest
from skimage.io import imsave

from bundle.data.datalist import datalist_section
from bundle.fingerprint import file_sha256
from bundle.label import drawn as module
from bundle.label.drawn import DrawnError, check_submitted, drawn_entry, known_entries, segment_boxes, segment_findings
from bundle.reading.radiograph import read_radiograph
from bundle.results.findings_file import viewer_affine
from tests.tiny import FINDINGS, write_dicom

NAMES = {1: "Effusion", 2: "Mass"}


@pytest.fixture
def radiograph(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (90, 70))
    return write_dicom(tmp_path / "r.dcm", pixels, ImagerPixelSpacing=[0.2, 0.3])


def save(path, mask, affine):
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(mask.T[:, :, None]), affine), path)
    return path


def drawn():
    mask = np.zeros((90, 70), np.uint8)
    mask[10:30, 5:25] = 2
    mask[12:28, 7:20] = 0  # only the outline: its extent counts
    mask[60:70, 40:50] = 1
    mask[60:70, 55:60] = 1  # a second part
    return mask


def boxes_of(boxes):
    return sorted((box["finding"], *box["box"]) for box in boxes)


EXPECTED = [("Effusion", 40, 60, 50, 70), ("Effusion", 55, 60, 60, 70), ("Mass", 5, 10, 25, 30)]


def test_each_connected_part_is_a_box(tmp_path, radiograph):
    affine = viewer_affine(radiograph, read_radiograph(radiograph)[1])
    mask = save(tmp_path / "m.nii.gz", drawn(), affine)
    assert boxes_of(segment_boxes(mask, radiograph, NAMES)) == EXPECTED


def test_a_mask_of_other_pixels_lies_where_its_geometry_says(tmp_path, radiograph):
    affine = viewer_affine(radiograph, read_radiograph(radiograph)[1])
    fine = affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]])
    mask = save(tmp_path / "fine.nii.gz", drawn().repeat(2, 0).repeat(2, 1), fine)
    assert boxes_of(segment_boxes(mask, radiograph, NAMES)) == EXPECTED
    shifted = affine @ np.array([[1, 0, 0, 5], [0, 1, 0, 10], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mask = save(tmp_path / "part.nii.gz", drawn()[10:, 5:], shifted)
    assert boxes_of(segment_boxes(mask, radiograph, NAMES)) == EXPECTED


def test_a_mask_without_geometry_must_have_the_images_size(tmp_path, radiograph):
    imsave(tmp_path / "m.png", drawn(), check_contrast=False)
    assert boxes_of(segment_boxes(tmp_path / "m.png", radiograph, NAMES)) == EXPECTED
    imsave(tmp_path / "m.png", drawn()[1:], check_contrast=False)
    with pytest.raises(DrawnError, match=r"\(70, 89\) pixels and no geometry; wanted \(70, 90\)"):
        segment_boxes(tmp_path / "m.png", radiograph, NAMES)


def test_values_that_are_no_finding_are_refused(tmp_path, radiograph):
    imsave(tmp_path / "m.png", drawn() * 3, check_contrast=False)
    with pytest.raises(DrawnError, match="other values than"):
        segment_boxes(tmp_path / "m.png", radiograph, NAMES)


def test_segments_are_named_as_slicer_says_or_numbered_as_the_server_paints():
    assert segment_findings({}, FINDINGS) == NAMES
    slicer = {"label_info": [{"name": "mass", "idx": 1}, {"name": "Effusion", "idx": 2}]}
    assert segment_findings(slicer, FINDINGS) == {1: "Mass", 2: "Effusion"}
    with pytest.raises(DrawnError, match="'Segment_1'; segments must be called Effusion, Mass"):
        segment_findings({"label_info": [{"name": "Segment_1"}]}, FINDINGS)


def test_an_entry_joins_what_is_drawn_and_what_the_datalist_knows(tmp_path, radiograph):
    document = {
        "findings": FINDINGS,
        "training": [
            {
                "image": "r.dcm",
                "patient_id": "p1",
                "report": "A mass.",
                "labels": {"Mass": 1, "Effusion": 0},
                "boxes": [{"finding": "Mass", "box": [0, 0, 9, 9]}],
                "boxed": ["Mass"],
            }
        ],
    }
    (tmp_path / "datalist.json").write_text(json.dumps(document))
    known = known_entries(tmp_path)[radiograph.resolve()]
    mask = np.where(drawn() == 1, 1, 0).astype(np.uint8)
    imsave(tmp_path / "m.png", mask, check_contrast=False)
    entry = drawn_entry(radiograph, tmp_path / "m.png", {}, FINDINGS, known)
    assert entry["report"] == "A mass."
    assert entry["labels"] == {"Mass": 1, "Effusion": 1}  # drawn beats what was known
    assert boxes_of(entry["boxes"]) == [*EXPECTED[:2], ("Mass", 0, 0, 9, 9)]
    imsave(tmp_path / "m.png", mask * 0, check_contrast=False)
    entry = drawn_entry(radiograph, tmp_path / "m.png", {"absent": ["Mass"]}, FINDINGS, {})
    assert entry["labels"] == {"Mass": 0}
    assert entry["boxed"] == ["Mass"]
    (tmp_path / "of_drawn.json").write_text(json.dumps({"findings": FINDINGS, "training": [entry]}))
    (item,) = datalist_section(tmp_path / "of_drawn.json", "training", FINDINGS, base_dir="/")
    assert item["label"].tolist()[1] == 0
    with pytest.raises(DrawnError, match=r"absent names \['Fracture'\]"):
        drawn_entry(radiograph, tmp_path / "m.png", {"absent": ["Fracture"]}, FINDINGS, {})


def test_a_label_is_used_only_while_it_is_known_what_it_says_and_on_what(tmp_path, radiograph):
    mask = tmp_path / "m.png"
    mask.write_bytes(b"drawn")
    info = {"label_info": [{"name": "Mass", "idx": 1}], "image_sha256": file_sha256(radiograph)}
    info["mask_sha256"] = file_sha256(mask)
    check_submitted(info, radiograph, mask)
    with pytest.raises(DrawnError, match="the mask is not the one that its notes were written for"):
        check_submitted({**info, "mask_sha256": "of another"}, radiograph, mask)
    with pytest.raises(DrawnError, match="no label_info says"):
        check_submitted({"image_sha256": info["image_sha256"]}, radiograph, mask)
    write_dicom(radiograph, np.zeros((90, 70), np.uint16))
    with pytest.raises(DrawnError, match="the file has changed since it was drawn on"):
        check_submitted(info, radiograph, mask)
    radiograph.unlink()
    with pytest.raises(DrawnError, match="the radiograph is away"):
        check_submitted(info, radiograph, mask)


def test_specks_are_counted_before_they_are_looked_at(tmp_path, monkeypatch):
    radiograph = write_dicom(tmp_path / "large.dcm", np.zeros((500, 500), np.uint16))
    mask = np.zeros((500, 500), np.uint8)
    mask[::2, ::2] = 1
    imsave(tmp_path / "m.png", mask, check_contrast=False)
    monkeypatch.setattr(module, "regionprops", lambda parts: (parts.max() > 1000 and pytest.fail("took 4 s")) or ())
    with pytest.raises(DrawnError, match="62500 connected parts or more; wanted at most 1000"):
        segment_boxes(tmp_path / "m.png", radiograph, NAMES)
    mask[30:] = 0  # 15 x 250 specks
    mask[:, 60:] = 0  # 15 x 30
    mask[:30:2, 1:130:2] = 2  # with 15 x 65 of another segment
    imsave(tmp_path / "m.png", mask, check_contrast=False)
    with pytest.raises(DrawnError, match="1425 connected parts"):
        segment_boxes(tmp_path / "m.png", radiograph, NAMES)


def test_segments_are_passed_over_the_mask_a_hundred_times_at_most(tmp_path, radiograph):
    named = [{"name": "Mass", "idx": value} for value in range(1, 102)]
    with pytest.raises(DrawnError, match="lists 101 segments; wanted at most 100"):
        segment_findings({"label_info": named}, FINDINGS)
    assert len(segment_findings({"label_info": named[:100]}, FINDINGS)) == 100


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_mask_holds_its_values_itself(tmp_path, radiograph, suffix):
    (tmp_path / "values.raw").write_bytes(drawn().tobytes())
    itk.imwrite(itk.image_from_array(drawn()), tmp_path / f"m{suffix}")
    assert boxes_of(segment_boxes(tmp_path / f"m{suffix}", radiograph, NAMES)) == EXPECTED
    elsewhere = {
        ".mha": "NDims = 2\nDimSize = 70 90\nElementType = MET_UCHAR\n\nElementDataFile = values.raw\n",
        ".nrrd": "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 70 90\nencoding: raw\ndata file: values.raw\n\n",
    }
    (tmp_path / f"m{suffix}").write_text(elsewhere[suffix])
    with pytest.raises(DrawnError, match="takes its values from another file"):
        segment_boxes(tmp_path / f"m{suffix}", radiograph, NAMES)


def test_a_mask_that_claims_to_be_huge_is_refused_by_its_header(tmp_path, radiograph):
    header = (
        "ObjectType = Image\nNDims = 2\nDimSize = 100000 100000\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "m.mha").write_text(header)
    with pytest.raises(DrawnError, match="has 10000000000 pixels; wanted at most"):
        segment_boxes(tmp_path / "m.mha", radiograph, NAMES)
