"""The node's queue: states, duplicates, bounds, what a kill between two steps leaves, and folders of older releases."""

import json
import os
import shutil
import sqlite3
import threading
from collections import namedtuple

import pytest

from bundle.node import ledger, queue
from bundle.node.desk import Desk
from bundle.node.ledger import Entry, Ledger, LedgerError
from bundle.node.queue import DiskQueue, OtherContentError, QueueFullError, QueueInUseError
from tests.node.marks import put_marks

A, B, C, D = (letter * 32 for letter in "abcd")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(b"pixels")
    return path


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "sr.dcm"
    path.write_bytes(b"findings")
    return path


def names(queue):
    found = {str(path.relative_to(queue.folder)) for path in queue.folder.rglob("*") if path.is_file()}
    return {name for name in found if name != "lock" and not name.startswith("queue.db")}


def state(queue, key):
    found = queue.ledger.find(key)
    return found and found.state


def test_an_object_goes_its_way(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    key = queue.key("1.2.3")
    assert "1.2.3" not in key
    assert queue.put(key, image)
    assert queue.next_incoming().key == key
    assert queue.file(key).read_bytes() == b"pixels"
    assert queue.next_results() is None
    queue.finish(key, [result])
    assert names(queue) == {f"results/{key}/sr.dcm"}
    assert queue.next_incoming() is None
    assert queue.next_results().files == ("sr.dcm",)
    queue.deliver(key)
    assert names(queue) == set()
    assert queue.counts() == {"incoming": 0, "results": 0, "done": 1, "refused": 0}


def test_an_object_without_results_is_done(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")
    assert queue.put("a", image)
    queue.finish("a", [])
    assert names(queue) == set()
    assert queue.counts()["done"] == 1
    assert queue.next_results() is None
    assert not queue.put("a", image)  # known


def test_duplicates_change_nothing(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    assert queue.put("a", image)
    for step in (lambda: None, lambda: queue.finish("a", [result]), lambda: queue.deliver("a")):
        step()
        before = names(queue), queue.counts()
        assert not queue.put("a", image)
        assert (names(queue), queue.counts()) == before


def test_other_content_under_a_known_uid_is_not_taken_for_a_duplicate(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    other = tmp_path / "other"
    other.write_bytes(b"Pixels")
    queue.put("a", image)
    steps = (lambda: queue.finish("a", [result]), lambda: queue.refuse("a", "no"), queue.ledger.requeue)
    for step in (lambda: None, *steps, lambda: queue.deliver("a")):
        step()
        before = names(queue), queue.counts()
        with pytest.raises(OtherContentError, match="other content"):
            queue.put("a", other)
        assert (names(queue), queue.counts()) == before


def test_the_oldest_comes_first(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")
    for key in "cab":
        queue.put(key, image)
    order = []
    while (entry := queue.next_incoming()) is not None:
        order.append(entry.key)
        queue.finish(entry.key, [])
    assert order == ["c", "a", "b"]


def test_it_is_bounded_and_says_so(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue", capacity=3)
    for key in "abc":
        queue.put(key, image)
    queue.finish("a", [result])
    queue.refuse("b", "colour")
    with pytest.raises(QueueFullError, match="3 objects lie here, 1 of them refused; the queue takes 3"):
        queue.put("d", image)
    queue.deliver("a")
    assert queue.put("d", image)
    assert not list(queue.work.iterdir())
    with pytest.raises(ValueError, match="capacity"):
        DiskQueue(tmp_path / "queue", capacity=0)


def test_bytes_are_bounded_too(tmp_path, image, result, monkeypatch):
    waiting = DiskQueue(tmp_path / "queue", max_bytes=15, min_free=1000)
    waiting.put("a", image)
    waiting.put("b", image)
    with pytest.raises(QueueFullError, match="12 bytes lie here; the queue takes 15"):
        waiting.put("c", image)
    waiting.finish("a", [])
    assert waiting.put("c", image)
    disk = namedtuple("disk", "free")
    monkeypatch.setattr(queue.shutil, "disk_usage", lambda path: disk(1002))
    waiting.finish("b", [])
    with pytest.raises(QueueFullError, match="1002 bytes free on the disk; the queue leaves 1000"):
        waiting.put("d", image)


def test_marks_are_bounded(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue", remember=2)
    for count, key in enumerate("abc", start=1):
        queue.put(key, image)
        queue.finish(key, [result])
        queue.deliver(key)
        assert queue.counts()["done"] == min(count, 2)
    assert [state(queue, key) for key in "abc"] == [None, "done", "done"]
    assert queue.put("a", image)


def test_marks_are_forgotten_by_age_a_few_at_a_time(tmp_path, image, monkeypatch):
    queue = DiskQueue(tmp_path / "queue", remember_days=10)
    monkeypatch.setattr(ledger.time, "time", lambda: 0.0)
    put_marks(queue, 150)
    monkeypatch.setattr(ledger.time, "time", lambda: 11 * 86_400.0)
    for left in (51, 2, 3):
        key = f"new{left}"
        queue.put(key, image)
        queue.finish(key, [])
        assert queue.counts()["done"] == left


def test_one_process_at_a_time(tmp_path):
    queue = DiskQueue(tmp_path / "queue")
    with pytest.raises(QueueInUseError, match="another node works in this queue"):
        DiskQueue(tmp_path / "queue")
    queue.close()
    DiskQueue(tmp_path / "queue")


def test_a_disk_that_fails_leaves_nothing_half_done(tmp_path, image, result, monkeypatch):
    queue = DiskQueue(tmp_path / "queue")
    queue.put("a", image)
    before = names(queue)
    with pytest.raises(OSError, match="missing"):
        queue.finish("a", [result, tmp_path / "missing"])
    with pytest.raises(OSError, match="missing"):
        queue.put("b", tmp_path / "missing")
    assert names(queue) == before
    queue.finish("a", [result])
    assert names(queue) == {"results/a/sr.dcm"}


def test_a_database_that_fails_takes_nothing_in_and_goes_on(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")

    def no_commit(action, argument, *_):
        denied = action == sqlite3.SQLITE_TRANSACTION and argument == "COMMIT"
        return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK

    queue.ledger._db.set_authorizer(no_commit)
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            queue.put("a", image)
    queue.ledger._db.set_authorizer(None)
    assert queue.counts()["incoming"] == 0
    assert queue.put("a", image)


def test_refused_objects_are_kept_with_the_reason_and_can_come_again(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    queue.put("a", image)
    queue.refuse("a", "colour")
    assert names(queue) == {"incoming/a.dcm"}
    assert [(entry.key, entry.reason) for entry in queue.ledger.refused()] == [("a", "colour")]
    assert queue.next_incoming() is None
    assert queue.put("a", image)
    queue.finish("a", [result])
    queue.refuse("a", "the PACS does not take it")
    assert names(queue) == {"results/a/sr.dcm"}
    assert queue.next_results() is None
    assert queue.put("a", image)
    assert names(queue) == {"incoming/a.dcm"}
    assert state(queue, "a") == "incoming"


def test_what_was_put_aside_is_listed_put_back_and_removed_while_the_node_works(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    keys = [queue.key(f"1.2.{i}") for i in range(3)]
    for key in keys:
        queue.put(key, image)
        queue.refuse(key, "colour")
    desk = Desk(tmp_path / "queue")
    assert [(entry.key, entry.reason) for entry in desk.refused()] == [(key, "colour") for key in keys]
    assert desk.requeue(["1.2.1", "1.2.99"]) == 1
    assert queue.next_incoming().key == keys[1]
    assert desk.discard([keys[0], keys[1]]) == 1  # the other one waits
    assert names(queue) == {f"incoming/{keys[1]}.dcm", f"incoming/{keys[2]}.dcm"}
    assert desk.requeue() == 1
    assert queue.counts() == {"incoming": 2, "results": 0, "done": 0, "refused": 0}
    queue.finish(keys[1], [result])
    queue.refuse(keys[1], "the PACS does not take it")
    assert desk.requeue() == 1
    assert queue.next_results().key == keys[1]
    with pytest.raises(LedgerError, match=r"queue\.db is missing: give the folder of a queue"):
        Desk(tmp_path)


def test_files_of_others_are_left_alone_and_stop_nothing(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    others = [".nfs0001", ".DS_Store", "notes.txt", "sub/notes.txt"]
    queue.put(A, image)
    places = ["incoming", "results", f"results/{A}"]
    for place in places:
        for name in others:
            path = queue.folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a colleague's")
    queue.close()
    queue = DiskQueue(tmp_path / "queue")
    assert queue.next_incoming().key == A
    queue.finish(A, [result])
    assert queue.next_incoming() is None
    assert queue.next_results().files == ("sr.dcm",)
    queue.deliver(A)
    assert queue.next_results() is None
    queue.close()
    queue = DiskQueue(tmp_path / "queue")
    assert queue.counts() == {"incoming": 0, "results": 0, "done": 1, "refused": 0}
    assert names(queue) == {f"{place}/{name}" for place in places for name in others}


def test_a_kill_between_two_steps_loses_nothing(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    # a: results are there, the object not yet removed; b: delivered, results not yet removed;
    # c: taken in, not yet written down; d: results half there, not yet written down; e, f: half-written
    for key in (A, B, D):
        queue.put(key, image)
    for key in (A, B):
        queue.finish(key, [result])
    shutil.copyfile(image, queue.file(A))
    queue.ledger.done(B, 10, 10.0)
    shutil.copyfile(image, queue.file(C))
    (queue.results / D).mkdir()
    shutil.copyfile(result, queue.results / D / "other.dcm")
    (queue.work / "e").write_bytes(b"pix")
    (queue.work / "f").mkdir()
    (queue.work / "f" / "sr.dcm").write_bytes(b"find")
    queue.close()

    again = DiskQueue(tmp_path / "queue")
    kept = {f"results/{A}/sr.dcm", f"incoming/{C}.dcm", f"incoming/{D}.dcm"}
    assert names(again) - {f"results/{D}/other.dcm"} == kept
    assert [state(again, key) for key in (A, B, C, D)] == ["results", "done", "incoming", "incoming"]
    assert not again.put(C, image)  # its sender had no answer, and comes again
    again.finish(D, [result])
    assert again.ledger.find(D).files == ("sr.dcm",)


def test_an_object_whose_files_are_gone_is_put_aside_and_can_come_again(tmp_path, image, caplog):
    queue = DiskQueue(tmp_path / "queue")
    queue.put(A, image)
    queue.file(A).unlink()
    queue.close()
    again = DiskQueue(tmp_path / "queue")
    (entry,) = again.ledger.refused()
    assert entry.reason == "its files are gone from the queue's folder; send it again"
    assert "gone" in caplog.text
    assert again.put(A, image)


def test_a_folder_of_an_older_release_is_taken_over(tmp_path, image, result):
    folder = tmp_path / "queue"
    for name in ("incoming", f"results/{B}", "done", f"refused/{D}", "work"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(image, folder / "incoming" / f"{A}.dcm")
    shutil.copyfile(result, folder / "results" / B / "sr.dcm")
    (folder / "done" / ("e" * 32)).touch()
    shutil.copyfile(image, folder / "refused" / f"{C}.dcm")
    (folder / "refused" / f"{C}.json").write_text(json.dumps({"reason": "colour"}))
    shutil.copyfile(result, folder / "refused" / D / "sr.dcm")
    (folder / "refused" / f"{D}.json").write_text(json.dumps({"reason": "the PACS does not take it"}))
    queue = DiskQueue(folder)
    assert queue.counts() == {"incoming": 1, "results": 1, "done": 0, "refused": 2}
    assert [(e.key, e.stage, e.reason) for e in queue.ledger.refused()] == [
        (C, "incoming", "colour"),
        (D, "results", "the PACS does not take it"),
    ]
    assert names(queue) == {*(f"incoming/{A}.dcm", f"incoming/{C}.dcm", f"results/{B}/sr.dcm", f"results/{D}/sr.dcm")}
    assert not queue.put(A, image)
    with pytest.raises(OtherContentError):  # of results alone the content is not known
        queue.put(B, image)
    queue.deliver(B)
    assert queue.put(B, image)
    assert queue.ledger.requeue() == 2
    assert not (folder / "done").exists()
    assert not (folder / "refused").exists()


def test_a_ledger_of_a_later_release_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "queue.db")
    ledger._db.execute("PRAGMA user_version = 99")
    ledger.close()
    with pytest.raises(LedgerError, match="has version 99, wanted 1: run the release that made it"):
        Ledger(tmp_path / "queue.db")


def test_a_damaged_ledger_is_refused_and_without_it_every_object_waits_again(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    for key in (A, B, C):
        queue.put(key, image)
    queue.finish(B, [result])
    queue.refuse(C, "colour")
    queue.close()
    (queue.folder / "queue.db").write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"queue\.db can't be used \(file is not a database\)\. If it is damaged"):
            DiskQueue(tmp_path / "queue")
    (queue.folder / "queue.db").unlink()
    assert DiskQueue(tmp_path / "queue").counts() == {"incoming": 2, "results": 1, "done": 0, "refused": 0}


def test_threads_and_processes_work_in_it_beside_one_another(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")
    taken = []

    def offer():
        for i in range(10):
            taken.append(queue.put(f"{i}", image))

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    desk = Ledger(queue.folder / "queue.db")  # as another process has it
    for _ in range(5):
        desk.add(Entry(f"{os.getpid()}-{_}", "refused", "incoming", "x"))
    for thread in threads:
        thread.join()
    assert sum(taken) == 10
    assert queue.counts() == {"incoming": 10, "results": 0, "done": 0, "refused": 5}
