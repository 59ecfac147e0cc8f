"""The node's queue against a model of it, in any order of steps, with ends and starts in between: nothing is lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bundle.node.queue import DiskQueue, OtherContentError, QueueFullError
from tests.fuzz.profiles import examples

UIDS, CONTENTS, CAPACITY = [f"1.2.{n}" for n in range(5)], [b"one", b"another"], 4


class Queue(RuleBasedStateMachine):
    """Steps of a node. `known` has of each key its content and where it is; `order` those that wait, as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="queue-"))
        self.known: dict[str, tuple[bytes, str, str]] = {}  # content, state, stage
        self.order: list[str] = []

    def teardown(self) -> None:
        self.queue.close()
        shutil.rmtree(self.folder)

    @initialize()
    def start(self) -> None:
        self.queue = DiskQueue(self.folder / "queue", capacity=CAPACITY, min_free=0)

    @rule(uid=st.sampled_from(UIDS), content=st.sampled_from(CONTENTS))
    def put(self, uid: str, content: bytes) -> None:
        key, file = DiskQueue.key(uid), self.folder / "offered.dcm"
        file.write_bytes(content)
        before = self.known.get(key)
        lying = sum(state != "done" for _, state, _ in self.known.values())
        if before and before[0] != content:
            with pytest.raises(OtherContentError):
                self.queue.put(key, file)
        elif before and before[1] != "refused":
            assert not self.queue.put(key, file)
        elif lying >= CAPACITY:
            with pytest.raises(QueueFullError):
                self.queue.put(key, file)
        else:
            assert self.queue.put(key, file)
            self.known[key] = content, "incoming", "incoming"
            self.order = [*(other for other in self.order if other != key), key]  # a refused one comes last again

    def oldest(self, state: str) -> str | None:
        return next((key for key in self.order if self.known[key][1] == state), None)

    @rule(files=st.integers(0, 2))
    def analyse(self, files: int) -> None:
        entry, key = self.queue.next_incoming(), self.oldest("incoming")
        assert (entry and entry.key) == key
        if key is None:
            return
        assert self.queue.file(key).read_bytes() == self.known[key][0]
        results = [self.folder / f"{n}.dcm" for n in range(files)]
        for path in results:
            path.write_bytes(b"of " + self.known[key][0])
        self.queue.finish(key, results)
        state = "results" if files else "done"
        self.known[key] = self.known[key][0], state, state
        if not files:
            self.order.remove(key)

    @rule()
    def deliver(self) -> None:
        entry, key = self.queue.next_results(), self.oldest("results")
        assert (entry and entry.key) == key
        if entry is None or key is None:
            return
        folder = self.queue.results / key
        assert {path.name for path in folder.iterdir()} == set(entry.files)
        assert all(path.read_bytes() == b"of " + self.known[key][0] for path in folder.iterdir())
        self.queue.deliver(key)
        self.known[key] = self.known[key][0], "done", "done"
        self.order.remove(key)

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key in self.order if self.known[key][1] != "refused"] or self.order))
        content, state, stage = self.known[key]
        if state != "refused":
            self.queue.refuse(key, "it cannot be looked at")
            self.known[key] = content, "refused", stage

    @rule()
    def requeue(self) -> None:
        refused = [key for key, (_, state, _) in self.known.items() if state == "refused"]
        assert self.queue.ledger.requeue() == len(refused)
        for key in refused:
            content, _, stage = self.known[key]
            self.known[key] = content, stage, stage

    @rule()
    def end_and_start(self) -> None:
        (self.queue.work / "half").write_bytes(b"what a kill left")
        (self.queue.incoming / ".nfs0001").write_bytes(b"of others")
        self.queue.close()
        self.start()

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "queue"):
            return
        wanted = dict.fromkeys(("incoming", "results", "done", "refused"), 0)
        for _, state, _ in self.known.values():
            wanted[state] += 1
        assert self.queue.counts() == wanted
        lying = {key for key, (_, state, stage) in self.known.items() if state != "done" and stage == "incoming"}
        assert {path.stem for path in self.queue.incoming.glob("*.dcm")} == lying
        assert not [path for path in self.queue.work.iterdir() if path.name != "half"]


def test_in_any_order_of_steps_no_object_is_lost() -> None:
    run_state_machine_as_test(Queue, settings=examples(25, stateful_step_count=25))
