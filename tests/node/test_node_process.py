"""The node as a process: a thread that dies takes it down, a kill at any moment loses nothing."""

import itertools
import logging
import os
import random
import signal
import threading
import time
import urllib.request
from collections import Counter

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import AE, evt

from bundle.node.desk import Desk
from bundle.node.queue import DiskQueue
from bundle.node.sender import DUPLICATE
from tests.node.node_process import ENDED, REASONS, Process, labelled
from tests.node.small_node import result_uid
from tests.orthanc import wait_for
from tests.tiny import write_dicom

logger = logging.getLogger(__name__)
KILLS = 20


class Pacs:
    """Takes every result once, and says so of one that comes again."""

    def __init__(self):
        self.got = Counter()
        entity = AE(ae_title="PACS")
        entity.add_supported_context(SecondaryCaptureImageStorage)
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self.server.server_address[1]

    def _store(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.got[uid] += 1
        return 0 if self.got[uid] == 1 else DUPLICATE


@pytest.fixture
def pacs():
    pacs = Pacs()
    yield pacs
    pacs.server.shutdown()


@pytest.fixture
def radiograph(tmp_path):
    return dcmread(write_dicom(tmp_path / "radiograph.dcm", np.arange(96 * 80).reshape(96, 80) % 4096))


def test_a_thread_that_dies_takes_the_node_down_and_the_log_says_why(tmp_path, pacs, radiograph):
    node = Process(tmp_path, pacs.port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.monitor}/healthz", timeout=20) as answer:
            assert answer.read() == b"ok\n"
        good = labelled(radiograph, "good")
        assert node.store(radiograph) == 0
        wait_for(lambda: pacs.got[result_uid(good)], 30)
        labelled(radiograph, "exit")
        assert node.store(radiograph) == 0
        assert node.process.wait(60) == 1
    finally:
        node.end()
    log = node.log.read_text()
    assert "CRITICAL:bundle.watch:The node ends: the thread _analyse_next has failed: SystemExit" in log
    assert "Secret" not in log.replace('raise SystemExit("Secret^Name")', "")  # the line of the fault


@pytest.mark.slow
def test_twenty_kills_at_any_moment_lose_nothing(tmp_path, pacs, radiograph):
    number = tmp_path / "number"
    node = Process(tmp_path, pacs.port, "--forever", number)
    moments, over, offered = random.Random(0), threading.Event(), Counter()
    uids = {label: [] for label in ("good", "poison", "colour")}

    def modality(labels):
        own = dcmread(radiograph.filename)
        for label in labels:
            uids[label].append(labelled(own, label))
            while node.store(own) != 0:  # it comes again until it is told success
                offered["again"] += 1
                time.sleep(0.02)
            if over.is_set():
                return

    mixed = itertools.cycle(["good", "good", "poison", "good", "colour"])
    modalities = [threading.Thread(target=modality, args=(mixed if i else itertools.repeat("good"),)) for i in range(2)]
    try:
        for thread in modalities:
            thread.start()
        try:
            for _ in range(KILLS):
                time.sleep(moments.uniform(0.05, 1.5))
                before = number.read_text()
                os.kill(int(before), signal.SIGKILL)
                wait_for(lambda before=before: number.read_text() not in ("", before), 30)
        finally:
            over.set()
            for thread in modalities:
                thread.join(60)
        desk = Desk(node.queue)
        wait_for(lambda: desk.loads()["incoming"].objects + desk.loads()["results"].objects == 0, 120)
        refused = {entry.key: entry.reason for entry in desk.refused()}
        assert set(pacs.got) == set(map(result_uid, uids["good"]))
        assert len(refused) == len(uids["poison"]) + len(uids["colour"])
        for label in ("poison", "colour"):
            assert {refused[DiskQueue.key(uid)] for uid in uids[label]} <= {REASONS[label], ENDED}
        left = {path.stem for place in ("incoming", "results") for path in (node.queue / place).iterdir()}
        assert left == refused.keys()
        os.kill(int(number.read_text()), signal.SIGTERM)
        assert node.process.wait(60) == 0
    finally:
        node.end()
    outcome = KILLS, len(uids["good"]), len(refused), offered["again"], sum(pacs.got.values())
    logger.info("%d kills, %d good, %d bad, %d times offered again, %d sent to the PACS", *outcome)
