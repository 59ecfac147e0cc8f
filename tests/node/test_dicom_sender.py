"""Results to a PACS: dcmtk's storescp, and Orthanc by both ways; one that is down, full, or will not have them."""

import contextlib
import http.server
import json
import socket
import subprocess
import threading
import time

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

from bundle.node.sender import NotDeliveredError, RefusedError, UnreachableError, make_sender
from tests.debian import path_of
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


def test_storescp_gets_the_objects(files, tmp_path):
    port, folder = free_port(), tmp_path / "received"
    folder.mkdir()
    server = subprocess.Popen([path_of("storescp"), "-aet", "DCMTK", "-od", str(folder), str(port)])
    try:
        wait_for(lambda: subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True).returncode == 0)
        make_sender(f"DCMTK@127.0.0.1:{port}").send(files)
        wait_for(lambda: len(list(folder.iterdir())) == 3)
        received = {dcmread(path).SOPInstanceUID: dcmread(path) for path in folder.iterdir()}
        assert all(received[dcmread(file).SOPInstanceUID] == dcmread(file) for file in files)
    finally:
        server.terminate()
        server.wait(30)


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
    ("status", "error"),
    [
        (0xA700, NotDeliveredError),
        (0x0110, NotDeliveredError),
        (0xC123, RefusedError),
        (0xA900, RefusedError),
        (0xB007, None),
        (0x0111, None),  # it has it: an earlier answer was lost
    ],
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


def other_class(path):
    """A file of another class, in the same study."""
    data = dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.5.6{path.stem}"
    data.save_as(path)


def test_a_pacs_that_lacks_a_class_gets_the_others(files):
    got = []

    def store(event):
        got.append(event.request.AffectedSOPInstanceUID)
        return 0

    other_class(files[0])
    entity = AE(ae_title="PACS")
    entity.add_supported_context(DigitalXRayImageStorageForPresentation)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        sender = make_sender(f"PACS@127.0.0.1:{server.server_address[1]}")
        with pytest.raises(RefusedError, match="does not take Computed Radiography"):
            sender.send(files)
        assert got == [dcmread(file).SOPInstanceUID for file in files[1:]]
        with pytest.raises(RefusedError, match="takes none of these classes"):
            sender.send(files[:1])
    finally:
        server.shutdown()


def test_a_host_that_is_not_there_is_unreachable(files):
    with pytest.raises(UnreachableError, match="can't be reached"):
        make_sender("PACS@no-such-host.invalid:104").send(files)
    with pytest.raises(UnreachableError, match="does not answer"):
        make_sender("http://no-such-host.invalid/dicom-web").send(files)


def stored(*reasons):
    items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
    return json.dumps({"00081198": {"vr": "SQ", "Value": items}} if items else {})


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, stored(), None),
        (202, stored(), None),  # with warnings
        (409, stored(0x0111, 0x0111, 0x0111), None),
        (409, stored(0x0111, 0xA900), RefusedError),
        (202, stored(0xC000), RefusedError),
        (400, "", RefusedError),
        (503, "", NotDeliveredError),
        (401, "", UnreachableError),
        (302, "", UnreachableError),
        (200, "<html>Please log in</html>", UnreachableError),
    ],
)
def test_what_an_answer_to_stow_means(files, status, body, error):
    seen = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append("POST")
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self):
            seen.append("GET")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(error) if error else contextlib.nullcontext():
                make_sender(f"http://127.0.0.1:{server.server_address[1]}/dicom-web").send(files)
        finally:
            server.shutdown()
    assert seen == ["POST"]


@pytest.mark.parametrize(
    "address",
    [
        "PACS",
        "127.0.0.1:104",
        "PACS@host",
        "ftp://pacs/dicom-web",
        "A_TITLE_MUCH_TOO_LONG@h:1",
        "PÄCS@h:1",
        "PACS@h:99999",
    ],
)
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match="wanted AET@host:port"):
        make_sender(address)


def drip(connection, kind, over):
    """A server that takes the request's bytes one by one, or sends its answer's so; or says nothing."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
    answers = {
        "head": head + b"X-More: " + b"x" * 10_000,
        "body": head + b"Content-Length: 10000\r\n\r\n" + b" " * 10_000,
    }
    with contextlib.suppress(OSError), connection:
        if kind == "silent":
            over.wait(60)
        for byte in answers.get(kind, b""):
            connection.sendall(bytes([byte]))
            if over.wait(0.05):
                return
        while kind == "request" and connection.recv(1) and not over.wait(0.05):
            pass


@pytest.mark.parametrize("kind", ["silent", "head", "body", "request"])
def test_a_server_that_drips_bytes_holds_the_sender_no_longer_than_its_limit(files, kind):
    """Each piece comes in time; the whole would take minutes. Another one's results are sent afterwards."""
    large = files[0].with_name("large.dcm")
    large.write_bytes(bytes(20_000_000))  # more than the buffers of both sides hold
    over, threads = threading.Event(), threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/dicom-web"

        def accept():
            with contextlib.suppress(OSError):
                while not over.is_set():
                    drip(listening.accept()[0], kind, over)

        server = threading.Thread(target=accept)
        server.start()
        try:
            sender, started = make_sender(address, timeout=5, whole=1), time.monotonic()
            for _ in range(2):
                with pytest.raises(UnreachableError, match=r"does not answer \(no whole answer in 1 s\)"):
                    sender.send([large])
                wait_for(lambda: threading.active_count() <= threads + 1, 10)  # nobody waits on
            assert time.monotonic() - started < 5
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            server.join(10)
