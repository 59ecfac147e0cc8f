"""Results to a PACS: dcmtk's storescp, and Orthanc by both ways; one that is down, full, or will not have them."""

import contextlib
import shutil
import subprocess

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation

from bundle.node.sender import NotDeliveredError, RefusedError, make_sender
from tests.orthanc import free_port, running_orthanc, wait_for
from tests.tiny import write_dicom


@pytest.fixture
def orthanc(tmp_path):
    with running_orthanc(tmp_path / "orthanc") as server:
        yield server


@pytest.fixture
def files(tmp_path):
    return [
        write_dicom(
            tmp_path / f"{i}.dcm", np.full((40, 40), i), StudyInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3.4.5"
        )
        for i in range(3)
    ]


@pytest.mark.skipif(shutil.which("storescp") is None, reason="needs dcmtk: apt-get install dcmtk")
def test_storescp_gets_the_objects(files, tmp_path):
    port, folder = free_port(), tmp_path / "received"
    folder.mkdir()
    server = subprocess.Popen(["storescp", "-aet", "DCMTK", "-od", str(folder), str(port)])
    try:
        wait_for(lambda: subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True).returncode == 0)
        make_sender(f"DCMTK@127.0.0.1:{port}").send(files)
        wait_for(lambda: len(list(folder.iterdir())) == 3)
        received = {dcmread(path).SOPInstanceUID: dcmread(path) for path in folder.iterdir()}
        assert all(received[dcmread(file).SOPInstanceUID] == dcmread(file) for file in files)
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom's, where nobody listens
@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_orthanc_gets_them_once_and_again_after_it_was_down(orthanc, files, way):
    address = f"ORTHANC@127.0.0.1:{orthanc.dicom}" if way == "C-STORE" else orthanc.url("dicom-web")
    sender = make_sender(address, timeout=10)
    sender.send(files[:2])
    sender.send(files[:2])
    assert len(orthanc.instances()) == 2
    orthanc.stop()
    with pytest.raises(NotDeliveredError):
        sender.send(files)
    orthanc.start()
    sender.send(files)
    assert len(orthanc.instances()) == 3


@pytest.mark.parametrize(
    ("status", "error"), [(0xA700, NotDeliveredError), (0xC123, RefusedError), (0xA900, RefusedError), (0xB007, None)]
)
def test_what_a_status_means(files, status, error):
    def store(event):
        answer = Dataset()
        answer.Status = status
        return answer

    entity = AE(ae_title="PACS")
    entity.add_supported_context(DigitalXRayImageStorageForPresentation)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        sender = make_sender(f"PACS@127.0.0.1:{server.server_address[1]}")
        with pytest.raises(error) if error else contextlib.nullcontext():
            sender.send(files)
    finally:
        server.shutdown()


def test_a_class_that_the_pacs_does_not_know_is_refused(files):
    entity = AE(ae_title="PACS")
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises((RefusedError, NotDeliveredError)):
            make_sender(f"PACS@127.0.0.1:{server.server_address[1]}").send(files)
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "address", ["PACS", "127.0.0.1:104", "PACS@host", "ftp://pacs/dicom-web", "A_TITLE_MUCH_TOO_LONG@h:1"]
)
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match="wanted AET@host:port"):
        make_sender(address)
