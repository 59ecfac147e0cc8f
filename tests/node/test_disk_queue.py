"""The node's queue: states, duplicates, bounds, and what a kill between two steps leaves."""

import json
import shutil

import pytest

from bundle.node.queue import DiskQueue, QueueFullError, QueueInUseError


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
    return {str(path.relative_to(queue.folder)) for path in queue.folder.rglob("*") if path.is_file()} - {"lock"}


def test_an_object_goes_its_way(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    key = queue.key("1.2.3")
    assert "1.2.3" not in key
    assert queue.put(key, image)
    assert queue.next_incoming().read_bytes() == b"pixels"
    assert queue.next_results() is None
    queue.finish(key, [result])
    assert names(queue) == {f"results/{key}/sr.dcm"}
    assert queue.next_incoming() is None
    queue.deliver(key)
    assert names(queue) == {f"done/{key}"}
    assert queue.counts() == {"incoming": 0, "results": 0, "done": 1, "refused": 0}


def test_an_object_without_results_is_done(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")
    assert queue.put("a", image)
    queue.finish("a", [])
    assert names(queue) == {"done/a"}
    assert queue.next_results() is None
    assert not queue.put("a", image)  # known


def test_duplicates_change_nothing(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    assert queue.put("a", image)
    for step in (lambda: None, lambda: queue.finish("a", [result]), lambda: queue.deliver("a")):
        step()
        before = names(queue)
        assert not queue.put("a", image)
        assert names(queue) == before


def test_the_oldest_comes_first(tmp_path, image):
    queue = DiskQueue(tmp_path / "queue")
    for key in "cab":
        queue.put(key, image)
    order = []
    while (file := queue.next_incoming()) is not None:
        order.append(file.stem)
        queue.finish(file.stem, [])
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


def test_marks_are_bounded(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue", remember=2)
    for count, key in enumerate("abc", start=1):
        queue.put(key, image)
        queue.finish(key, [result])
        queue.deliver(key)
        assert queue.counts()["done"] == min(count, 2)
    assert names(queue) == {"done/b", "done/c"}
    assert queue.put("a", image)


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


def test_an_object_that_came_twice_at_once_goes_its_way(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    queue.put("a", image)
    queue.finish("a", [result])
    shutil.copyfile(image, queue.incoming / "a.dcm")  # as if both had been taken in before either was looked at
    queue.finish("a", [result])
    assert names(queue) == {"results/a/sr.dcm"}


def test_refused_objects_are_kept_with_the_reason_and_can_come_again(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    queue.put("a", image)
    queue.refuse("a", "colour")
    assert names(queue) == {"refused/a.dcm", "refused/a.json"}
    assert json.loads((queue.refused / "a.json").read_text()) == {"reason": "colour"}
    assert queue.put("a", image)
    queue.finish("a", [result])
    queue.refuse("a", "the PACS does not take it")
    assert names(queue) == {"refused/a.json", "refused/a/sr.dcm"}
    assert queue.put("a", image)
    assert names(queue) == {"incoming/a.dcm"}


def test_a_kill_between_two_steps_loses_nothing(tmp_path, image, result):
    queue = DiskQueue(tmp_path / "queue")
    # a: results are there, the object not yet removed; b: delivered, results not yet removed;
    # c and d: put aside, reason not yet written; e, f: half-written
    for key in "abcd":
        queue.put(key, image)
    for key in "abd":
        queue.finish(key, [result])
    queue.put("x", image)
    (queue.incoming / "x.dcm").rename(queue.incoming / "a.dcm")
    (queue.done / "b").touch()
    (queue.incoming / "c.dcm").rename(queue.refused / "c.dcm")
    (queue.results / "d").rename(queue.refused / "d")
    (queue.work / "e").write_bytes(b"pix")
    (queue.work / "f").mkdir()
    (queue.work / "f" / "sr.dcm").write_bytes(b"find")
    queue.close()

    again = DiskQueue(tmp_path / "queue")
    assert names(again) == {"results/a/sr.dcm", "done/b", "incoming/c.dcm", "results/d/sr.dcm"}
