"""tests.node.small_node in a process of its own, and a modality that sends to it."""

import os
import subprocess
import sys
from pathlib import Path

from pydicom.uid import DigitalXRayImageStorageForPresentation, generate_uid
from pynetdicom import AE

from tests.orthanc import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
ENDED = "the node has ended 5 times in the middle of it"
# of what the analyser fails over, by the label that has it fail; a kill in each try gives ENDED instead
REASONS = {
    "good": None,
    "poison": "RuntimeError, 5 times; see the node's log",
    "colour": "ValueError: it is colour",
    "exit": ENDED,
}


class Process:
    """The small node, sending to a PACS's port; `log` has all that it says."""

    def __init__(self, folder, pacs_port, *options):
        self.queue, self.port, self.monitor, self.log = folder / "queue", free_port(), free_port(), folder / "log"
        command = [sys.executable, "-m", "tests.node.small_node", "--queue", self.queue, "--pacs", pacs_port]
        command += ["--port", self.port, "--monitor", self.monitor, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "listens on" in self.log.read_text(), 120)

    def store(self, dataset):
        """The status, or None where there was no answer."""
        entity = AE(ae_title="TEST")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        entity.add_requested_context(DigitalXRayImageStorageForPresentation)
        association = entity.associate("127.0.0.1", self.port, ae_title="PATCHCLIP")
        if not association.is_established:
            return None
        try:
            return association.send_c_store(dataset).get("Status")
        except RuntimeError:  # it was killed in between
            return None
        finally:
            if association.is_established:
                association.release()

    def end(self):
        """Whatever state it is in."""
        self.process.kill()
        self.process.wait(30)


def labelled(radiograph, label):
    """Make it a new one, of what the label says; returns its UID."""
    radiograph.SOPInstanceUID = radiograph.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    radiograph.SeriesDescription = label
    return str(radiograph.SOPInstanceUID)
