"""A soak of the node between modalities and Orthanc, on loopback; a short one of the same code is in the gate.

python -m tests.node.soak --objects 2000 --minutes 15 --kills 6

Radiographs come evenly over most of the time, from four modalities that offer each again until they have an answer.
Meanwhile the node is killed (SIGKILL) again and again, and Orthanc stops for an eighth of it. Good ones
come twice now and then, or once more with other content under their UID; of the others some can't be read, over some
the analyser fails, and some end the node's process. In the end every good one's result must have come to Orthanc once,
of the first content, every bad one must be refused or put aside with its reason, and the memory of the node must have
stayed where it was once it had warmed up.
"""

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from bundle.node.desk import Desk
from bundle.node.queue import DiskQueue
from bundle.node.receiver import CANNOT_UNDERSTAND
from bundle.node.sender import DUPLICATE, SUCCESS
from tests.node.node_process import ENDED, REASONS, Process, labelled
from tests.node.small_node import negative, result_uid
from tests.orthanc import Orthanc, running_orthanc, wait_for
from tests.tiny import write_dicom

logger = logging.getLogger(__name__)

# of a hundred objects; the rest is good
KINDS = {"again": 10, "other content": 5, "poison": 5, "colour": 5, "unreadable": 5}
ENDING = 500  # of as many objects, the process ends over one, five times
SIDE = 256
WARM = 0.25  # of the time between two kills, which the memory may take to settle
FLAT_MB = 50


class Memory(threading.Thread):
    """The node's resident memory in MB every .1 s, by the number of its process, with the time."""

    def __init__(self, number: Path) -> None:
        super().__init__(daemon=True)
        self.number, self.over, self.seen = number, threading.Event(), {}

    def run(self) -> None:
        while not self.over.wait(0.1):
            with contextlib.suppress(FileNotFoundError, IndexError):  # it is being killed
                pid = self.number.read_text()
                resident = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]
                self.seen.setdefault(pid, []).append((time.monotonic(), int(resident) / 1024))

    def settled(self) -> list[float]:
        """All that was seen of processes that lived for ten looks at least, without their first quarters."""
        lives = [life for life in self.seen.values() if len(life) >= 10]
        return [size for life in lives for _, size in life[int(WARM * len(life)) :]]


class Modalities:
    """Four at once; `outcome` counts, `good` has the first content of each good one, `bad` the label of each other."""

    def __init__(self, node: Process, file: Path, seed: int) -> None:
        self.node, self.file, self.seed = node, file, seed
        self.good: dict[str, bytes] = {}
        self.bad: dict[str, str] = {}
        self.outcome: Counter[str] = Counter()
        self.lock = threading.Lock()

    def send(self, kinds: list[str], seconds: float) -> None:
        """All, evenly over some seconds."""
        begin, pace = time.monotonic(), seconds / len(kinds)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda i: self._one(i, kinds[i], begin + i * pace), range(len(kinds))))

    def _one(self, number: int, kind: str, when: float) -> None:
        time.sleep(max(0.0, when - time.monotonic()))
        own, pixels = dcmread(self.file), np.random.default_rng([self.seed, number])
        own.PixelData = pixels.integers(0, 4096, (SIDE, SIDE)).astype("<u2").tobytes()
        uid = labelled(own, kind if kind in REASONS else "good")
        if kind == "unreadable":
            own.Rows = 10 * SIDE
            self._offer(own, CANNOT_UNDERSTAND)
        else:
            self._offer(own, SUCCESS)
        with self.lock:
            self.outcome[kind] += 1
            if kind in ("good", "again", "other content"):
                self.good[uid] = own.PixelData
            elif kind != "unreadable":
                self.bad[uid] = kind
        if kind == "again":
            self._offer(own, SUCCESS)
        elif kind == "other content":
            own.PixelData = own.PixelData[::-1]
            self._offer(own, DUPLICATE)

    def _offer(self, dataset: Dataset, wanted: int) -> None:
        """Until there is an answer."""
        while (status := self.node.store(dataset)) is None:
            with self.lock:
                self.outcome["offered again"] += 1
            time.sleep(0.05)
        assert status == wanted, f"{dataset.SeriesDescription}: {status:04X}, wanted {wanted:04X}"


def soak(
    folder: Path, objects: int, minutes: float, kills: int, seed: int = 0, coming: float = 0.8
) -> dict[str, object]:
    """Run it.

    Args:
        folder: for queue, archive and log.
        objects: radiographs, duplicates not counted.
        minutes: in which it must be over, without the starts of node and Orthanc.
        kills: of the node.
        seed: of what comes when.
        coming: the part of the time over which they come.

    Returns:
        What came and what became of it.

    Raises:
        AssertionError: something was lost, or came twice, or without a reason, or the memory grew.
    """
    chance = random.Random(seed)
    kinds = [kind for kind, share in KINDS.items() for _ in range(objects * share // 100)]
    kinds += ["exit"] * -(-objects // ENDING)
    kinds += ["good"] * (objects - len(kinds))
    chance.shuffle(kinds)
    file = write_dicom(
        folder / "radiograph.dcm", np.zeros((SIDE, SIDE)), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4"
    )
    with running_orthanc(folder / "orthanc") as orthanc:
        number = folder / "number"
        node = Process(folder, orthanc.dicom, "--forever", number)
        memory, modalities = Memory(number), Modalities(node, file, seed)
        try:
            wait_for(number.is_file)
            memory.start()
            begin, seconds = time.monotonic(), 60 * minutes * coming
            with ThreadPoolExecutor(2) as pool:
                sending = pool.submit(modalities.send, kinds, seconds)
                dead = pool.submit(_dead_for_a_while, orthanc, 0.5 * seconds, seconds / 8)
                for kill in range(kills):  # the last one early enough for the queue to be emptied after it
                    moment = begin + seconds * (kill + chance.uniform(0.5, 1)) / kills
                    time.sleep(max(0.0, moment - time.monotonic()))
                    before = number.read_text()
                    os.kill(int(before), signal.SIGKILL)
                    wait_for(lambda before=before: number.read_text() not in ("", before), 30)
                sending.result()
                dead.result()
            desk = Desk(node.queue)
            waiting = lambda: desk.loads()["incoming"].objects + desk.loads()["results"].objects  # noqa: E731
            wait_for(lambda: waiting() == 0, max(1.0, begin + 60 * minutes - time.monotonic()))
            took = time.monotonic() - begin
            memory.over.set()
            _check_archive(orthanc, modalities.good)
            _check_refused(desk, node, modalities)
            sizes = memory.settled()
            assert max(sizes) - min(sizes) <= FLAT_MB, f"the node's memory went from {min(sizes)} to {max(sizes)} MB"
            os.kill(int(number.read_text()), signal.SIGTERM)
            assert node.process.wait(60) == 0
        finally:
            memory.over.set()
            node.process.kill()  # before its child, which it would start again
            node.end()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(number.read_text()), signal.SIGKILL)
    return {
        "objects": objects,
        "kinds": {kind: modalities.outcome[kind] for kind in ("good", *KINDS, "exit")},
        "kills": kills,
        "node processes": len(memory.seen),
        "seconds without archive": round(seconds / 8),
        "offered again": modalities.outcome["offered again"],
        "results in the archive, each once": len(modalities.good),
        "put aside with their reason": len(modalities.bad),
        "memory after warm-up, MB": [round(min(sizes), 1), round(max(sizes), 1)],
        "seconds": round(took),
    }


def _dead_for_a_while(orthanc: Orthanc, after: float, seconds: float) -> None:
    time.sleep(after)
    orthanc.stop()
    time.sleep(seconds)
    orthanc.start()


def _check_archive(orthanc: Orthanc, good: dict[str, bytes]) -> None:
    """Every good one's result came once, is there, and is of the first content."""
    wanted = {result_uid(uid): pixels for uid, pixels in good.items()}
    there = {
        found["MainDicomTags"]["SOPInstanceUID"]: found["ID"] for found in _answer(orthanc, "instances?expand=true")
    }
    assert there.keys() == wanted.keys(), f"{len(wanted.keys() - there.keys())} results are missing in the archive"
    new: Counter[str] = Counter()
    since, done = 0, False
    while not done:
        answer = _answer(orthanc, f"changes?since={since}&limit=1000")
        since, done = answer["Last"], answer["Done"]
        new.update(change["ID"] for change in answer["Changes"] if change["ChangeType"] == "NewInstance")
    assert new == Counter(there.values()), "an archive's instance came more than once"
    for uid, pixels in wanted.items():
        with urllib.request.urlopen(orthanc.url(f"instances/{there[uid]}/frames/0/raw")) as answer:
            assert answer.read() == negative(pixels), f"{uid} is a result of other content"


def _check_refused(desk: Desk, node: Process, modalities: Modalities) -> None:
    """Every bad one, and no other, was put aside with its reason, or refused with one."""
    reasons = {entry.key: entry.reason for entry in desk.refused()}
    assert reasons.keys() == {DiskQueue.key(uid) for uid in modalities.bad}
    for uid, kind in modalities.bad.items():
        assert reasons[DiskQueue.key(uid)] in (REASONS[kind], ENDED), (kind, reasons[DiskQueue.key(uid)])
    log = node.log.read_text()
    assert log.count(f"({CANNOT_UNDERSTAND:04X}): ") >= modalities.outcome["unreadable"]
    left = {path.stem for place in ("incoming", "results") for path in (node.queue / place).iterdir()}
    assert left == reasons.keys(), "files are left over"


def _answer(orthanc: Orthanc, path: str) -> Any:
    with urllib.request.urlopen(orthanc.url(path)) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=15.0, help="in which it must be over (%(default)s)")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="an empty one, kept; a temporary one if it is not given")
    options = parser.parse_args()
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    kept = contextlib.nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory()
    with kept as folder:
        outcome = soak(Path(folder), options.objects, options.minutes, options.kills, options.seed)
    sys.stdout.write(json.dumps(outcome, indent=2) + "\n")


if __name__ == "__main__":
    main()
