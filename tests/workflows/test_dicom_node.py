"""The whole loop with a real PACS: duplicates, broken objects, a kill, a dead PACS, and nothing lost."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from pydicom import dcmread
from pynetdicom import AE

from bundle.export.package import package_bundle
from bundle.node.desk import Desk
from tests.orthanc import free_port, running_orthanc, wait_for
from tests.tiny import write_dicom
from tests.workflows.conftest import ROOT, TINY

KINDS = {"SR", "PR", "OT"}


@pytest.fixture
def orthanc(tmp_path):
    with running_orthanc(tmp_path / "orthanc") as server:
        yield server


class NodeProcess:
    """`python -m scripts.dicom_node`, which can be killed."""

    def __init__(self, bundle, queue, pacs):
        self.port, self.queue, self.log = free_port(), queue, queue.parent / "node.log"
        self.command = [sys.executable, "-m", "scripts.dicom_node", "--bundle", str(bundle), "--queue", str(queue)]
        self.command += ["--port", str(self.port), "--send_to", pacs]
        self.start()

    def start(self):
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        before = self.told().count("listens on")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.queue.parent, env=environment, stdout=log, stderr=log
            )
        wait_for(lambda: self.told().count("listens on") > before, 180)

    def told(self):
        return self.log.read_text() if self.log.exists() else ""

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0

    def store(self, file):
        entity = AE()
        entity.add_requested_context(dcmread(file).SOPClassUID)
        association = entity.associate("127.0.0.1", self.port, ae_title="PATCHCLIP")
        assert association.is_established
        status = association.send_c_store(dcmread(file)).Status
        association.release()
        return status

    def waiting(self):
        loads = Desk(self.queue).loads()
        return loads["incoming"].objects + loads["results"].objects


@pytest.mark.slow
def test_nothing_is_lost_between_modality_and_pacs(trained, orthanc, tmp_path):
    places = tmp_path / "places.json"
    where = {"output_dir": str(trained.eval), "ckpt_dir": str(trained.models), "dataset_dir": str(trained.data)}
    places.write_text(json.dumps(where))
    package = package_bundle([ROOT / "configs" / "train.json", TINY, places], ROOT, tmp_path / "package")
    rng = np.random.default_rng(0)
    study = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    files = [write_dicom(tmp_path / f"{i}.dcm", rng.integers(0, 4096, (90, 140)), **study) for i in range(6)]
    lonely = write_dicom(tmp_path / "lonely.dcm", rng.integers(0, 4096, (90, 140)))  # of no study: no result can refer
    broken = write_dicom(tmp_path / "broken.dcm", rng.integers(0, 4096, (90, 140)), Rows=900, **study)

    node = NodeProcess(package, tmp_path / "queue", f"ORTHANC@127.0.0.1:{orthanc.dicom}")
    try:
        assert node.store(files[0]) == 0
        assert node.store(broken) == 0xC000
        assert node.store(files[0]) == 0
        wait_for(lambda: node.waiting() == 0)
        assert kinds(orthanc) == {str(file_uid(files[0])): KINDS}

        orthanc.stop()
        assert [node.store(file) for file in files[1:4]] == [0, 0, 0]
        wait_for(lambda: "waits: the PACS" in node.told())
        assert [node.store(file) for file in (*files[4:], lonely)] == [0, 0, 0]
        node.kill()
        orthanc.start()
        node.start()
        wait_for(lambda: node.waiting() == 0, 120)
        assert kinds(orthanc) == {str(file_uid(file)): KINDS for file in files}
        assert node.store(files[3]) == 0  # a duplicate after the kill
        assert node.waiting() == 0
        (refused,) = Desk(node.queue).refused()
        assert "StudyInstanceUID" in refused.reason
    finally:
        node.stop()
    for secret in ("Secret", "SECRET-ID", *map(file_uid, files)):
        assert secret not in node.told()


def file_uid(file):
    return dcmread(file, stop_before_pixels=True).SOPInstanceUID


def kinds(orthanc):
    """Modalities of the results in the PACS, by the radiograph that they refer to; each kind must be there once."""
    found = {}
    for instance in orthanc.instances():
        with urllib.request.urlopen(orthanc.url(f"instances/{instance}/file")) as answer:
            path = orthanc.settings.with_name("result.dcm")
            path.write_bytes(answer.read())
        data = dcmread(path)
        assert data.StudyInstanceUID == "1.2.3"
        assert data.PatientID == "SECRET-ID"
        referred = {str(item.value) for item in data.iterall() if item.keyword == "ReferencedSOPInstanceUID"}
        (image,) = referred
        assert data.Modality not in found.setdefault(image, set())
        found[image].add(data.Modality)
    return found
