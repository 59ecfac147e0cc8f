"""A mask and its notes are one, whatever write fails and wherever the server is killed. Run as label_modules.py is."""

import errno
import os
import sys

import nibabel
import numpy as np
import pytest
from skimage.io import imsave

from bundle.fingerprint import file_sha256
from bundle.label import datastore
from bundle.label.datastore import EXTENSIONS, FolderDatastore
from bundle.label.studies import link_radiographs
from tests.tiny import FINDINGS, write_dicom

PIXELS = np.random.default_rng(0).integers(0, 4096, (40, 30))
ROOM = {"os.rename", "os.link"}  # what a full disk may refuse, beside a file that is opened to be written


@pytest.fixture
def view(tmp_path, monkeypatch):
    monkeypatch.setattr(datastore, "drawn_entry", lambda *_: {})  # each copy of the process would start its own decoder
    (tmp_path / "studies").mkdir()
    write_dicom(tmp_path / "studies" / "a.dcm", PIXELS)
    link_radiographs(tmp_path / "studies", tmp_path / "view")
    return tmp_path / "view"


def opened(view):
    return FolderDatastore(str(view), FINDINGS, extensions=EXTENSIONS)


def submit(store, mask, name):
    store.save_label("a", str(mask), "final", {"label_info": [{"name": name, "idx": 1}]})


def pair(store):
    """The mask's hash, and what its notes say that it shows."""
    return file_sha256(store.get_label_uri("a", "final")), store.get_label_info("a", "final")["label_info"][0]["name"]


def interrupt(view, at, fault):
    """Fail, or end, before write number `at` below the folder, counted from 0."""
    seen = 0

    def hook(event, given):
        nonlocal seen
        opens = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        writes = opens or event in ROOM or (event == "os.remove" and fault is killed)
        if writes and str(view) in str(given[0]) and ".lock" not in str(given[0]):
            seen += 1
            if seen == at + 1:
                fault()

    sys.addaudithook(hook)  # for ever, so in a process of its own


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


def killed():
    os._exit(9)


def in_child(work):
    """The exit status of a copy of this process that does the work: 9 of a kill, 0 where no write was left to fail."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("fault", [full, killed])
@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_a_mask_and_its_notes_are_both_the_earlier_or_both_the_new(view, tmp_path, suffix, fault):
    first, second = tmp_path / "first.png", tmp_path / f"second{suffix}"
    imsave(first, np.eye(40, 30, dtype=np.uint8), check_contrast=False)
    pixels = np.rot90(np.eye(40, 30, dtype=np.uint8), 2)
    if suffix == ".png":
        imsave(second, pixels, check_contrast=False)
    else:
        nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(pixels.T[..., None]), np.diag([-1, -1, 1, 1])), second)
    old, new, found, at, status = (file_sha256(first), "Effusion"), (file_sha256(second), "Mass"), [], 0, 9
    while status != 0:
        store = opened(view)
        submit(store, first, "Effusion")

        def save(store=store, at=at):
            interrupt(view, at, fault)
            try:
                submit(store, second, "Mass")
            except OSError:
                return 8 if pair(store) in (old, new) else 7
            return 0

        status = in_child(save)
        assert status in (0, 8, 9), (at, status)
        store = opened(view)  # the next start
        found.append(pair(store))
        assert found[-1] in (old, new), (at, found[-1])
        assert not [file.name for file in (view / "labels" / "final").iterdir() if file.name.startswith(".")]
        at += 1
    assert found[0] == old
    assert found[-1] == new
    assert found.count(new) > 1, "no write after the one that counts was interrupted"


@pytest.mark.parametrize("fault", [full, killed])
def test_new_notes_are_there_or_the_earlier_ones(view, tmp_path, fault):
    imsave(tmp_path / "m.png", np.eye(40, 30, dtype=np.uint8), check_contrast=False)
    info = {"label_info": [{"name": "Mass", "idx": 1}]}
    status, at = 9, 0
    while status != 0:
        store = opened(view)
        submit(store, tmp_path / "m.png", "Effusion")

        def note(store=store, at=at):
            interrupt(view, at, fault)
            try:
                store.update_label_info("a", "final", info)
            except OSError:
                return 8 if pair(store)[1] == "Effusion" else 7
            return 0

        status = in_child(note)
        assert status in (0, 8, 9), (at, status)
        assert pair(opened(view))[1] in {0: ["Mass"], 8: ["Effusion"], 9: ["Mass", "Effusion"]}[status]
        at += 1
    assert at > 1


@pytest.mark.parametrize("fault", [full, killed])
def test_no_deletion_leaves_a_mask_of_which_nobody_says_what_it_shows(view, tmp_path, fault):
    imsave(tmp_path / "m.png", np.eye(40, 30, dtype=np.uint8), check_contrast=False)
    status, at = 9, 0
    while status != 0:
        store = opened(view)
        submit(store, tmp_path / "m.png", "Mass")
        (view / "labels" / "final" / "a.nii").write_bytes(b"laid here by hand")

        def remove(store=store, at=at):
            interrupt(view, at, fault)
            try:
                store.remove_label("a", "final")
            except OSError:
                return 8
            return 0

        status = in_child(remove)
        assert status in (0, 8, 9), (at, status)
        store = opened(view)
        assert not store.get_labeled_images() or pair(store)[1] == "Mass"
        at += 1
    assert at > 2


def test_an_upload_that_could_not_be_noted_may_be_sent_again(view, tmp_path):
    store, at, status = opened(view), 0, 8
    while status != 0:

        def add(at=at):
            interrupt(view, at, full)
            try:
                store.add_image("new", str(tmp_path / "studies" / "a.dcm"), {})
            except OSError:
                return 7 if (view / "new.dcm").exists() else 8
            return 0

        status = in_child(add)
        assert status in (0, 8), (at, status)
        at += 1
    assert at > 2
