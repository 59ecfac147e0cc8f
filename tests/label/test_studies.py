"""The server's view of a studies folder: links by stable names, and none that leads out."""

import errno
import os

import numpy as np
import pytest
from skimage.io import imsave

from bundle.data.inputs import radiograph_files
from bundle.label import studies as module
from bundle.label.refusal import RefusedError
from bundle.label.studies import check_size, inside, link_radiographs
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
    assert not inside(studies / "way_out.dcm", studies)
    assert inside(studies / "within.dcm", studies)


def test_a_view_inside_the_studies_is_not_looked_at_again(studies):
    view = studies / "work" / "view"
    assert link_radiographs(studies, view) == 3
    assert link_radiographs(studies, view) == 0


def test_a_pipe_is_passed_over(studies, tmp_path):
    os.mkfifo(studies / "pipe")
    os.mkfifo(studies / "pipe.dcm")
    assert len(radiograph_files(studies, check="none")) == 4
    assert link_radiographs(studies, tmp_path / "view") == 3


def test_an_empty_folder_is_no_error(tmp_path):
    (tmp_path / "studies").mkdir()
    assert link_radiographs(tmp_path / "studies", tmp_path / "view") == 0


def test_a_huge_image_is_refused_by_its_header(tmp_path):
    imsave(tmp_path / "large.png", np.zeros((10_001, 10_000), np.uint8), check_contrast=False)
    with pytest.raises(RefusedError, match="10000 x 10001 pixels; more than 100 million"):
        check_size(tmp_path / "large.png")
