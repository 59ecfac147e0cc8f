"""Of the modules that import MONAI Label: test_label_modules.py runs these in .venv-label."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from filelock import FileLock
from skimage.io import imsave

from bundle.label.datastore import EXTENSIONS, FolderDatastore
from bundle.label.refusal import ArchiveError, RefusedError
from bundle.label.studies import link_radiographs
from bundle.label.train import RadiographTrainTask
from bundle.label.uncertainty import UncertaintyStrategy
from bundle.reading.options import ReadingOptions
from bundle.reading.radiograph import RadiographError, read_radiograph
from tests.tiny import FINDINGS, write_dicom

PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 30))


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    write_dicom(folder / "a.dcm", PIXELS)
    write_dicom(folder / "b.dcm", PIXELS)
    return folder


@pytest.fixture
def store(studies, tmp_path):
    link_radiographs(studies, tmp_path / "view")
    return FolderDatastore(str(tmp_path / "view"), FINDINGS, extensions=EXTENSIONS)


def draw(store, tmp_path, suffix=".png", image="a"):
    imsave(tmp_path / "m.png", np.eye(40, 30, dtype=np.uint8), check_contrast=False)
    path = tmp_path / f"mask{suffix}"
    if suffix == ".png":
        shutil.copy(tmp_path / "m.png", path)
    else:
        import itk

        itk.imwrite(itk.imread(str(tmp_path / "m.png")), str(path))
    return store.save_label(image, str(path), "final", {"label_info": [{"name": "Mass", "idx": 1}]})


def test_uploads_are_read_with_the_options_of_the_bundle(studies, tmp_path):
    write_dicom(tmp_path / "one.dcm", PIXELS, WindowCenter=2048, WindowWidth=4096)
    store = FolderDatastore(str(studies), FINDINGS, ReadingOptions(voi_index=1), extensions=EXTENSIONS)
    with pytest.raises(RadiographError, match="reading#voi_index is 1"):
        store.add_image("one", str(tmp_path / "one.dcm"), {})


def test_a_name_that_a_link_has_is_taken_even_if_it_leads_nowhere(store, studies, tmp_path):
    secret = tmp_path / "secret.dcm"
    (tmp_path / "view" / "c.dcm").symlink_to(secret)
    with pytest.raises(RefusedError, match="never replaced") as refused:
        store.add_image("c", str(studies / "a.dcm"), {})
    assert refused.value.status == 409
    assert not secret.exists()
    assert not [path for path in (tmp_path / "view").iterdir() if path.name.startswith(".") and path.name != ".lock"]


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_was_swapped_after_the_listing_is_not_followed(studies, tmp_path, swapped):
    (studies / "ward").mkdir()
    write_dicom(studies / "ward" / "c.dcm", PIXELS)
    (studies / "within.dcm").symlink_to(studies / "a.dcm")
    link_radiographs(studies, tmp_path / "view")
    store = FolderDatastore(str(tmp_path / "view"), FINDINGS, studies=studies, extensions=EXTENSIONS)
    assert read_radiograph(store.get_image_uri("ward__c"))
    place = studies / "ward" / "c.dcm" if swapped == "file" else studies / "ward"
    place.rename(tmp_path / place.name)
    place.symlink_to(tmp_path / place.name)
    for ask in (lambda: store.get_image_uri("ward__c"), lambda: draw(store, tmp_path, image="ward__c")):
        with pytest.raises(RefusedError, match="leads out of the studies") as refused:
            ask()
        assert refused.value.status == 403
    assert read_radiograph(store.get_image_uri("within"))


def test_links_get_their_old_names_when_files_come_back_one_by_one(store, studies, tmp_path):
    write_dicom(studies / "z.dcm", PIXELS + 1)
    view = tmp_path / "view"
    imsave(studies / "z.png", PIXELS.astype(np.uint16), check_contrast=False)
    link_radiographs(studies, view)
    store.refresh()
    assert (view / "z~2.png").is_symlink()
    draw(store, tmp_path, image="z")
    draw(store, tmp_path, image="z~2")
    (studies / "z.dcm").rename(tmp_path / "z.dcm")
    link_radiographs(studies, view, store.drawn_on())
    store.refresh()
    assert store.list_images() == ["a", "b", "z~2"]
    assert store.get_labeled_images() == ["z~2"]
    again = FolderDatastore(str(view), FINDINGS, extensions=EXTENSIONS)  # a new start
    assert again.get_label_info("z", "final")["label_info"]
    (tmp_path / "z.dcm").rename(studies / "z.dcm")
    link_radiographs(studies, view, again.drawn_on())
    again.refresh()
    assert again.get_labeled_images() == ["z", "z~2"]
    assert (view / "z.dcm").readlink() == studies / "z.dcm"


def test_a_mask_of_another_format_takes_the_place_of_the_earlier_one(store, tmp_path):
    draw(store, tmp_path)
    draw(store, tmp_path, ".nrrd")
    folder = tmp_path / "view" / "labels" / "final"
    assert [path.name for path in folder.iterdir()] == ["a.nrrd"]
    store.refresh()
    assert store.get_label_info("a", "final")["label_info"]
    store.remove_label("a", "final")
    assert not list(folder.iterdir())
    assert store.status()["completed"] == 0


def test_a_mask_that_was_only_found_has_no_notes(store, tmp_path):
    draw(store, tmp_path)
    shutil.copy(tmp_path / "view/labels/final/a.png", tmp_path / "view/labels/final/b.png")
    store.refresh()
    assert store.get_labeled_images() == ["a", "b"]
    assert "label_info" not in store.get_label_info("b", "final")


def test_threads_that_refresh_and_read_at_once_disturb_nobody(store, tmp_path):
    stop = threading.Event()

    def come_and_go(number):
        file = tmp_path / "view" / f"new{number}.dcm"
        for _ in range(40):
            shutil.copy(tmp_path / "studies/a.dcm", file)
            store.refresh()
            file.unlink()
            store.refresh()

    def read():
        while not stop.is_set():
            store.get_unlabeled_images()
            store.status()

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writers = [pool.submit(come_and_go, number) for number in range(2)]
        try:
            for each in writers:
                each.result()
        finally:
            stop.set()
        for each in readers:
            each.result()
    assert store.list_images() == ["a", "b"]
    assert not hasattr(store, "_observer")


class Unlabelled:
    def get_unlabeled_images(self):
        return ["a", "b"]

    def get_image_info(self, image):
        return {}


def test_what_is_not_assessed_is_not_proposed(store, studies, tmp_path):
    class Two(Unlabelled):
        pass

    seen = {"a": [], "b": [{"score": 0.5}]}
    assert UncertaintyStrategy(seen.get, lambda: 1)({}, Two()) == {"id": "b", "weight": 1.0}
    assert UncertaintyStrategy(lambda image: [], lambda: 1)({}, Two()) is None


def test_a_label_on_what_is_no_frontal_chest_is_refused(store, studies, tmp_path):
    write_dicom(studies / "a.dcm", PIXELS, BodyPartExamined="HAND")
    with pytest.raises(RefusedError, match="states HAND, not the chest") as refused:
        draw(store, tmp_path)
    assert refused.value.status == 422


def strategy(outcomes):
    looked = []

    def look(image):
        looked.append(image)
        outcome = outcomes[image].pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return [{"score": outcome}]

    return UncertaintyStrategy(look, lambda: 1), looked


def test_next_sample_looks_again_at_what_failed_for_a_moment(tmp_path):
    ask, looked = strategy({"a": [OSError("the archive is away"), 0.5], "b": [0.1]})
    assert ask({"strategy": "x"}, Unlabelled())["id"] == "b"
    assert ask({"strategy": "x"}, Unlabelled())["id"] == "a"
    assert looked == ["a", "b", "a"]


def test_next_sample_says_so_when_all_fail_and_not_again_what_is_unreadable(tmp_path):
    (tmp_path / "text.dcm").write_text("text")
    with pytest.raises(RadiographError) as unreadable:
        read_radiograph(tmp_path / "text.dcm")
    ask, looked = strategy({"a": [unreadable.value], "b": [OSError("away"), RefusedError(422, "too large")]})
    with pytest.raises(OSError, match="away"):
        ask({"strategy": "x"}, Unlabelled())
    assert ask({"strategy": "x"}, Unlabelled()) is None
    assert ask({"strategy": "x"}, Unlabelled()) is None
    assert looked == ["a", "b", "b"]


def test_next_sample_waits_for_a_silent_archive_once():
    ask, looked = strategy({"a": [ArchiveError("silent"), 0.2], "b": [0.5]})
    with pytest.raises(ArchiveError):
        ask({"strategy": "x"}, Unlabelled())
    assert looked == ["a"]
    assert ask({"strategy": "x"}, Unlabelled())["id"] == "b"


def test_two_trainings_never_share_a_folder(store, tmp_path):
    task = RadiographTrainTask(tmp_path / "model", tmp_path / "model.pt", tmp_path / "training", None)
    (tmp_path / "training").mkdir()
    with FileLock(tmp_path / "training" / ".lock"), pytest.raises(ValueError, match="Another training runs"):
        task({}, store)
