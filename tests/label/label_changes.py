"""New radiographs are found while the server runs; the studies are not walked for that. Run as label_modules.py is."""

import logging
import os
import shutil
import time

import numpy as np
import pytest

from bundle.label import changes as module
from bundle.label.changes import Changes
from bundle.label.datastore import EXTENSIONS, FolderDatastore
from bundle.label.studies import link_radiographs
from tests.tiny import FINDINGS, write_dicom

PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 30))
logger = logging.getLogger(__name__)


class Place:
    """Studies, the server's folder, and how often the studies were walked."""

    def __init__(self, folder, monkeypatch):
        self.studies, self.work, self.walks = folder / "studies", folder / "work", 0
        (self.studies / "ward").mkdir(parents=True)
        self.file = write_dicom(self.studies / "ward" / "a.dcm", PIXELS)
        self.store = FolderDatastore(str(self.work / "studies"), FINDINGS, extensions=EXTENSIONS)
        self.changes = Changes(self.studies, self.work / "studies", self.work)
        monkeypatch.setattr(module, "link_radiographs", self.counted)

    def counted(self, *given):
        self.walks += 1
        return link_radiographs(*given)

    def found(self):
        self.changes.find(self.store)
        return self.store.list_images()

    def settle(self):
        """As after some seconds in which nothing changed."""
        for folder in (self.studies, self.work / "studies"):
            for place, _, _ in os.walk(folder):
                os.utime(place, (time.time() - 10,) * 2)
        self.found()
        self.walks = 0


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


def test_studies_that_stay_as_they_are_are_walked_once(place):
    place.settle()
    assert [place.found() for _ in range(5)] == [["ward__a"]] * 5
    assert place.walks == 0


def test_what_comes_and_goes_is_found_at_once(place):
    place.settle()
    (place.studies / "late" / "deep").mkdir(parents=True)
    shutil.copy(place.file, place.studies / "late" / "deep" / "b.dcm")
    assert sorted(place.found()) == ["late__deep__b", "ward__a"]
    place.settle()
    place.file.unlink()
    assert place.found() == ["late__deep__b"]
    place.settle()
    place.studies.rename(place.studies.with_name("elsewhere"))
    assert place.found() == []
    place.studies.with_name("elsewhere").rename(place.studies)
    assert place.found() == ["late__deep__b"]


def test_a_file_that_was_on_its_way_is_found_when_it_is_whole(place):
    whole = place.file.read_bytes()
    (place.studies / "b.dcm").write_bytes(whole[:200])
    place.settle()
    assert place.found() == ["ward__a"]
    assert place.walks == 0
    (place.studies / "b.dcm").write_bytes(whole)
    os.utime(place.studies, (time.time() - 10,) * 2)  # the folder does not tell
    assert len(place.found()) == 2


def test_a_folder_that_changed_a_moment_ago_is_looked_at_again(place):
    """Another file may have come within one step of the disk's clock, so that the folder shows the same time."""
    place.found()
    walks = place.walks
    place.found()
    assert place.walks == walks + 1


def test_a_disk_that_tells_no_times_is_walked_all_the_same(place, monkeypatch):
    place.settle()
    later = time.monotonic() + module.AGAIN
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    place.found()
    assert place.walks == 1


def test_a_walk_that_fails_is_no_walk(place, monkeypatch):
    place.settle()
    shutil.copy(place.file, place.studies / "b.dcm")
    with monkeypatch.context() as disk:
        disk.setattr(module, "link_radiographs", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            place.found()
    assert len(place.found()) == 2


def test_ten_thousand_radiographs_cost_a_request_little(place):
    for number in range(100):
        (place.studies / f"folder{number}").mkdir()
        for each in range(100):
            os.link(place.file, place.studies / f"folder{number}" / f"{each}.dcm")
    place.found()
    place.settle()
    seconds = {"unchanged": timed(place), "the studies walked": timed(place, place.changes._originals.forget)}
    logger.info("10,001 radiographs: %s", {what: f"{1000 * each:.1f} ms" for what, each in seconds.items()})
    assert place.walks == 5
    assert seconds["unchanged"] < seconds["the studies walked"] / 10


def timed(place, before=lambda: None):
    """The median of five."""
    took = []
    for _ in range(5):
        before()
        began = time.perf_counter()
        place.changes.find(place.store)
        took.append(time.perf_counter() - began)
    return sorted(took)[2]
