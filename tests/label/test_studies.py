"""The server's view of a studies folder: links by stable names, and none that leads out."""

import errno
import json
import os

import numpy as np
import pytest
from skimage.io import imsave

from bundle.data.inputs import radiograph_files
from bundle.label import studies as module
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size, link_radiographs
from bundle.reading.radiograph import RadiographError, stored_size
from tests.tiny import write_dicom

PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 30))


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "studies"
    (folder / "ward").mkdir(parents=True)
    write_dicom(folder / "scan.dcm", PIXELS)
    write_dicom(folder / "ward" / "IM1", PIXELS)
    imsave(folder / "scan.png", PIXELS.astype(np.uint16), check_contrast=False)
    (folder / "broken.dcm").write_bytes(b"broken")
    return folder


def test_links_stay_while_a_file_is_away_that_is_drawn_on(studies, tmp_path):
    view = tmp_path / "view"
    link_radiographs(studies, view)
    first = links(view)
    studies.rename(tmp_path / "elsewhere")
    assert link_radiographs(studies, view, {"scan~2"}) == 2
    assert list(links(view)) == ["scan~2.png"]
    (tmp_path / "elsewhere").rename(studies)
    link_radiographs(studies, view, {"scan~2"})
    assert links(view) == first


def test_unreadable_files_are_read_once_as_long_as_they_stay_so(studies, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(module, "stored_size", lambda file: read.append(file.name) or stored_size(file))
    refused = {}
    for _ in range(2):
        link_radiographs(studies, tmp_path / "view", refused=refused)
    assert read.count("broken.dcm") == 1
    write_dicom(studies / "broken.dcm", PIXELS)
    assert link_radiographs(studies, tmp_path / "view", refused=refused) == 1
    assert not refused


def test_a_file_whose_disk_failed_is_read_again(studies, tmp_path, monkeypatch):
    def failing(file):
        raise RadiographError("cannot be read") from OSError(errno.EIO, "Input/output error")

    refused = {}
    with monkeypatch.context() as disk:
        disk.setattr(module, "stored_size", failing)
        assert link_radiographs(studies, tmp_path / "view", refused=refused) == 0
    assert link_radiographs(studies, tmp_path / "view", refused=refused) == 3


def links(view):
    return {link.name: link.readlink().name for link in view.iterdir()}


def test_names_are_unique_and_stay_when_files_come_and_go(studies, tmp_path):
    view = tmp_path / "view"
    assert link_radiographs(studies, view) == 3
    first = links(view)
    assert first == {"scan.dcm": "scan.dcm", "scan~2.png": "scan.png", "ward__IM1.dcm": "IM1"}
    assert link_radiographs(studies, view) == 0
    write_dicom(studies / "a.dcm", PIXELS)
    assert link_radiographs(studies, view) == 1
    (studies / "scan.dcm").unlink()
    assert link_radiographs(studies, view) == 1
    assert links(view) == {"a.dcm": "a.dcm", "scan~2.png": "scan.png", "ward__IM1.dcm": "IM1"}


def test_links_that_lead_out_are_left_out(studies, tmp_path):
    secret = write_dicom(tmp_path / "secret.dcm", PIXELS)
    (studies / "way_out.dcm").symlink_to(secret)
    (studies / "within.dcm").symlink_to(studies / "scan.dcm")
    link_radiographs(studies, tmp_path / "view")
    assert "way_out.dcm" not in links(tmp_path / "view")
    assert "within.dcm" in links(tmp_path / "view")


def test_a_view_inside_the_studies_is_not_looked_at_again(studies):
    view = studies / "work" / "view"
    assert link_radiographs(studies, view) == 3
    assert link_radiographs(studies, view) == 0


def test_masks_are_no_radiographs_and_are_listed_as_passed_over(studies, tmp_path):
    """As MONAI Label leaves them beside radiographs; and links that an earlier version made to them go."""
    view, work = tmp_path / "work" / "view", tmp_path / "work"
    view.mkdir(parents=True)
    for place in ("labels/final", "labels/original", "ward/Labels/own"):
        (studies / place).mkdir(parents=True)
        imsave(studies / place / "scan.png", PIXELS.astype(np.uint8), check_contrast=False)
    (studies / "labels.dcm").symlink_to(studies / "scan.dcm")  # a file of this name is one like others
    (view / "labels__final__scan.png").symlink_to(studies / "labels/final/scan.png")
    (view / "labels__original__scan.png").symlink_to(studies / "labels/original/scan.png")
    link_radiographs(studies, view, {"labels__original__scan"}, work=work)  # somebody drew on the second
    assert set(links(view)) == {"labels.dcm", "labels__original__scan.png", "scan.dcm", "scan~2.png", "ward__IM1.dcm"}
    listed = {each["file"]: each["reason"] for each in json.loads((work / "passed_over.json").read_text())}
    assert set(listed) == {
        "broken.dcm",
        "labels/final/scan.png",
        "ward/Labels/own/scan.png",
    }
    assert "masks" in listed["labels/final/scan.png"]
    assert "DICOM" in listed["broken.dcm"]
    before = (work / "passed_over.json").stat().st_mtime_ns
    assert link_radiographs(studies, view, {"labels__original__scan"}, work=work) == 0
    assert (work / "passed_over.json").stat().st_mtime_ns == before


def test_nothing_of_the_servers_own_is_a_study(studies):
    """Its folder may lie in the studies: uploads, sessions and what came from an archive stay in it."""
    work = studies / "work"
    for place in ("sessions/0123", "uploads/tmp", "archive", "studies"):
        (work / place).mkdir(parents=True)
        write_dicom(work / place / "radiograph.dcm", PIXELS)
    assert link_radiographs(studies, work / "studies", work=work) == 3


def test_a_pipe_is_passed_over(studies, tmp_path):
    os.mkfifo(studies / "pipe")
    os.mkfifo(studies / "pipe.dcm")
    assert len(radiograph_files(studies, check="none")) == 4
    assert link_radiographs(studies, tmp_path / "view") == 3


def test_masks_are_no_radiographs(studies, tmp_path):
    (studies / "labels" / "final").mkdir(parents=True)
    write_dicom(studies / "labels" / "final" / "scan.dcm", PIXELS)
    assert link_radiographs(studies, tmp_path / "view") == 3
    assert not [name for name in links(tmp_path / "view") if "final" in name]


def test_an_empty_folder_is_no_error(tmp_path):
    (tmp_path / "studies").mkdir()
    assert link_radiographs(tmp_path / "studies", tmp_path / "view") == 0


def test_a_huge_image_is_refused_by_its_header(tmp_path):
    imsave(tmp_path / "large.png", np.zeros((10_001, 10_000), np.uint8), check_contrast=False)
    with pytest.raises(RadiographError, match="100,010,000 pixels"):
        check_size(tmp_path / "large.png")
    write_dicom(tmp_path / "large.dcm", np.zeros((10_001, 10_000), np.uint8))
    with pytest.raises(RefusedError, match="10000 x 10001 pixels; more than 100 million"):
        check_size(tmp_path / "large.dcm")
