"""The node's two threads: what is put aside, what waits, and that they go on whatever happens."""

import errno
import logging
import sqlite3

import pytest

from bundle.node.queue import DiskQueue
from bundle.node.sender import NotDeliveredError, RefusedError, UnreachableError
from bundle.node.service import Node
from tests.orthanc import wait_for


class Pacs:
    """Takes results as told: a list of what to raise, per call, then nothing."""

    def __init__(self, *faults):
        self.faults, self.got, self.calls = list(faults), [], 0

    def send(self, files):
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        self.got += [file.read_text() for file in files]


def analyse(file, folder):
    name = file.read_text()
    if name == "bad":
        raise ValueError("it is colour")
    (folder / "result").write_text(name)
    return [folder / "result"]


def looks_past_hands(file, folder):
    return [] if file.read_text() == "hand" else analyse(file, folder)


@pytest.fixture
def queue(tmp_path):
    queue = DiskQueue(tmp_path / "queue")
    yield queue
    queue.close()


def reasons(queue):
    return {entry.key: entry.reason for entry in queue.ledger.refused()}


def run(queue, pacs, names, tmp_path, until, analyse=analyse):
    for name in names:
        (tmp_path / name).write_text(name)
        queue.put(name, tmp_path / name)
    node = Node(queue, analyse, pacs, first_wait=0.05, longest_wait=0.2, idle=0.01)
    node.start()
    try:
        wait_for(until, 30)
    finally:
        node.stop()


def test_one_that_cannot_be_looked_at_is_put_aside_with_the_reason(queue, tmp_path, caplog):
    pacs = Pacs()
    run(queue, pacs, ["a", "bad", "b"], tmp_path, lambda: len(pacs.got) == 2 and queue.counts()["refused"])
    assert pacs.got == ["a", "b"]
    assert reasons(queue) == {"bad": "ValueError: it is colour"}
    assert queue.file("bad").read_text() == "bad"


@pytest.mark.parametrize("times", [4, 5])
def test_a_network_that_fails_is_tried_five_times_and_quoted_nowhere(queue, tmp_path, caplog, times):
    failing = [RuntimeError("Secret^Name")] * times

    def failing_at_first(file, folder):
        if failing and file.read_text() == "a":
            raise failing.pop()
        return analyse(file, folder)

    pacs = Pacs()
    run(queue, pacs, ["a", "b"], tmp_path, lambda: len(pacs.got) + queue.counts()["refused"] == 2, failing_at_first)
    assert pacs.got == (["b", "a"] if times == 4 else ["b"])  # the next one does not wait for it
    assert reasons(queue) == ({} if times == 4 else {"a": "RuntimeError, 5 times; see the node's log"})
    assert "RuntimeError" in caplog.text
    assert "failing_at_first" in caplog.text  # where
    assert "Secret" not in caplog.text


def test_one_of_which_nothing_is_said_is_done_and_the_pacs_hears_nothing(queue, tmp_path):
    pacs = Pacs()
    run(queue, pacs, ["a", "hand", "b"], tmp_path, lambda: queue.counts()["done"] == 3, looks_past_hands)
    assert pacs.got == ["a", "b"]
    assert pacs.calls == 2
    assert queue.counts() == {"incoming": 0, "results": 0, "done": 3, "refused": 0}


def test_results_wait_for_a_pacs_that_is_away_in_their_order(queue, tmp_path):
    pacs = Pacs(UnreachableError("down"), UnreachableError("down"), UnreachableError("down"))
    run(queue, pacs, ["a", "b"], tmp_path, lambda: len(pacs.got) == 2)
    assert pacs.got == ["a", "b"]
    assert pacs.calls == 5


def test_one_that_is_not_taken_now_keeps_no_other_from_it(queue, tmp_path):
    pacs = Pacs(NotDeliveredError("no room"))
    run(queue, pacs, ["a", "b"], tmp_path, lambda: len(pacs.got) == 2)
    assert sorted(pacs.got) == ["a", "b"]


def test_refused_results_are_kept(queue, tmp_path, caplog):
    pacs = Pacs(RefusedError("it does not take SR"))
    run(queue, pacs, ["a", "b"], tmp_path, lambda: pacs.got == ["b"] and queue.counts()["refused"])
    assert (queue.results / "a" / "result").read_text() == "a"
    assert reasons(queue) == {"a": "it does not take SR"}


@pytest.mark.parametrize("fault", [KeyError("of ours"), OSError(errno.ENOSPC, "disk full")], ids=["ours", "disk"])
def test_a_fault_of_ours_stops_neither_thread(queue, tmp_path, caplog, fault):
    faults = [fault]

    def full_at_first(file, folder):
        if isinstance(fault, OSError) and faults:
            raise faults.pop()
        return analyse(file, folder)

    pacs = Pacs(*([] if isinstance(fault, OSError) else [fault, fault]))
    run(queue, pacs, ["a", "b"], tmp_path, lambda: len(pacs.got) == 2, full_at_first)
    assert sorted(pacs.got) == ["a", "b"]
    assert "it tries again" in caplog.text
    assert queue.counts()["refused"] == 0


def test_results_over_which_the_sender_fails_are_put_aside_and_the_next_go_on(queue, tmp_path, caplog):
    fault = KeyError("Secret^Name")

    class Poisoned(Pacs):
        def send(self, files):
            if files[0].read_text() == "a":
                raise fault
            super().send(files)

    pacs = Poisoned()
    run(queue, pacs, ["a", "b"], tmp_path, lambda: pacs.got and queue.counts()["refused"])
    assert pacs.got == ["b"]
    assert reasons(queue) == {"a": "KeyError, 5 times; see the node's log"}
    assert "Secret" not in caplog.text


def test_an_object_over_which_the_process_ends_is_put_aside(queue, tmp_path):
    (tmp_path / "a").write_text("a")
    queue.put("a", tmp_path / "a")
    queue.ledger.wait("a", 0.0, 5)  # and then the kill
    pacs = Pacs()
    run(queue, pacs, ["b"], tmp_path, lambda: pacs.got)
    assert reasons(queue) == {"a": "the node has ended 5 times in the middle of it"}
    queue.ledger.requeue()
    run(queue, pacs, [], tmp_path, lambda: len(pacs.got) == 2)


def test_a_queue_that_is_damaged_ends_the_node_and_blames_no_object(queue, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.CRITICAL)

    def damaged(*_):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(queue.ledger, "results", damaged)
    (tmp_path / "a").write_text("a")
    queue.put("a", tmp_path / "a")
    node = Node(queue, analyse, Pacs(), idle=0.01)
    node.start()
    assert node.watch.over.wait(30)
    node.stop()
    assert "the thread _analyse_next has failed: DatabaseError" in node.watch.fault
    assert node.watch.fault in caplog.text
    assert queue.counts()["refused"] == 0


def test_a_thread_that_dies_ends_the_node(queue, tmp_path):
    def dying(file, folder):
        raise SystemExit

    (tmp_path / "a").write_text("a")
    queue.put("a", tmp_path / "a")
    node = Node(queue, dying, Pacs(), idle=0.01)
    node.start()
    assert node.watch.over.wait(30)
    node.stop()
    assert "the thread _analyse_next has failed: SystemExit" in node.watch.fault


def test_at_least_one_try(queue):
    with pytest.raises(ValueError, match="tries must be at least 1, got 0"):
        Node(queue, analyse, None, tries=0)
